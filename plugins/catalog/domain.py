"""Stock and its reservations: what may be held, deducted and given back. Pure.

Amounts are whole thousandths of the product's unit. A reservation says what happened by facts;
``StockReservation.apply`` turns each fact into line states and stock changes, live and in a replay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, NamedTuple

from bus.message import Event
from kernel.moves import legal_moves
from kernel.quantity import Quantity
from plugins.catalog.contract import (
    OfferId,
    OrderId,
    ReservationId,
    StockCommitted,
    StockKept,
    StockLine,
    StockReleased,
    StockReserved,
    StockShort,
)
from plugins.catalog.errors import ReservationTaken

LineState = Literal["held", "committed", "released", "lapsed", "short"]

MOVES: Final = legal_moves(
    {
        "held": {"committed", "released", "lapsed"},
        "committed": {"released"},
        "lapsed": {"held", "committed", "released", "short"},
        "released": set(),
        "short": set(),
    }
)

LOW_SHARE: Final = 10
"""Stock is low at a tenth of what it was when last filled."""


class IllegalReservationMoveError(RuntimeError):
    """A line of a reservation was moved against the table: a defect, never a refusal."""


class StockChange(NamedTuple):
    """A change of one offer's stock, in thousandths, and why."""

    offer_id: OfferId
    on_hand: int
    reserved: int
    reason: str


@dataclass(frozen=True, slots=True)
class StockCount:
    """What one offer has: on hand, how much of it is reserved, and the level at the last filling."""

    on_hand: int
    reserved: int
    filled: int
    min_quantity: int

    @property
    def available(self) -> int:
        """What can still be reserved."""
        return self.on_hand - self.reserved

    @property
    def is_low(self) -> bool:
        """Tell whether the vendor should be told to fill up."""
        return self.available * LOW_SHARE <= self.filled or self.available < self.min_quantity

    def before(self, change: StockChange) -> "StockCount":
        """Return the count as it was before a change."""
        return replace(
            self,
            on_hand=self.on_hand - change.on_hand,
            reserved=self.reserved - change.reserved,
        )

    def became_low_by(self, change: StockChange) -> bool:
        """Tell whether this very change made the stock low, so that it is said once."""
        return self.is_low and not self.before(change).is_low


@dataclass(frozen=True, slots=True)
class Line:
    """The quantity of one offer in a reservation, and what became of it."""

    quantity: int
    state: LineState


def summed(lines: Iterable[StockLine]) -> dict[OfferId, int]:
    """Add up the lines per offer, in the order of offer ids: the order in which rows are locked."""
    amounts: dict[OfferId, int] = {}
    for line in lines:
        amounts[line.offer_id] = amounts.get(line.offer_id, 0) + line.quantity.thousandths
    return dict(sorted(amounts.items()))


