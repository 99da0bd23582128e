"""The language of the sample: tallies that go up."""

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View

OWNER = "sample"

TallyId = Annotated[str, Meta(min_length=1, max_length=64)]
Number = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]


class TallyView(View, frozen=True, kw_only=True):
    """What a tally stands at."""

    tally_id: TallyId
    total: int
    version: int = 1


class AddToTally(Command[TallyView], frozen=True, kw_only=True):
    """Add a number to a tally."""

    tally_id: TallyId
    number: Number = 1


class GetTally(Query[TallyView], frozen=True, kw_only=True):
    """Read a tally."""

    tally_id: TallyId


class TallyChanged(Event, frozen=True, kw_only=True):
    """A tally went up."""

    KEY: ClassVar[str] = "tally_id"

    tally_id: TallyId
    number: Number


class TallyClosed(Event, frozen=True, kw_only=True):
    """A tally is closed; nobody reacts to it at first."""

    KEY: ClassVar[str] = "tally_id"

    tally_id: TallyId


class NoteTally(Command[Nothing], frozen=True, kw_only=True):
    """Note a number; told, never asked."""

    tally_id: TallyId
    number: Number = 1


class RingBell(Command[Nothing], frozen=True, kw_only=True):
    """A timer's command."""

    tally_id: TallyId
    at: datetime | None = None


class SendSlip(Command[Nothing], frozen=True, kw_only=True):
    """The intent of an effect."""

    tally_id: TallyId


class SlipSent(Command[Nothing], frozen=True, kw_only=True):
    """The outcome of an effect."""

    tally_id: TallyId
    receipt: Annotated[str, Meta(max_length=64)] = ""


class ForeignCommand(Command[Nothing], frozen=True, kw_only=True):
    """A command that the sample neither owns by handler nor declares to tell."""

    tally_id: TallyId
