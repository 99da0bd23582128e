"""How commands answer: tables for people, one JSON document for programs."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import rich_click as click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bus.codec import to_plain

PIPED_WIDTH: Final = 200
"""Columns of a table that no terminal shows, so that a line can be searched for."""


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``."""
    return click.option("--json", "is_json", is_flag=True, help="Print one JSON document.")(
        function
    )


def print_json(value: object) -> None:
    """Print plain data or Structs as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(to_plain(value)), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text; what looks like markup is shown as it is."""
    table = Table(*map(escape, columns), box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(escape, row))
    console().print(table)


def console() -> Console:
    """Return the console of standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
