"""Stock and reservations in PostgreSQL: guarded changes, rows always locked in the order of offer ids."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select, update

from kernel.context import Row, Tx
from kernel.errors import FieldFault, ServiceError
from kernel.ids import to_uuid, to_wire
from kernel.quantity import number_of
from kernel.sql import Statement, statement
from plugins.catalog.contract import OfferId, StockLine, StockLow
from plugins.catalog.domain import Line, StockChange, StockCount, StockReservation, summed
from plugins.catalog.errors import (
    BelowMinimum,
    OfferNotOpen,
    ReservationNotFound,
    StockIsShort,
)
from plugins.catalog.store import level
from plugins.catalog.tables import reservation_lines, reservations

_CHANGE: Final = """
    WITH wanted AS (
        SELECT * FROM unnest(
            CAST(:offer_ids AS uuid[]),
            CAST(:on_hand_changes AS bigint[]),
            CAST(:reserved_changes AS bigint[]),
            CAST(:reasons AS text[])
        ) AS w (offer_id, on_hand_change, reserved_change, reason)
    ),
    locked AS (
        SELECT w.*, o.product_id, o.vendor_id, o.min_quantity
        FROM wanted w
        JOIN stocks s ON s.offer_id = w.offer_id
        JOIN offers o ON o.offer_id = w.offer_id
        JOIN vendors v ON v.vendor_id = o.vendor_id
        {only}
        ORDER BY w.offer_id
        FOR UPDATE OF s
    ),
    changed AS (
        UPDATE stocks s SET
            on_hand = s.on_hand + l.on_hand_change,
            reserved = s.reserved + l.reserved_change,
            filled = CASE WHEN l.on_hand_change > 0 AND l.reason <> 'restored'
                THEN s.on_hand + l.on_hand_change ELSE s.filled END
        FROM locked l
        WHERE s.offer_id = l.offer_id
            AND s.reserved + l.reserved_change >= 0
            AND s.reserved + l.reserved_change <= s.on_hand + l.on_hand_change
        RETURNING s.offer_id, s.on_hand, s.reserved, s.filled, l.product_id, l.vendor_id,
            l.min_quantity, l.on_hand_change, l.reserved_change, l.reason
    ),
    history AS (
        INSERT INTO stock_movements (
            offer_id, on_hand_change, reserved_change, reason, reservation_id, moved_by, moved_at
        )
        SELECT offer_id, on_hand_change, reserved_change, reason,
            CAST(:reservation_id AS uuid), CAST(:moved_by AS text), CAST(:moved_at AS timestamptz)
        FROM changed
    ),
    noted AS (
        INSERT INTO listing_changes (product_id, changed_at)
        SELECT DISTINCT product_id, CAST(:moved_at AS timestamptz) FROM changed
    )
    SELECT offer_id, on_hand, reserved, filled, vendor_id, min_quantity FROM changed
