"""Seeking another vendor for a sub-order that was refused, or not accepted in time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from bus.message import Nothing
from kernel.context import Context
from kernel.errors import Conflict, ServiceError
from plugins.catalog.contract import QuoteOffers, ReserveStock, StockLine
from plugins.order.assignment import Replacement, Shelf, replacements
from plugins.order.consequences import save
from plugins.order.contract import OrderedLine, ReassignSubOrder
from plugins.order.days import day_in_india
from plugins.order.domain import Order
from plugins.order.placing import HOLD_SECONDS
from plugins.order.settings import OrderSettings
from plugins.order.sourcing import reach_of
from plugins.order.store import OrderStore, read_order
from plugins.order.sub_orders import SubOrder
from plugins.vendor.contract import CapacityNeed, TakeCapacity

VENDORS_TRIED: Final = 5


class Taker(NamedTuple):
    """A vendor whose stock and capacity are held for a refused sub-order."""

    vendor_id: str
    lines: tuple[OrderedLine, ...]
    reservation_id: str


async def reassign_sub_order(command: ReassignSubOrder, ctx: Context) -> Nothing:
    """Give a refused sub-order to the nearest other vendor that has all of it, or give it up.

    The buyer's prices stay; a vendor who asks more than them is not considered.
    """
    settings, now = ctx.settings(OrderSettings), ctx.now()
    seen = await read_order(ctx.db, command.order_id)
    taker = None
    if seen.seeks_vendor(seen.part(command.sub_order_id), command.assignment):
        taker = await _find_taker(seen, seen.part(command.sub_order_id), now, ctx)
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        part = order.part(command.sub_order_id)
        if order.seeks_vendor(part, command.assignment):
            if taker is None:
                order.give_up([part], "no_vendor", at=now)
            else:
                accept_by = now + settings.acceptance_window
                order.reassign(part, *taker, at=now, accept_by=accept_by)
        await save(tx, order, settings)
    return Nothing()


async def _find_taker(order: Order, part: SubOrder, now: datetime, ctx: Context) -> Taker | None:
    products = tuple({line.product_id: None for line in part.lines})
    found = await ctx.ask(QuoteOffers(product_ids=products))
    able: Mapping[str, Replacement] = replacements(part.lines, Shelf(found.offers), part.asked)
    reach = await reach_of(tuple(able), order.address, now, ctx)
    nearest = sorted(reach, key=lambda vendor_id: (reach[vendor_id], vendor_id))
    for vendor_id in nearest[:VENDORS_TRIED]:
        taker = await _hold(part, able[vendor_id], now, ctx)
        if taker is not None:
            return taker
    return None


async def _hold(
    part: SubOrder, replacement: Replacement, now: datetime, ctx: Context
) -> Taker | None:
    lines = tuple(
        msgspec.structs.replace(line, offer_id=offer.offer_id)
        for line, offer in zip(part.lines, replacement.offers, strict=True)
    )
    stock = ReserveStock(
        lines=tuple(StockLine(offer_id=line.offer_id, quantity=line.quantity) for line in lines),
        hold_seconds=HOLD_SECONDS,
    )
    capacity = TakeCapacity(
        needs=(CapacityNeed(sub_order_id=part.sub_order_id, vendor_id=replacement.vendor_id),),
        day=day_in_india(now).isoformat(),
    )
    try:
        reservation = await ctx.ask(stock)
        await ctx.ask(capacity)
    except ServiceError as error:
        if error.to_wire().status != Conflict.status:
            raise
        return None  # Sold or full since it was looked up: the next nearest may do.
    return Taker(replacement.vendor_id, lines, reservation.reservation_id)
