"""Capacity: holds, commitments, releases, and the arithmetic of a day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Invalid
from kernel.ids import derived_uuid, to_wire
from plugins.vendor.capacity import DayBook, Take, TakeStatus, day_of, take_all
from plugins.vendor.contract import CapacityCommitted, CapacityNeed, CapacityReleased
from plugins.vendor.errors import CapacityShortError, VendorNotApprovedError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=2)
TODAY = date(2026, 3, 2)
VENDOR = "vendor_01k9z7x3c8e4m9r2t5v6w7y8z0"
SUB_ORDER = "suborder_01k9z7x3c8e4m9r2t5v6w7y8z0"


def a_take(**overrides: Any) -> Take:
    fields: dict[str, Any] = {
        "sub_order_id": SUB_ORDER,
        "vendor_id": VENDOR,
        "day": TODAY,
        "status": "held",
        "lapses_at": LATER,
        "changed_at": NOON,
    }
    return Take(**fields | overrides)


def a_book(**overrides: Any) -> DayBook:
    fields: dict[str, Any] = {
        "vendor_id": VENDOR,
        "status": "approved",
        "orders_per_day": 2,
        "used": 0,
    }
    return DayBook(**fields | overrides)


def a_need(number: int = 0) -> CapacityNeed:
    sub_order_id = to_wire("suborder", derived_uuid(NOON, "need", str(number)))
    return CapacityNeed(sub_order_id=sub_order_id, vendor_id=VENDOR)


def taken(book: DayBook, known: Take | None = None, count: int = 1) -> list[Take]:
    needs = [a_need(number) for number in range(count)]
    known_takes = {needs[0]: known} if known else {}
    return take_all(needs, {VENDOR: book}, known_takes, day=TODAY, until=LATER, at=NOON)


def test_a_hold_counts_until_it_lapses() -> None:
    take = a_take(lapses_at=LATER)

    assert take.is_held_for(TODAY, at=LATER - timedelta(microseconds=1))
    assert not take.is_held_for(TODAY, at=LATER)
    assert not take.is_held_for(TODAY + timedelta(days=1), at=NOON)


def test_a_committed_take_is_told_and_counted_once() -> None:
    take = a_take()

    take.commit(at=NOON)
    take.commit(at=LATER)

    assert (take.status, take.committed_change, take.changed_at) == ("committed", 1, NOON)
    assert take.facts == [CapacityCommitted(vendor_id=VENDOR, sub_order_id=SUB_ORDER)]


def test_a_late_commitment_does_not_undo_a_release() -> None:
    take = a_take(status="released")

    take.commit(at=NOON)

    assert (take.status, take.committed_change, take.facts) == ("released", 0, [])


@pytest.mark.parametrize(("status", "change"), [("held", 0), ("committed", -1)])
def test_a_released_take_gives_back_what_it_had(status: TakeStatus, change: int) -> None:
    take = a_take(status=status)

    take.release(at=NOON)

    assert (take.status, take.committed_change) == ("released", change)
    assert take.facts == [CapacityReleased(vendor_id=VENDOR, sub_order_id=SUB_ORDER)]


def test_releasing_twice_is_the_same_as_releasing_once() -> None:
    take = a_take(status="released")

    take.release(at=NOON)

    assert (take.committed_change, take.facts) == (0, [])


@given(used=st.integers(0, 50), wanted=st.integers(1, 50), spare=st.integers(0, 50))
def test_a_day_takes_what_it_has_room_for(used: int, wanted: int, spare: int) -> None:
    book = a_book(orders_per_day=used + wanted + spare, used=used)

    holds = taken(book, count=wanted)

    assert len({hold.sub_order_id for hold in holds}) == wanted
    assert book.used == used + wanted


@given(free=st.integers(-5, 20), excess=st.integers(1, 20))
def test_a_day_takes_nothing_when_not_all_find_room(free: int, excess: int) -> None:
    book = a_book(orders_per_day=30, used=30 - free)

    with pytest.raises(CapacityShortError):
        taken(book, count=max(free, 0) + excess)


@pytest.mark.parametrize("status", ["pending", "suspended"])
def test_only_approved_vendors_take_orders(status: str) -> None:
    with pytest.raises(VendorNotApprovedError):
        taken(a_book(status=status))


def test_a_live_hold_is_prolonged_and_not_counted_twice() -> None:
    book = a_book(orders_per_day=1, used=1)

    holds = taken(book, a_take(lapses_at=NOON + timedelta(seconds=1)))

    assert [(hold.status, hold.lapses_at) for hold in holds] == [("held", LATER)]
    assert book.used == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"lapses_at": NOON},
        {"status": "released"},
        {"day": TODAY - timedelta(days=1)},
    ],
)
def test_what_was_lost_must_be_had_again(overrides: dict[str, Any]) -> None:
    book = a_book(orders_per_day=1, used=1)

    with pytest.raises(CapacityShortError):
        taken(book, a_take(**overrides))


def test_a_committed_take_stays_as_it_is() -> None:
    book = a_book(orders_per_day=1, used=1)

    assert taken(book, a_take(status="committed")) == []


@given(st.dates())
def test_every_day_of_the_calendar_is_read(day: date) -> None:
    assert day_of(day.isoformat()) == day


@pytest.mark.parametrize("text", ["2026-02-30", "2026-13-01", "0000-01-01"])
def test_other_days_are_refused_by_their_field(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        day_of(text)

    assert [fault.field for fault in refusal.value.errors] == ["day"]
