"""Rules of reservations, one by one and as a model under every sequence of commands."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.ids import to_wire
from kernel.money import Money
from kernel.quantity import Quantity, StockLevel
from plugins.catalog.contract import (
    OfferPublished,
    StockCommitted,
    StockKept,
    StockLine,
    StockLow,
    StockReleased,
    StockReserved,
    StockShort,
)
from plugins.catalog.domain import (
    MOVES,
    IllegalReservationMoveError,
    Line,
    LineState,
    StockChange,
    StockCount,
    StockReservation,
    summed,
)
from plugins.catalog.errors import ReservationTaken
from plugins.catalog.fold import StockFold

NOON = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
LATER = NOON + timedelta(minutes=20)
CEMENT, SAND = (to_wire("offer", UUID(int=n)) for n in (1, 2))
ORDER, OTHER_ORDER = (to_wire("order", UUID(int=n)) for n in (3, 4))
RESERVATION = to_wire("reservation", UUID(int=5))


def a_reservation(
    state: LineState = "held", *, order_id: str | None = None, sand: LineState | None = None
) -> StockReservation:
    lines = {CEMENT: Line(4_000, state)} | ({SAND: Line(1_000, sand)} if sand else {})
    return StockReservation(RESERVATION, NOON, order_id, lines)


def amounts(**overrides: int) -> dict[str, int]:
    return {CEMENT: 4_000} | overrides


def test_lines_of_one_offer_are_added_up_in_the_order_of_ids() -> None:
    lines = [
        StockLine(offer_id=o, quantity=Quantity(n)) for o, n in ((SAND, 5), (CEMENT, 1), (SAND, 2))
    ]

    found = summed(lines)

    assert list(found.items()) == [(CEMENT, 1), (SAND, 7)]


def test_a_new_reservation_holds_and_says_so() -> None:
    held = StockReservation.hold(RESERVATION, amounts(), until=NOON)

    assert held.changes == [StockChange(CEMENT, 0, 4_000, "reserved")]
    assert [type(fact) for fact in held.facts] == [StockReserved]


def test_a_held_line_is_deducted_on_commit() -> None:
    reservation = a_reservation()

    reservation.commit(ORDER, amounts(), available={})

    assert reservation.changes == [StockChange(CEMENT, -4_000, -4_000, "sold")]
    assert reservation.lines[CEMENT].state == "committed"


def test_committing_twice_is_the_same_as_once() -> None:
    reservation = a_reservation("committed", order_id=ORDER)

    reservation.commit(ORDER, amounts(), available={})

    assert (reservation.facts, reservation.changes) == ([], [])


def test_a_lapsed_line_is_deducted_anew_when_it_is_there() -> None:
    reservation = a_reservation("lapsed")

    reservation.commit(ORDER, amounts(), available={CEMENT: 4_000})

    assert reservation.changes == [StockChange(CEMENT, -4_000, 0, "sold")]


def test_a_lapsed_line_that_is_gone_is_short_and_nothing_is_deducted() -> None:
    reservation = a_reservation("lapsed", sand="held")

    reservation.commit(ORDER, amounts(**{SAND: 1_000}), available={CEMENT: 3_999})

    assert [type(fact) for fact in reservation.facts] == [StockShort]
    assert reservation.changes == []
    assert reservation.offers_in("held") == (SAND,)


@pytest.mark.parametrize("state", ["short", "released"])
def test_an_ended_line_is_short_though_stock_is_there(state: LineState) -> None:
    reservation = a_reservation(state, order_id=ORDER)

    reservation.commit(ORDER, amounts(), available={CEMENT: 9_000})

    assert [type(fact) for fact in reservation.facts] == [StockShort]


@pytest.mark.parametrize("asked", [{CEMENT: 5_000}, {CEMENT: 4_000, SAND: 1}])
def test_what_was_not_reserved_so_is_short(asked: dict[str, int]) -> None:
    reservation = a_reservation()

    reservation.commit(ORDER, asked, available={})

    assert [type(fact) for fact in reservation.facts] == [StockShort]


def test_a_reservation_of_one_order_is_no_other_orders() -> None:
    reservation = a_reservation("held", order_id=ORDER)

    with pytest.raises(ReservationTaken):
        reservation.commit(OTHER_ORDER, amounts(), available={})


def test_nothing_lapses_before_its_time() -> None:
    reservation = a_reservation()

    reservation.lapse(at=NOON - timedelta(milliseconds=1))

    assert reservation.is_holding
    assert reservation.facts == []


def test_only_what_is_held_lapses() -> None:
    reservation = a_reservation("committed", sand="held")

    reservation.lapse(at=NOON)

    assert reservation.changes == [StockChange(SAND, 0, -1_000, "lapsed")]


def test_keeping_moves_the_end_once() -> None:
    reservation = a_reservation()

    reservation.keep(ORDER, until=LATER, available={})
    reservation.keep(ORDER, until=LATER, available={})

    assert [type(fact) for fact in reservation.facts] == [StockKept]
    assert (reservation.order_id, reservation.expires_at) == (ORDER, LATER)


def test_keeping_takes_a_lapsed_line_anew() -> None:
    reservation = a_reservation("lapsed")

    reservation.keep(ORDER, until=LATER, available={CEMENT: 4_000})

    assert reservation.changes == [StockChange(CEMENT, 0, 4_000, "reserved")]
    assert reservation.is_holding


def test_keeping_what_was_committed_changes_nothing() -> None:
    reservation = a_reservation("committed", order_id=ORDER)

    reservation.keep(ORDER, until=LATER, available={})

    assert reservation.facts == []


def test_releasing_tells_held_and_deducted_lines_apart() -> None:
    reservation = a_reservation("committed", sand="held")

    reservation.release(ORDER, (CEMENT, SAND))

    assert reservation.changes == [
        StockChange(CEMENT, 4_000, 0, "restored"),
        StockChange(SAND, 0, -1_000, "released"),
    ]


def test_a_released_lapsed_line_frees_nothing_and_is_never_taken_anew() -> None:
    reservation = a_reservation("lapsed")

    reservation.release(ORDER, (CEMENT,))
    reservation.commit(ORDER, amounts(), available={CEMENT: 9_000})

    assert reservation.changes == []
    assert [type(fact) for fact in reservation.facts] == [StockReleased, StockShort]


@pytest.mark.parametrize("state", ["released", "short"])
def test_releasing_twice_is_the_same_as_once(state: LineState) -> None:
    reservation = a_reservation(state)

    reservation.release(ORDER, (CEMENT, SAND))

    assert reservation.facts == []


def test_a_move_outside_the_table_is_a_defect() -> None:
    fact = StockCommitted(
        reservation_id=RESERVATION,
        order_id=ORDER,
        lines=(StockLine(offer_id=CEMENT, quantity=Quantity(4_000)),),
    )

    with pytest.raises(IllegalReservationMoveError):
        a_reservation("released").apply(fact)


def test_a_fact_of_something_else_is_a_defect() -> None:
    fact = StockLow(
        offer_id=CEMENT, vendor_id=to_wire("vendor", UUID(int=1)), available=StockLevel(0)
    )

    with pytest.raises(TypeError, match="StockLow"):
        a_reservation().apply(fact)


def test_the_fold_passes_over_what_says_nothing_of_stock() -> None:
    fold = StockFold()

    fold.apply(
        StockLow(offer_id=CEMENT, vendor_id=to_wire("vendor", UUID(int=1)), available=StockLevel(0))
    )

    assert fold.on_hand == {}


def test_the_fold_refuses_a_reservation_without_a_beginning() -> None:
    fact = StockKept(reservation_id=RESERVATION, order_id=ORDER, expires_at=NOON)

    with pytest.raises(LookupError, match="StockKept"):
        StockFold().apply(fact)


@pytest.mark.parametrize(
    ("on_hand", "change", "expected"),
    [
        (11_000, StockChange(CEMENT, -1_000, 0, "lost"), False),
        (10_000, StockChange(CEMENT, -1_000, 0, "lost"), True),
        (9_000, StockChange(CEMENT, -1_000, 0, "lost"), False),
        (900, StockChange(CEMENT, -100_000, 0, "lost"), True),
    ],
)
def test_low_stock_is_said_when_it_becomes_low(
    on_hand: int, change: StockChange, expected: bool
) -> None:
    count = StockCount(on_hand=on_hand, reserved=0, filled=100_000, min_quantity=1_000)

    became_low = count.became_low_by(change)

    assert became_low is expected


class Warehouse(RuleBasedStateMachine):
    """Two reservations over the stock of two offers, under every sequence of commands and times.

    The reference is counted beside: what each line took and gave, in plain numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fold = StockFold()
        self.now = NOON
        self.stocked = {CEMENT: 10, SAND: 10}
        self.on_hand = dict(self.stocked)
        self.reserved = {CEMENT: 0, SAND: 0}
        self.reservations: list[StockReservation] = []
        for offer, amount in self.stocked.items():
            self.fold.apply(a_published_offer(offer, amount))

    def _settle(self, reservation: StockReservation) -> None:
        for change in reservation.changes:
            self.on_hand[change.offer_id] += change.on_hand
            self.reserved[change.offer_id] += change.reserved
        for fact in reservation.facts:
            self.fold.apply(fact)
        reservation.changes.clear()
        reservation.facts.clear()

    def _available(self) -> dict[str, int]:
        return {offer: self.on_hand[offer] - self.reserved[offer] for offer in self.on_hand}

    @precondition(lambda self: len(self.reservations) < 5)
    @rule(cement=st.integers(1, 6), sand=st.integers(0, 6))
    def reserve(self, cement: int, sand: int) -> None:
        wanted = {CEMENT: cement} | ({SAND: sand} if sand else {})
        if any(self._available()[offer] < amount for offer, amount in wanted.items()):
            return
        reservation_id = to_wire("reservation", UUID(int=100 + len(self.reservations)))
        held = StockReservation.hold(reservation_id, wanted, until=self.now + timedelta(minutes=2))
        self.reservations.append(held)
        self._settle(held)

    @precondition(lambda self: self.reservations)
    @rule(data=st.data(), minutes=st.integers(1, 30))
    def keep(self, data: st.DataObject, minutes: int) -> None:
        reservation = data.draw(st.sampled_from(self.reservations))
        reservation.keep(
            order_of(reservation),
            until=self.now + timedelta(minutes=minutes),
            available=self._available(),
        )
        self._settle(reservation)

    @precondition(lambda self: self.reservations)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        reservation = data.draw(st.sampled_from(self.reservations))
        chosen = data.draw(st.sets(st.sampled_from(sorted(reservation.lines)), min_size=1))
        wanted = {offer: reservation.lines[offer].quantity for offer in chosen}
        reservation.commit(order_of(reservation), wanted, available=self._available())
        self._settle(reservation)

    @precondition(lambda self: self.reservations)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        reservation = data.draw(st.sampled_from(self.reservations))
        chosen = data.draw(st.sets(st.sampled_from([CEMENT, SAND]), min_size=1))
        reservation.release(order_of(reservation), sorted(chosen))
        self._settle(reservation)

    @precondition(lambda self: self.reservations)
    @rule(data=st.data(), minutes=st.integers(0, 10))
    def time_passes(self, data: st.DataObject, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        reservation = data.draw(st.sampled_from(self.reservations))
        reservation.lapse(at=self.now)
        self._settle(reservation)

    @invariant()
    def stock_is_never_negative_nor_oversold(self) -> None:
        assert all(
            0 <= self.reserved[o] <= self.on_hand[o] <= self.stocked[o] for o in self.on_hand
        )

    @invariant()
    def reserved_is_what_the_lines_hold_and_sold_what_they_committed(self) -> None:
        assert self.reserved == self._sum("held")
        assert {o: self.stocked[o] - self.on_hand[o] for o in self.on_hand} == self._sum(
            "committed"
        )

    @invariant()
    def the_facts_fold_to_the_same(self) -> None:
        assert (self.fold.on_hand, {**self.reserved, **self.fold.reserved}) == (
            self.on_hand,
            self.reserved,
        )
        assert [self.fold.reservations[r.reservation_id].lines for r in self.reservations] == [
            r.lines for r in self.reservations
        ]
        assert [self.fold.reservations[r.reservation_id].expires_at for r in self.reservations] == [
            r.expires_at for r in self.reservations
        ]

    def _sum(self, state: LineState) -> dict[str, int]:
        return {
            offer: sum(
                r.lines[offer].quantity
                for r in self.reservations
                if offer in r.lines and r.lines[offer].state == state
            )
            for offer in (CEMENT, SAND)
        }


def order_of(reservation: StockReservation) -> str:
    return to_wire("order", UUID(int=len(reservation.reservation_id)))


def a_published_offer(offer_id: str, amount: int) -> OfferPublished:
    return OfferPublished(
        offer_id=offer_id,
        product_id=to_wire("product", UUID(int=1)),
        vendor_id=to_wire("vendor", UUID(int=1)),
        sku="X",
        price=Money(1),
        min_quantity=Quantity(1),
        stock=StockLevel(amount),
    )


WarehouseTest = Warehouse.TestCase
WarehouseTest.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_every_state_of_a_line_can_be_reached() -> None:
    assert set(MOVES.states) == {"held", "committed", "lapsed", "released", "short"}
