"""The write side of capacity.

To take, the vendors' rows are locked in the order of their ids, and what is used is counted by a
statement of its own after that: a statement that waited for a lock still sees the data of before.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Integer,
    ScalarSelect,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from kernel.context import Row, Tx
from kernel.ids import to_uuid, to_wire
from kernel.sql import statement
from plugins.vendor.capacity import COMMITTED, HELD, DayBook, Take
from plugins.vendor.contract import CapacityNeed
from plugins.vendor.errors import VendorNotFoundError
from plugins.vendor.tables import capacity_days, capacity_takes, vendors

# Literals, not parameters: only so can the planner tell that the partial indexes fit.
_HELD: Final = literal_column(f"'{HELD}'", Text)
_COMMITTED: Final = literal_column(f"'{COMMITTED}'", Text)


def used_of_day() -> ScalarSelect[int]:
    """Count a vendor's orders of ``:day`` that are committed, or held at ``:now``."""
    committed = (
        select(capacity_days.c.committed)
        .where(
            capacity_days.c.vendor_id == vendors.c.vendor_id,
            capacity_days.c.day == bindparam("day"),
        )
        .correlate(vendors)
        .scalar_subquery()
    )
    return (
        select(func.count() + func.coalesce(committed, 0))
        .select_from(capacity_takes)
        .where(
            capacity_takes.c.vendor_id == vendors.c.vendor_id,
            capacity_takes.c.day == bindparam("day"),
            capacity_takes.c.status == _HELD,
            capacity_takes.c.lapses_at > bindparam("now"),
        )
        .correlate(vendors)
        .scalar_subquery()
    )


_THESE_VENDORS: Final = vendors.c.vendor_id == any_(bindparam("vendor_ids", type_=ARRAY(Uuid)))

LOCK_VENDORS: Final = statement(
    select(vendors.c.vendor_id)
    .where(_THESE_VENDORS)
    .order_by(vendors.c.vendor_id)
    .with_for_update(key_share=True)
)
DAY_BOOKS: Final = statement(
    select(
        vendors.c.vendor_id,
        vendors.c.status,
        vendors.c.orders_per_day,
        used_of_day().label("used"),
    ).where(_THESE_VENDORS)
)
LOCK_TAKES: Final = statement(
    select(capacity_takes)
    .where(
        capacity_takes.c.sub_order_id == any_(bindparam("sub_order_ids", type_=ARRAY(Uuid))),
    )
    .order_by(capacity_takes.c.sub_order_id, capacity_takes.c.vendor_id)
    .with_for_update()
)
_take: Final = insert(capacity_takes)
SAVE_TAKE: Final = statement(
    _take.on_conflict_do_update(
        index_elements=["sub_order_id", "vendor_id"],
        set_={
            "day": _take.excluded.day,
            "status": _take.excluded.status,
            "lapses_at": _take.excluded.lapses_at,
            "changed_at": _take.excluded.changed_at,
        },
    )
)
_day: Final = insert(capacity_days)
ADD_COMMITTED: Final = statement(
    _day.on_conflict_do_update(
        index_elements=["vendor_id", "day"],
        set_={"committed": capacity_days.c.committed + _day.excluded.committed},
    )
)
DROP_COMMITTED: Final = statement(
    update(capacity_days)
    .where(
        capacity_days.c.vendor_id == bindparam("known_vendor"),
        capacity_days.c.day == bindparam("known_day"),
    )
    .values(committed=capacity_days.c.committed - bindparam("dropped", type_=Integer))
)
FORGET_TAKES: Final = statement(
    delete(capacity_takes).where(
        capacity_takes.c.status != _COMMITTED, capacity_takes.c.changed_at < bindparam("before")
    )
)


class CapacityStore:
    """Saves takes and keeps the count of the committed ones."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def open_books(
        self, vendor_ids: Iterable[str], *, day: date, now: datetime
    ) -> Mapping[str, DayBook]:
        """Lock vendors against other takers and return their day; raises VendorNotFoundError."""
        ids = [to_uuid(vendor_id) for vendor_id in vendor_ids]
        await self._tx.fetch(LOCK_VENDORS, vendor_ids=ids)
        rows = await self._tx.fetch(DAY_BOOKS, vendor_ids=ids, day=day, now=now)
        books = [_book(row) for row in rows]
        if len(books) < len(ids):
            raise VendorNotFoundError
        return {book.vendor_id: book for book in books}

    async def takes_of(self, sub_order_ids: Iterable[str]) -> Mapping[CapacityNeed, Take]:
        """Lock and return all takes of sub-orders, with whatever vendor."""
        ids = [to_uuid(sub_order_id) for sub_order_id in sub_order_ids]
        takes = [_take_of(row) for row in await self._tx.fetch(LOCK_TAKES, sub_order_ids=ids)]
        return {
            CapacityNeed(sub_order_id=take.sub_order_id, vendor_id=take.vendor_id): take
            for take in takes
        }

    async def save(self, takes: Iterable[Take]) -> None:
        """Write takes, in the order of their keys, and publish their facts."""
        ordered = sorted(takes, key=lambda take: (take.sub_order_id, take.vendor_id))
        await self._tx.executemany(SAVE_TAKE, [_row(take) for take in ordered])
        for (vendor_id, day), change in sorted(_committed_changes(ordered).items()):
            await self._change_committed(to_uuid(vendor_id), day, change)
        for take in ordered:
            for fact in take.facts:
                self._tx.emit(fact)

    async def _change_committed(self, vendor_id: UUID, day: date, change: int) -> None:
        if change > 0:
            await self._tx.execute(ADD_COMMITTED, vendor_id=vendor_id, day=day, committed=change)
        else:
            await self._tx.execute(
                DROP_COMMITTED, known_vendor=vendor_id, known_day=day, dropped=-change
            )

    async def forget(self, *, before: datetime) -> None:
        """Delete takes that were released, or held in vain, before a time."""
        await self._tx.execute(FORGET_TAKES, before=before)


def _committed_changes(takes: Iterable[Take]) -> dict[tuple[str, date], int]:
    changes: dict[tuple[str, date], int] = {}
    for take in takes:
        if take.committed_change:
            key = take.vendor_id, take.day
            changes[key] = changes.get(key, 0) + take.committed_change
    return changes


def _row(take: Take) -> dict[str, object]:
    return {
        "sub_order_id": to_uuid(take.sub_order_id),
        "vendor_id": to_uuid(take.vendor_id),
        "day": take.day,
        "status": take.status,
        "lapses_at": take.lapses_at,
        "changed_at": take.changed_at,
    }


def _take_of(row: Row) -> Take:
    return Take(
        sub_order_id=to_wire("suborder", row["sub_order_id"]),
        vendor_id=to_wire("vendor", row["vendor_id"]),
        day=row["day"],
        status=row["status"],
        lapses_at=row["lapses_at"],
        changed_at=row["changed_at"],
    )


def _book(row: Row) -> DayBook:
    return DayBook(
        vendor_id=to_wire("vendor", row["vendor_id"]),
        status=row["status"],
        orders_per_day=row["orders_per_day"],
        used=row["used"],
    )