@dataclass(slots=True)
class StockReservation:
    """Stock that is held for a buyer, line by line, until it is committed, released or lapses."""

    reservation_id: ReservationId
    expires_at: datetime
    order_id: OrderId | None = None
    lines: dict[OfferId, Line] = field(default_factory=dict)
    facts: list[Event] = field(default_factory=list)
    changes: list[StockChange] = field(default_factory=list)

    @classmethod
    def hold(
        cls, reservation_id: ReservationId, amounts: Mapping[OfferId, int], *, until: datetime
    ) -> "StockReservation":
        """Hold these amounts until then."""
        reservation = cls(reservation_id, until)
        reservation._record(
            StockReserved(
                reservation_id=reservation_id, lines=_stock_lines(amounts), expires_at=until
            )
        )
        return reservation

    def offers_in(self, *states: LineState) -> tuple[OfferId, ...]:
        """Return the offers whose lines are in these states, in the order of their ids."""
        return tuple(sorted(o for o, line in self.lines.items() if line.state in states))

    @property
    def is_holding(self) -> bool:
        """Tell whether any line still holds stock that time can free."""
        return any(line.state == "held" for line in self.lines.values())

    def lapse(self, *, at: datetime) -> None:
        """Free what is still held when the time is over; before that, nothing."""
        held = self.offers_in("held")
        if at >= self.expires_at and held:
            self._release(held, order_id=None, was_committed=False)

    def keep(self, order_id: OrderId, *, until: datetime, available: Mapping[OfferId, int]) -> None:
        """Hold longer, for an order. What lapsed is taken anew if all of it is there; else it is short.

        ``available`` says what can be taken of the offers whose lines lapsed.
        """
        self._claim(order_id)
        lapsed = self.offers_in("lapsed")
        missing = self._missing(lapsed, available)
        if missing:
            self._short(order_id, missing)
            return
        if lapsed:
            self._record(
                StockReserved(
                    reservation_id=self.reservation_id,
                    lines=_stock_lines(self._amounts(lapsed)),
                    expires_at=until,
                )
            )
        if self.is_holding and (self.order_id != order_id or self.expires_at != until):
            self._record(
                StockKept(reservation_id=self.reservation_id, order_id=order_id, expires_at=until)
            )

    def commit(
        self, order_id: OrderId, amounts: Mapping[OfferId, int], *, available: Mapping[OfferId, int]
    ) -> None:
        """Deduct these lines, all or none. Committing twice is the same as committing once.

        A released, a foreign or another amount than was reserved is short, for ever.
        """
        self._claim(order_id)
        states = {offer: self._state_of(offer, amount) for offer, amount in amounts.items()}
        if all(state == "committed" for state in states.values()):
            return
        lapsed = tuple(offer for offer, state in states.items() if state == "lapsed")
        gone = tuple(o for o, state in states.items() if state in ("released", "short", None))
        missing = tuple(sorted({*gone, *self._missing(lapsed, available)}))
        if missing:
            self._short(order_id, missing)
            return
        due = {offer: amounts[offer] for offer, state in states.items() if state != "committed"}
        self._record(
            StockCommitted(
                reservation_id=self.reservation_id, order_id=order_id, lines=_stock_lines(due)
            )
        )

    def release(self, order_id: OrderId, offer_ids: Sequence[OfferId]) -> None:
        """Give back what these lines hold or deducted. Releasing a line twice is the same as once."""
        self._claim(order_id)
        asked = set(offer_ids)
        committed = tuple(o for o in self.offers_in("committed") if o in asked)
        held = tuple(o for o in self.offers_in("held") if o in asked)
        lapsed = tuple(o for o in self.offers_in("lapsed") if o in asked)
        if committed:
            self._release(committed, order_id=order_id, was_committed=True)
        if held or lapsed:
            self._release(held, order_id=order_id, was_committed=False, ended=lapsed)

    def apply(self, fact: Event) -> tuple[StockChange, ...]:
        """Take a fact in: move the lines, and return what it does to the stock of each offer."""
        match fact:
            case StockReserved():
                self.expires_at = fact.expires_at
                return tuple(self._take(line) for line in fact.lines)
            case StockKept():
                self.order_id, self.expires_at = fact.order_id, fact.expires_at
                return ()
            case StockCommitted():
                self.order_id = fact.order_id
                return tuple(self._deduct(line) for line in fact.lines)
            case StockReleased():
                return self._give_back(fact)
            case StockShort():
                self.order_id = fact.order_id
                for offer_id in fact.offer_ids:
                    self._mark_short(offer_id)
                return ()
            case _:
                raise TypeError(f"{type(fact).__name__} is no fact of a reservation")

    def _record(self, fact: Event) -> None:
        self.changes.extend(self.apply(fact))
        self.facts.append(fact)

    def _claim(self, order_id: OrderId) -> None:
        if self.order_id not in (None, order_id):
            raise ReservationTaken(f"{self.reservation_id} belongs to {self.order_id}")

    def _amounts(self, offers: Sequence[OfferId]) -> dict[OfferId, int]:
        return {offer: self.lines[offer].quantity for offer in offers}

    def _state_of(self, offer: OfferId, amount: int) -> LineState | None:
        line = self.lines.get(offer)
        return line.state if line is not None and line.quantity == amount else None

    def _missing(
        self, offers: Sequence[OfferId], available: Mapping[OfferId, int]
    ) -> tuple[OfferId, ...]:
        return tuple(o for o in offers if available.get(o, 0) < self.lines[o].quantity)

    def _short(self, order_id: OrderId, offers: tuple[OfferId, ...]) -> None:
        self._record(
            StockShort(reservation_id=self.reservation_id, order_id=order_id, offer_ids=offers)
        )

    def _release(
        self,
        offers: Sequence[OfferId],
        *,
        order_id: OrderId | None,
        was_committed: bool,
        ended: tuple[OfferId, ...] = (),
    ) -> None:
        self._record(
            StockReleased(
                reservation_id=self.reservation_id,
                order_id=order_id,
                lines=_stock_lines(self._amounts(offers)),
                was_committed=was_committed,
                ended=ended,
            )
        )

    def _take(self, line: StockLine) -> StockChange:
        amount = line.quantity.thousandths
        if line.offer_id in self.lines:
            self._move(line.offer_id, "held")
        else:
            self.lines[line.offer_id] = Line(amount, "held")
        return StockChange(line.offer_id, 0, amount, "reserved")

    def _deduct(self, line: StockLine) -> StockChange:
        amount = line.quantity.thousandths
        was_held = self.lines[line.offer_id].state == "held"
        self._move(line.offer_id, "committed")
        return StockChange(line.offer_id, -amount, -amount if was_held else 0, "sold")

    def _give_back(self, fact: StockReleased) -> tuple[StockChange, ...]:
        end: LineState = "lapsed" if fact.order_id is None else "released"
        self.order_id = fact.order_id or self.order_id
        for offer_id in (*(line.offer_id for line in fact.lines), *fact.ended):
            self._move(offer_id, end)
        if fact.was_committed:
            return tuple(
                StockChange(line.offer_id, line.quantity.thousandths, 0, "restored")
                for line in fact.lines
            )
        reason = "lapsed" if fact.order_id is None else "released"
        return tuple(
            StockChange(line.offer_id, 0, -line.quantity.thousandths, reason) for line in fact.lines
        )

    def _mark_short(self, offer_id: OfferId) -> None:
        line = self.lines.get(offer_id)
        if line is not None and line.state == "lapsed":
            self._move(offer_id, "short")

    def _move(self, offer_id: OfferId, end: LineState) -> None:
        line = self.lines[offer_id]
        if not MOVES.allows(line.state, end):
            raise IllegalReservationMoveError(f"{offer_id}: {line.state} cannot become {end}")
        self.lines[offer_id] = replace(line, state=end)


def _stock_lines(amounts: Mapping[OfferId, int]) -> tuple[StockLine, ...]:
    return tuple(
        StockLine(offer_id=offer, quantity=Quantity(amount)) for offer, amount in amounts.items()
    )
