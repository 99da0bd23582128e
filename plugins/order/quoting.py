"""Quotes: what an order would cost now. Nothing is reserved, nothing is written."""

from kernel.context import Context
from kernel.money import ZERO
from plugins.order.assignment import Pick, Shelf, Wanted, pick_cheapest, pick_offers, wanted_of
from plugins.order.contract import QuoteOrder, QuoteView
from plugins.order.days import day_in_india
from plugins.order.errors import NoVendorError
from plugins.order.pricing import add_up, price_line
from plugins.order.sourcing import reach_of, shelf_for
from plugins.order.taxes import TaxTable
from plugins.order.zones import Zones


async def quote_order(query: QuoteOrder, ctx: Context) -> QuoteView:
    """Price the lines for an address.

    Where nobody delivers, or nobody has enough, it is not serviceable, and the lines are priced at
    the cheapest offers without delivery. Whether the vendors of chosen offers reach the address
    and have the stock is decided when the order is placed.
    """
    wanted = wanted_of(query.lines)
    shelf = await shelf_for(wanted, query.lines, ctx)
    zone = ctx.use(Zones).zone_of(query.delivery_address)
    picks = None if zone is None else await _choose(query, wanted, shelf, ctx)
    fee = ZERO if zone is None or picks is None else zone.fee_per_vendor
    bought = pick_cheapest(wanted, shelf) if picks is None else picks
    taxes, day = ctx.use(TaxTable), day_in_india(ctx.now())
    vendors = {pick.offer.vendor_id for pick in bought}
    amounts = add_up([price_line(pick, taxes, day) for pick in bought], [fee] * len(vendors))
    return QuoteView(
        serviceable=picks is not None,
        subtotal=amounts.subtotal,
        tax=amounts.tax,
        delivery=amounts.delivery,
        discount=amounts.discount,
        total=amounts.total,
    )


async def _choose(
    query: QuoteOrder, wanted: Wanted, shelf: Shelf, ctx: Context
) -> tuple[Pick, ...] | None:
    if not wanted.products:
        return pick_cheapest(wanted, shelf)
    reach = dict(await reach_of(shelf.vendors(), query.delivery_address, ctx.now(), ctx))
    for offer_id in wanted.offers:
        reach.setdefault(shelf.by_id[offer_id].vendor_id, float("inf"))
    try:
        return pick_offers(wanted, shelf, reach)
    except NoVendorError:
        return None
