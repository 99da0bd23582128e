"""Every command explains itself, and what lists can answer programs."""

from collections.abc import Iterator

import pytest
import rich_click as click
from click.testing import CliRunner

from kernel.cli.root import realserv


def commands_of(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield words
    else:
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from commands_of(found, (*words, name))


COMMANDS = list(commands_of(realserv, ()))
LISTING = [words for words in COMMANDS if words[-1] in ("list", "show", "doctor")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(realserv, [*words, "--help"], env={"COLUMNS": "200"})

    assert result.exit_code == 0
    assert "Example: " in result.output


@pytest.mark.parametrize("words", LISTING, ids=" ".join)
def test_every_command_that_lists_can_answer_with_json(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(realserv, [*words, "--help"])

    assert "--json" in result.output


def test_the_issues_commands_are_all_there() -> None:
    wanted = {
        ("up",),
        ("run",),
        ("migrate",),
        ("plugin", "list"),
        ("plugin", "show"),
        ("plugin", "enable"),
        ("plugin", "disable"),
        ("plugin", "reset"),
        ("plugin", "new"),
        ("token",),
        ("nats-context",),
        ("dlq", "list"),
        ("doctor",),
        ("openapi",),
        ("asyncapi",),
        ("config", "show"),
    }

    assert wanted <= set(COMMANDS)
