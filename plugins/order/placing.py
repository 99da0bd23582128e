"""Placing an order: check, reserve, store. No lock is held while a neighbour is asked."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from kernel.context import Context
from plugins.catalog.contract import ReserveStock, StockLine
from plugins.order.assignment import Pick, pick_offers, wanted_of
from plugins.order.consequences import publish
from plugins.order.contract import OrderedLine, OrderedPart, OrderPlaced, OrderView, PlaceOrder
from plugins.order.days import day_in_india
from plugins.order.domain import Order
from plugins.order.errors import NotServiceableError
from plugins.order.pricing import Amounts, add_up, price_line
from plugins.order.settings import OrderSettings
from plugins.order.sourcing import reach_of, shelf_for
from plugins.order.store import OrderStore
from plugins.order.taxes import TaxTable
from plugins.order.views import order_view
from plugins.order.zones import Zone, Zones
from plugins.vendor.contract import CapacityNeed, TakeCapacity

HOLD_SECONDS: Final = 120
"""How long stock is held for an order that is being placed; nobody releases it if it is not."""


async def place_order(command: PlaceOrder, ctx: Context) -> OrderView:
    """Reserve stock and capacity, then store the order; cash on delivery confirms it at once."""
    settings = ctx.settings(OrderSettings)
    now = ctx.now()
    zone = ctx.use(Zones).zone_of(command.delivery_address)
    if zone is None:
        raise NotServiceableError
    picks = await _choose(command, now, ctx)
    lines = [price_line(pick, ctx.use(TaxTable), day_in_india(now)) for pick in picks]
    parts = _parts(picks, lines, zone, ctx)
    amounts = add_up(lines, [part.delivery for part in parts])
    fact = _placed(command, parts, amounts, await _reserve(parts, now, ctx), now, ctx)
    order = Order.place(fact, command.delivery_address)
    if command.payment_method == "cod":
        order.confirm(at=now, accept_by=now + settings.acceptance_window)
    async with ctx.transaction() as tx:
        await OrderStore(tx).add(order)
        publish(tx, order, settings)
    return order_view(order)


async def _choose(command: PlaceOrder, now: datetime, ctx: Context) -> tuple[Pick, ...]:
    wanted = wanted_of(command.lines)
    shelf = await shelf_for(wanted, command.lines, ctx)
    reach = await reach_of(shelf.vendors(), command.delivery_address, now, ctx)
    return pick_offers(wanted, shelf, reach)


def _parts(
    picks: Sequence[Pick], lines: Sequence[OrderedLine], zone: Zone, ctx: Context
) -> tuple[OrderedPart, ...]:
    by_vendor: defaultdict[str, list[OrderedLine]] = defaultdict(list)
    for pick, line in zip(picks, lines, strict=True):
        by_vendor[pick.offer.vendor_id].append(line)
    return tuple(
        OrderedPart(
            sub_order_id=ctx.new_id("suborder"),
            vendor_id=vendor_id,
            lines=tuple(sold),
            delivery=zone.fee_per_vendor,
        )
        for vendor_id, sold in by_vendor.items()
    )


async def _reserve(parts: Sequence[OrderedPart], now: datetime, ctx: Context) -> str:
    # Stock first: it is what buyers race for, and who loses must not block a vendor's day as well.
    reservation = await ctx.ask(
        ReserveStock(
            lines=tuple(
                StockLine(offer_id=line.offer_id, quantity=line.quantity)
                for part in parts
                for line in part.lines
            ),
            hold_seconds=HOLD_SECONDS,
        )
    )
    await ctx.ask(
        TakeCapacity(
            needs=tuple(
                CapacityNeed(sub_order_id=part.sub_order_id, vendor_id=part.vendor_id)
                for part in parts
            ),
            day=day_in_india(now).isoformat(),
        )
    )
    return reservation.reservation_id


def _placed(
    command: PlaceOrder,
    parts: tuple[OrderedPart, ...],
    amounts: Amounts,
    reservation_id: str,
    now: datetime,
    ctx: Context,
) -> OrderPlaced:
    window = ctx.settings(OrderSettings).payment_window
    return OrderPlaced(
        order_id=ctx.new_id("order"),
        buyer_id=ctx.actor.id,
        payment_id=ctx.new_id("payment"),
        payment_method=command.payment_method,
        reservation_id=reservation_id,
        parts=parts,
        pincode=command.delivery_address.pincode,
        subtotal=amounts.subtotal,
        tax=amounts.tax,
        delivery=amounts.delivery,
        discount=amounts.discount,
        total=amounts.total,
        placed_at=now,
        pay_by=None if command.payment_method == "cod" else now + window,
    )
