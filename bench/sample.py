"""Two tiny plugins to measure the kernel with."""

from typing import ClassVar, Final

from bus.message import Event, Query, View
from kernel.context import Context
from kernel.plugin import LOGGED_IN, Plugin

OWNER: Final = "sample"


class Pong(View, frozen=True, kw_only=True):
    """What was said."""

    text: str


class Ping(Query[Pong], frozen=True, kw_only=True):
    """Say it back."""

    text: str


class Ticked(Event, frozen=True, kw_only=True):
    """A tick."""

    KEY: ClassVar[str] = "key"

    key: str
    number: int


async def answer(query: Ping, ctx: Context) -> Pong:
    """Say it back."""
    return Pong(text=query.text)


plugin = Plugin("sample", "1.0.0", summary="Answers.", package="bench", emits=(Ticked,))
plugin.query(Ping, answer, allow=LOGGED_IN)
asker = Plugin("asker", "1.0.0", summary="Asks.", package="bench", asks=(Ping,))