"""
CHANGE_STOCK: Final = statement(_CHANGE.format(only=""))
"""Change the stock of several offers; a row whose guard fails is left out of the answer."""

TAKE_STOCK: Final = statement(
    _CHANGE.format(
        only="""WHERE NOT o.paused AND v.status = 'approved'
            AND w.reserved_change >= o.min_quantity"""
    )
)
"""As CHANGE_STOCK, for what a buyer takes: only of open offers, and not below their least quantity."""

WHY_NOT: Final = statement(
    """
    SELECT o.offer_id, o.min_quantity, s.on_hand - s.reserved AS available,
        NOT o.paused AND v.status = 'approved' AS is_open
    FROM offers o
    JOIN vendors v ON v.vendor_id = o.vendor_id
    JOIN stocks s ON s.offer_id = o.offer_id
    WHERE o.offer_id = ANY(CAST(:offer_ids AS uuid[]))
    """
)
LOCKED_AVAILABLE: Final = statement(
    """
    SELECT offer_id, on_hand - reserved AS available FROM stocks
    WHERE offer_id = ANY(CAST(:offer_ids AS uuid[])) ORDER BY offer_id FOR UPDATE
    """
)
NEW_RESERVATION: Final = statement(
    """
    WITH reservation AS (
        INSERT INTO reservations (reservation_id, order_id, expires_at, created_at)
        VALUES (:reservation_id, NULL, :expires_at, :created_at)
        RETURNING reservation_id
    )
    INSERT INTO reservation_lines (reservation_id, offer_id, quantity, state)
    SELECT reservation.reservation_id, line.offer_id, line.quantity, 'held'
    FROM reservation, unnest(CAST(:offer_ids AS uuid[]), CAST(:quantities AS bigint[]))
        AS line (offer_id, quantity)
    """
)
RESERVATION: Final = statement(
    select(reservations.c.order_id, reservations.c.expires_at)
    .where(reservations.c.reservation_id == bindparam("reservation_id"))
    .with_for_update()
)
RESERVATION_LINES: Final = statement(
    select(
        reservation_lines.c.offer_id, reservation_lines.c.quantity, reservation_lines.c.state
    ).where(reservation_lines.c.reservation_id == bindparam("reservation_id"))
)
SAVE_RESERVATION: Final = statement(
    update(reservations)
    .where(reservations.c.reservation_id == bindparam("for_reservation"))
    .values(order_id=bindparam("order_id"), expires_at=bindparam("expires_at"))
)
SAVE_LINES: Final = statement(
    """
    UPDATE reservation_lines AS l SET state = n.state
    FROM unnest(CAST(:offer_ids AS uuid[]), CAST(:states AS text[])) AS n (offer_id, state)
    WHERE l.reservation_id = :reservation_id AND l.offer_id = n.offer_id AND l.state <> n.state
    """
)


class StockStore:
    """The stock of offers. Every change is written with its line of history."""

    def __init__(self, tx: Tx, *, by: str, at: datetime) -> None:
        self._tx = tx
        self._by = by
        self._at = at

    async def take(self, reservation_id: str, lines: Sequence[StockLine]) -> None:
        """Reserve all lines in one statement, or raise why not: nothing is stored then."""
        amounts = summed(lines)
        changes = [StockChange(offer, 0, amount, "reserved") for offer, amount in amounts.items()]
        moved = await self._run(TAKE_STOCK, changes, reservation_id)
        if len(moved) < len(changes):
            raise await self._why_not(amounts, lines)
        self._tell_low(changes, moved)

    async def change(
        self, changes: Sequence[StockChange], *, reservation_id: str | None = None
    ) -> bool:
        """Make these changes; False when one does not fit, and the caller must then raise."""
        if not changes:
            return True
        moved = await self._run(CHANGE_STOCK, changes, reservation_id)
        self._tell_low(changes, moved)
        return len(moved) == len(changes)

    async def available(self, offers: Sequence[OfferId]) -> dict[OfferId, int]:
        """Return what can be taken of these offers, and keep it so until the transaction ends."""
        rows = await self._tx.fetch(LOCKED_AVAILABLE, offer_ids=[to_uuid(o) for o in offers])
        return {to_wire("offer", row["offer_id"]): row["available"] for row in rows}

    async def _run(
        self, how: Statement, changes: Sequence[StockChange], reservation_id: str | None
    ) -> dict[UUID, Row]:
        rows = await self._tx.fetch(
            how,
            offer_ids=[to_uuid(change.offer_id) for change in changes],
            on_hand_changes=[change.on_hand for change in changes],
            reserved_changes=[change.reserved for change in changes],
            reasons=[change.reason for change in changes],
            reservation_id=to_uuid(reservation_id) if reservation_id else None,
            moved_by=self._by,
            moved_at=self._at,
        )
        return {row["offer_id"]: row for row in rows}

    def _tell_low(self, changes: Sequence[StockChange], moved: Mapping[UUID, Row]) -> None:
        for change in changes:
            row = moved.get(to_uuid(change.offer_id))
            if row is None:
                continue
            count = StockCount(row["on_hand"], row["reserved"], row["filled"], row["min_quantity"])
            if count.became_low_by(change):
                self._tx.emit(
                    StockLow(
                        offer_id=change.offer_id,
                        vendor_id=to_wire("vendor", row["vendor_id"]),
                        available=level(count.available),
                    )
                )

    async def _why_not(
        self, amounts: Mapping[OfferId, int], lines: Sequence[StockLine]
    ) -> ServiceError:
        rows = await self._tx.fetch(WHY_NOT, offer_ids=[to_uuid(offer) for offer in amounts])
        found = {to_wire("offer", row["offer_id"]): row for row in rows}
        closed = {o: "is not open" for o in amounts if o not in found or not found[o]["is_open"]}
        if closed:
            return OfferNotOpen(errors=_faults(lines, closed))
        below = {
            offer: f"takes at least {number_of(found[offer]['min_quantity'])}"
            for offer, amount in amounts.items()
            if amount < found[offer]["min_quantity"]
        }
        if below:
            return BelowMinimum(errors=_faults(lines, below))
        short = {
            offer: f"has {number_of(found[offer]['available'])} left"
            for offer, amount in amounts.items()
            if amount > found[offer]["available"]
        }
        return StockIsShort(errors=_faults(lines, short))


class ReservationStore:
    """Reservations and their lines."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, reservation: StockReservation, *, at: datetime) -> None:
        """Store a new reservation."""
        await self._tx.execute(
            NEW_RESERVATION,
            reservation_id=to_uuid(reservation.reservation_id),
            expires_at=reservation.expires_at,
            created_at=at,
            offer_ids=[to_uuid(offer) for offer in reservation.lines],
            quantities=[line.quantity for line in reservation.lines.values()],
        )

    async def get(self, reservation_id: str) -> StockReservation:
        """Return a reservation, locked until the transaction ends; raises ReservationNotFound."""
        key = to_uuid(reservation_id)
        row = await self._tx.fetchrow(RESERVATION, reservation_id=key)
        if row is None:
            raise ReservationNotFound
        lines = await self._tx.fetch(RESERVATION_LINES, reservation_id=key)
        return StockReservation(
            reservation_id,
            row["expires_at"],
            to_wire("order", row["order_id"]) if row["order_id"] else None,
            {
                to_wire("offer", line["offer_id"]): Line(line["quantity"], line["state"])
                for line in lines
            },
        )

    async def save(self, reservation: StockReservation) -> None:
        """Store what became of a reservation that ``get`` locked."""
        key = to_uuid(reservation.reservation_id)
        await self._tx.execute(
            SAVE_RESERVATION,
            for_reservation=key,
            order_id=to_uuid(reservation.order_id) if reservation.order_id else None,
            expires_at=reservation.expires_at,
        )
        await self._tx.execute(
            SAVE_LINES,
            reservation_id=key,
            offer_ids=[to_uuid(offer) for offer in reservation.lines],
            states=[line.state for line in reservation.lines.values()],
        )


def _faults(lines: Sequence[StockLine], reasons: Mapping[OfferId, str]) -> tuple[FieldFault, ...]:
    return tuple(
        FieldFault(f"lines[{index}].offer_id", f"{line.offer_id} {reasons[line.offer_id]}")
        for index, line in enumerate(lines)
        if line.offer_id in reasons
    )
