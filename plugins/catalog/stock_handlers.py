"""What order tells catalog to do with stock: reserve, keep, commit, release; and the lapse by time."""

from datetime import timedelta

from bus.message import Nothing
from kernel.context import Context, Tx
from plugins.catalog.contract import (
    CommitStock,
    KeepStock,
    LapseReservation,
    ReleaseStock,
    Reservation,
    ReserveStock,
)
from plugins.catalog.domain import StockReservation, summed
from plugins.catalog.stock_store import ReservationStore, StockStore


class StockGuardError(RuntimeError):
    """A change that the rules allow did not fit the rows: a defect, and nothing is stored."""


async def reserve_stock(command: ReserveStock, ctx: Context) -> Reservation:
    """Hold stock, all lines or none."""
    at = ctx.now()
    until = at + timedelta(seconds=command.hold_seconds)
    reservation_id = ctx.new_id("reservation")
    async with ctx.transaction() as tx:
        await _stock(tx, ctx).take(reservation_id, command.lines)
        held = StockReservation.hold(reservation_id, summed(command.lines), until=until)
        await ReservationStore(tx).add(held, at=at)
        _tell(tx, held)
    return _view(held)


async def keep_stock(command: KeepStock, ctx: Context) -> Reservation:
    """Hold longer, for an order that waits for its payment."""
    async with ctx.transaction() as tx:
        reservation = await ReservationStore(tx).get(command.reservation_id)
        available = await _available(tx, ctx, reservation)
        reservation.keep(command.order_id, until=command.until, available=available)
        await _save(tx, ctx, reservation)
    return _view(reservation)


async def commit_stock(command: CommitStock, ctx: Context) -> Reservation:
    """Deduct the stock of a confirmed order."""
    async with ctx.transaction() as tx:
        reservation = await ReservationStore(tx).get(command.reservation_id)
        available = await _available(tx, ctx, reservation)
        reservation.commit(command.order_id, summed(command.lines), available=available)
        await _save(tx, ctx, reservation)
    return _view(reservation)


async def release_stock(command: ReleaseStock, ctx: Context) -> Reservation:
    """Give back what an order does not take."""
    async with ctx.transaction() as tx:
        reservation = await ReservationStore(tx).get(command.reservation_id)
        reservation.release(command.order_id, command.offer_ids)
        await _save(tx, ctx, reservation)
    return _view(reservation)


async def lapse_reservation(command: LapseReservation, ctx: Context) -> Nothing:
    """Free what is still held. A timer that rings early, or for what was kept, is set anew."""
    async with ctx.transaction() as tx:
        reservation = await ReservationStore(tx).get(command.reservation_id)
        reservation.lapse(at=ctx.now())
        await _save(tx, ctx, reservation)
        if reservation.is_holding:
            _set_timer(tx, reservation)
    return Nothing()


async def _available(tx: Tx, ctx: Context, reservation: StockReservation) -> dict[str, int]:
    """Lock the stock of a reservation of which something lapsed: all its rows at once, in order."""
    if not reservation.offers_in("lapsed"):
        return {}
    return await _stock(tx, ctx).available(tuple(reservation.lines))


async def _save(tx: Tx, ctx: Context, reservation: StockReservation) -> None:
    if not reservation.facts:
        return
    fits = await _stock(tx, ctx).change(
        sorted(reservation.changes), reservation_id=reservation.reservation_id
    )
    if not fits:
        raise StockGuardError(f"{reservation.reservation_id}: {reservation.changes}")
    await ReservationStore(tx).save(reservation)
    _tell(tx, reservation)


def _tell(tx: Tx, reservation: StockReservation) -> None:
    for fact in reservation.facts:
        tx.emit(fact)
    if reservation.is_holding:
        _set_timer(tx, reservation)
    else:
        tx.cancel(reservation.reservation_id)


def _set_timer(tx: Tx, reservation: StockReservation) -> None:
    timer = LapseReservation(reservation_id=reservation.reservation_id)
    tx.later(timer, at=reservation.expires_at, id=reservation.reservation_id)


def _stock(tx: Tx, ctx: Context) -> StockStore:
    return StockStore(tx, by=str(ctx.actor), at=ctx.now())


def _view(reservation: StockReservation) -> Reservation:
    return Reservation(reservation_id=reservation.reservation_id, expires_at=reservation.expires_at)
