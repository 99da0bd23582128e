"""A vendor's capacity: how many orders it takes for a day, and who has taken them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal

from kernel.errors import invalid_field
from kernel.moves import legal_moves
from plugins.vendor.contract import (
    CapacityCommitted,
    CapacityNeed,
    CapacityReleased,
    VendorStatus,
)
from plugins.vendor.domain import APPROVED
from plugins.vendor.errors import CapacityShortError, VendorNotApprovedError

TakeStatus = Literal["held", "committed", "released"]

HELD: Final[TakeStatus] = "held"
COMMITTED: Final[TakeStatus] = "committed"
RELEASED: Final[TakeStatus] = "released"

TAKE_MOVES: Final = legal_moves(
    {HELD: {COMMITTED, RELEASED}, COMMITTED: {RELEASED}, RELEASED: {HELD}}
)


@dataclass(kw_only=True)
class Take:
    """One sub-order's share of one vendor's day. A hold that lapsed counts no more, but is known."""

    sub_order_id: str
    vendor_id: str
    day: date
    status: TakeStatus
    lapses_at: datetime
    changed_at: datetime
    committed_change: int = 0
    """By how much this handling changes the number of committed orders of the day."""
    facts: list[CapacityCommitted | CapacityReleased] = field(default_factory=list)

    @classmethod
    def hold(cls, need: CapacityNeed, *, day: date, until: datetime, at: datetime) -> "Take":
        """Hold one order of a day until a time."""
        return cls(
            sub_order_id=need.sub_order_id,
            vendor_id=need.vendor_id,
            day=day,
            status=HELD,
            lapses_at=until,
            changed_at=at,
        )

    def is_held_for(self, day: date, *, at: datetime) -> bool:
        """Tell whether this is a hold of a day that has not lapsed."""
        return self.status == HELD and self.day == day and self.lapses_at > at

    def commit(self, *, at: datetime) -> None:
        """Keep it for good. One released before stays released: the release was only faster."""
        if not TAKE_MOVES.allows(self.status, COMMITTED):
            return
        self.status = COMMITTED
        self.changed_at = at
        self.committed_change += 1
        self.facts.append(
            CapacityCommitted(vendor_id=self.vendor_id, sub_order_id=self.sub_order_id)
        )

    def release(self, *, at: datetime) -> None:
        """Give it back. Releasing twice is the same as releasing once."""
        if not TAKE_MOVES.allows(self.status, RELEASED):
            return
        if self.status == COMMITTED:
            self.committed_change -= 1
        self.status = RELEASED
        self.changed_at = at
        self.facts.append(
            CapacityReleased(vendor_id=self.vendor_id, sub_order_id=self.sub_order_id)
        )


@dataclass(kw_only=True)
class DayBook:
    """One vendor's day, while its capacity is being taken and nobody else can take of it."""

    vendor_id: str
    status: VendorStatus
    orders_per_day: int
    used: int

    def take_one(self) -> None:
        """Use up one order; raises VendorNotApprovedError or CapacityShortError."""
        if self.status != APPROVED:
            raise VendorNotApprovedError(f"{self.vendor_id} is {self.status}")
        if self.used >= self.orders_per_day:
            raise CapacityShortError(f"{self.vendor_id} takes no more orders for this day")
        self.used += 1


def take_all(
    needs: Iterable[CapacityNeed],
    books: Mapping[str, DayBook],
    known: Mapping[CapacityNeed, Take],
    *,
    day: date,
    until: datetime,
    at: datetime,
) -> list[Take]:
    """Return the holds for all needs, or raise for the first that cannot be met.

    What a sub-order has of the day already is not counted again: a live hold is prolonged, a
    committed one stays as it is.
    """
    holds = []
    for need in needs:
        take = known.get(need)
        if take is not None and take.status == COMMITTED:
            continue
        if take is None or not take.is_held_for(day, at=at):
            books[need.vendor_id].take_one()
        holds.append(Take.hold(need, day=day, until=until, at=at))
    return holds


def day_of(text: str) -> date:
    """Read a calendar day; raises Invalid for one that is in no calendar, such as 2026-02-30."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid_field("day", "is no day of the calendar") from error
