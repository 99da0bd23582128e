"""How the box of ``realserv up`` names the command."""

import sys

import pytest

from kernel.cli import up


@pytest.mark.parametrize(
    ("found", "named"),
    [("/usr/bin/realserv", "realserv"), (None, ".venv/bin/realserv")],
)
def test_a_command_that_is_not_on_the_path_is_named_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, found: str | None, named: str
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/realserv", "up"])
    monkeypatch.setattr("shutil.which", lambda _name: found)

    assert up._own_command() == named
