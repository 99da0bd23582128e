"""What will happen on a day of the market: who orders what, how it is paid, and what goes wrong. Pure.

The same seed and shelves make the same day.
"""

from collections import defaultdict
from collections.abc import Sequence
from enum import Enum
from random import Random
from typing import Final, NamedTuple

from msgspec import Struct

from kernel.errors import Conflict
from kernel.geo import Place
from kernel.quantity import Quantity
from plugins.catalog.contract import OwnOffer
from plugins.order.contract import (
    DeliveryAddress,
    OfferLine,
    PaymentMethod,
    PlaceOrder,
    QuoteOrder,
)

MOST_TIMES: Final = 4
BY_PRODUCT: Final = 0.35
ONLINE: Final = 0.4
ORDERS_PER_BUYER: Final = 3
MOST_LINES: Final = 4

NAMES: Final = (
    "Lakshmi Rao", "Imran Khan", "Sridevi Reddy", "Joseph Kurian", "Farhana Begum", "Venkat Goud", "Anitha Naidu",
    "Harpreet Singh", "Meena Iyer", "Ravi Teja", "Sana Siddiqui", "Kiran Kumar",
)  # fmt: skip


class NothingToBuyError(Conflict):
    """Nobody has stock within reach of any building site."""

    code = "demo.nothing_to_buy"
    title = "There is nothing to buy in this market"


class Fate(Enum):
    """What becomes of an order."""

    DELIVERED = "delivered"
    CANCELLED = "cancelled by the buyer"
    REJECTED = "rejected by a vendor"
    DECLINED = "paid at the second try"


class Site(NamedTuple):
    """A building site."""

    line1: str
    city: str
    pincode: str
    place: Place

    def address(self) -> DeliveryAddress:
        """Return where to deliver."""
        return DeliveryAddress(
            line1=self.line1,
            city=self.city,
            pincode=self.pincode,
            lat=self.place.lat,
            lon=self.place.lon,
        )


SITES: Final = (
    Site("Plot 14, Road No. 2, Banjara Hills", "Hyderabad", "500034", Place(17.4156, 78.4347)),
    Site("Flat site 7, Financial District, Gachibowli", "Hyderabad", "500032", Place(17.4401, 78.3489)),
    Site("House 3-5-8, Mehdipatnam", "Hyderabad", "500028", Place(17.3950, 78.4402)),
    Site("Plot 88, KPHB Colony, Kukatpally", "Hyderabad", "500072", Place(17.4948, 78.3996)),
    Site("12 Main Road, Uppal", "Hyderabad", "500039", Place(17.4058, 78.5591)),
    Site("Plot 5, Mansoorabad, LB Nagar", "Hyderabad", "500074", Place(17.3457, 78.5522)),
    Site("9 MG Road", "Secunderabad", "500003", Place(17.4399, 78.4983)),
    Site("Plot 31, Begumpet", "Hyderabad", "500016", Place(17.4440, 78.4660)),
)  # fmt: skip


class Stall(NamedTuple):
    """A vendor as the day's planning sees it."""

    place: Place
    radius_km: float
    offers: tuple[OwnOffer, ...]

    def reaches(self, site: Site) -> bool:
        """Tell whether the vendor delivers there."""
        return self.place.distance_km(site.place) <= self.radius_km


class Plan(Struct, frozen=True, kw_only=True):
    """One order to come."""

    number: int
    buyer: int
    site: Site
    lines: tuple[OfferLine, ...]
    payment_method: PaymentMethod
    fate: Fate

    def question(self) -> QuoteOrder:
        """Return the question what it would cost."""
        return QuoteOrder(lines=self.lines, delivery_address=self.site.address())

    def command(self) -> PlaceOrder:
        """Return the command that places it."""
        return PlaceOrder(
            lines=self.lines,
            delivery_address=self.site.address(),
            payment_method=self.payment_method,
        )


def buyers_of(orders: int) -> int:
    """Return how many buyers a day of so many orders has."""
    return max(1, -(-orders // ORDERS_PER_BUYER))


def plan_day(
    stalls: Sequence[Stall], *, orders: int, chance: Random, has_provider: bool
) -> list[Plan]:
    """Plan a day. The first orders are the telling ones: a rejection, a cancellation, a declined card.

    Raises NothingToBuyError when no vendor within reach of any site has stock.
    """
    shelves = {site: _within_reach(stalls, site) for site in SITES}
    sites = [site for site in SITES if shelves[site]]
    if not sites:
        raise NothingToBuyError
    telling = (Fate.REJECTED, Fate.CANCELLED, Fate.DECLINED)
    buyers = buyers_of(orders)
    plans = []
    for number in range(orders):
        fate = telling[number] if number < len(telling) else _fate(chance)
        is_online = has_provider and (fate is Fate.DECLINED or chance.random() < ONLINE)
        site = chance.choice(sites)
        shelf = shelves[site]
        plans.append(
            Plan(
                number=number,
                buyer=number % buyers,
                site=site,
                lines=_replaceable(shelf, chance)
                if fate is Fate.REJECTED
                else _basket(shelf, chance),
                payment_method="razorpay" if is_online else "cod",
                fate=Fate.DELIVERED if fate is Fate.DECLINED and not is_online else fate,
            )
        )
    return plans


def _fate(chance: Random) -> Fate:
    return chance.choices(tuple(Fate), weights=(84, 6, 6, 4))[0]


def _within_reach(stalls: Sequence[Stall], site: Site) -> list[OwnOffer]:
    return [
        offer
        for stall in stalls
        if stall.reaches(site)
        for offer in stall.offers
        if offer.available.thousandths >= offer.min_quantity.thousandths
    ]


def _basket(shelf: Sequence[OwnOffer], chance: Random) -> tuple[OfferLine, ...]:
    """Choose some offers, a part of them by the product alone; every product stands once."""
    basket: dict[str, OfferLine] = {}
    for offer in chance.sample(shelf, min(len(shelf), chance.randint(1, MOST_LINES))):
        quantity = Quantity(
            min(
                offer.available.thousandths,
                offer.min_quantity.thousandths * chance.randint(1, MOST_TIMES),
            )
        )
        if chance.random() < BY_PRODUCT:
            line = OfferLine(product_id=offer.product_id, quantity=quantity)
        else:
            line = OfferLine(offer_id=offer.offer_id, quantity=quantity)
        basket.setdefault(offer.product_id, line)
    return tuple(basket.values())


def _replaceable(shelf: Sequence[OwnOffer], chance: Random) -> tuple[OfferLine, ...]:
    """Choose one offer that another vendor could stand in for, if there is one: for a like price or less."""
    by_product: defaultdict[str, list[OwnOffer]] = defaultdict(list)
    for offer in shelf:
        by_product[offer.product_id].append(offer)
    found = [
        offer
        for offer in shelf
        if any(_stands_in(other, offer) for other in by_product[offer.product_id])
    ]
    offer = chance.choice(found or shelf)
    return (OfferLine(offer_id=offer.offer_id, quantity=offer.min_quantity),)


def _stands_in(other: OwnOffer, offer: OwnOffer) -> bool:
    least = offer.min_quantity.thousandths
    return (
        other.vendor_id != offer.vendor_id
        and other.price.amount <= offer.price.amount
        and other.min_quantity.thousandths <= least <= other.available.thousandths
    )
