"""What the order plugin asks its neighbours: what is on offer, who can deliver, whose a vendor is."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from kernel.context import Context
from kernel.geo import Place
from plugins.catalog.contract import QuoteOffers
from plugins.order.assignment import Reach, Shelf, Wanted, require_open
from plugins.order.contract import DeliveryAddress, OfferLine
from plugins.order.days import day_in_india
from plugins.vendor.contract import EligibleVendors, VendorsOfOwner

VENDORS_AT_ONCE: Final = 500


async def shelf_for(wanted: Wanted, lines: Sequence[OfferLine], ctx: Context) -> Shelf:
    """Ask the catalogue for what the lines may be bought from; raises OfferNotOpenError."""
    found = await ctx.ask(
        QuoteOffers(offer_ids=tuple(wanted.offers), product_ids=tuple(wanted.products))
    )
    shelf = Shelf(found.offers)
    require_open(wanted, shelf, lines)
    return shelf


async def reach_of(
    vendor_ids: Sequence[str], address: DeliveryAddress, at: datetime, ctx: Context
) -> Reach:
    """Ask which of these vendors can deliver to an address on that day, and how far they are."""
    reach: dict[str, float] = {}
    for start in range(0, len(vendor_ids), VENDORS_AT_ONCE):
        found = await ctx.ask(
            EligibleVendors(
                vendor_ids=tuple(vendor_ids[start : start + VENDORS_AT_ONCE]),
                place=Place(address.lat, address.lon),
                day=day_in_india(at).isoformat(),
            )
        )
        reach.update((c.vendor_id, c.distance_km) for c in found.candidates)
    return reach


async def vendors_of_caller(ctx: Context) -> Collection[str]:
    """Ask for the vendors that the caller owns."""
    found = await ctx.ask(VendorsOfOwner(owner_id=ctx.actor.id))
    return frozenset(standing.vendor_id for standing in found.standings)
