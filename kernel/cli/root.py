"""The root of the command line: the common options, and where each command is found."""

import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final

import rich_click as click
import structlog

from bus.errors import ServiceError
from kernel.config import ConfigurationError
from kernel.embedded.errors import EmbeddedError

EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2
ENTRY_POINTS: Final = "realserv.commands"

OWN: Final = {
    "asyncapi": "kernel.cli.asyncapi:asyncapi",
    "backup": "kernel.cli.backup:backup",
    "config": "kernel.cli.config:config",
    "dlq": "kernel.cli.dlq:dlq",
    "doctor": "kernel.cli.doctor:doctor",
    "events": "kernel.cli.events:events",
    "keys": "kernel.cli.keys:keys",
    "migrate": "kernel.cli.migrate:migrate",
    "nats-context": "kernel.cli.nats_context:nats_context",
    "nats-grants": "kernel.cli.nats_grants:nats_grants",
    "outbox": "kernel.cli.outbox:outbox",
    "plugin": "kernel.cli.plugin:plugin",
    "recover": "kernel.cli.recover:recover",
    "replay": "kernel.cli.replay:replay_command",
    "restore": "kernel.cli.backup:restore",
    "run": "kernel.cli.run:run",
    "streams": "kernel.cli.streams:streams",
    "token": "kernel.cli.token:token",
    "up": "kernel.cli.up:up",
    "why": "kernel.cli.why:why",
}


class LazyGroup(click.RichGroup):
    """Imports a command only when it is called, so that ``--help`` and completion stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names: the kernel's and those that plugins add."""
        return sorted({*OWN, *(entry.name for entry in entry_points(group=ENTRY_POINTS))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name in OWN:
            module, _, name = OWN[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command
        for entry in entry_points(group=ENTRY_POINTS, name=cmd_name):
            loaded: click.Command = entry.load()
            return loaded
        return None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="realserv")
def realserv() -> None:
    """RealServ: a multi-vendor marketplace backend that loses no order and no rupee.

    Example: realserv up
    """


def main() -> None:
    """Run the command line; a failure we foresee ends in one line and a useful exit code."""
    # What a command prints may be read by a program; what is logged on the way is for people.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        realserv(standalone_mode=True)
    except ConfigurationError as error:
        _complain("The configuration has faults:", error.faults)
        sys.exit(EXIT_CONFIGURATION)
    except ServiceError as error:
        _complain(error.message, ())
        sys.exit(EXIT_FAILED)
    except EmbeddedError as error:
        _complain(str(error), ())
        sys.exit(EXIT_FAILED)


def _complain(headline: str, lines: tuple[str, ...]) -> None:
    click.secho(headline, fg="red", err=True)
    for line in lines:
        click.echo(f"  - {line}", err=True)
