"""Whose offers make an order: lines are merged, and a vendor is chosen where a line leaves it open.

Pure: it gets the open offers and the vendors within reach, and gives the offers to be bought.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from kernel.quantity import MAX_THOUSANDTHS, Quantity
from plugins.catalog.contract import QuotedOffer
from plugins.order.contract import OfferLine, OrderedLine
from plugins.order.errors import (
    AmbiguousLineError,
    BelowMinQuantityError,
    NoVendorError,
    OfferNotOpenError,
    QuantityTooLargeError,
    VendorCannotDeliverError,
    faults,
)

Reach = Mapping[str, float]
"""The vendors that can deliver, with their distance in kilometres."""

ONE_FIELD: Final = "give exactly one of offer_id and product_id"


class Wanted(NamedTuple):
    """What a buyer asks for: thousandths by offer, and by product, each named once."""

    offers: Mapping[str, int]
    products: Mapping[str, int]


class Pick(NamedTuple):
    """An offer that is to be bought, and how much of it."""

    offer: QuotedOffer
    quantity: Quantity


class Shelf:
    """The open offers that the catalogue gave, by id and by product."""

    def __init__(self, offers: Iterable[QuotedOffer]) -> None:
        self.by_id = {offer.offer_id: offer for offer in offers}
        self.by_product: defaultdict[str, list[QuotedOffer]] = defaultdict(list)
        for offer in self.by_id.values():
            self.by_product[offer.product_id].append(offer)

    def vendors(self) -> tuple[str, ...]:
        """Return every vendor with an open offer here, sorted."""
        return tuple(sorted({offer.vendor_id for offer in self.by_id.values()}))


def wanted_of(lines: Sequence[OfferLine]) -> Wanted:
    """Merge the lines of one offer or product; raises AmbiguousLineError, QuantityTooLargeError."""
    offers: defaultdict[str, int] = defaultdict(int)
    products: defaultdict[str, int] = defaultdict(int)
    unclear: list[str] = []
    for index, line in enumerate(lines):
        if line.offer_id is not None and line.product_id is None:
            offers[line.offer_id] += line.quantity.thousandths
        elif line.product_id is not None and line.offer_id is None:
            products[line.product_id] += line.quantity.thousandths
        else:
            unclear.append(f"lines[{index}]")
    if unclear:
        raise AmbiguousLineError(errors=faults(unclear, ONE_FIELD))
    return Wanted(offers, products)


def require_open(wanted: Wanted, shelf: Shelf, lines: Sequence[OfferLine]) -> None:
    """Raise OfferNotOpenError, naming the lines, when something wanted is not on the shelf."""
    missing = (wanted.offers.keys() - shelf.by_id.keys()) | {
        product for product in wanted.products if product not in shelf.by_product
    }
    if missing:
        fields = [
            f"lines[{index}].{'offer_id' if line.offer_id else 'product_id'}"
            for index, line in enumerate(lines)
            if (line.offer_id or line.product_id) in missing
        ]
        raise OfferNotOpenError(errors=faults(fields, "is not on offer"))


def pick_offers(wanted: Wanted, shelf: Shelf, reach: Reach) -> tuple[Pick, ...]:
    """Choose the offers to buy: those named, and for each product the nearest that can deliver.

    Of equally near offers the cheaper is taken, then the one with the lower id. Raises
    VendorCannotDeliverError for a named offer out of reach, NoVendorError for a product that
    nobody within reach has enough of.
    """
    chosen = dict(wanted.offers)
    for offer_id in chosen:
        if shelf.by_id[offer_id].vendor_id not in reach:
            raise VendorCannotDeliverError
    for product_id, thousandths in wanted.products.items():
        able = [
            offer
            for offer in shelf.by_product[product_id]
            if offer.vendor_id in reach
            and can_deliver(offer, thousandths + chosen.get(offer.offer_id, 0))
        ]
        if not able:
            raise NoVendorError
        nearest = min(able, key=lambda o: (reach[o.vendor_id], o.price.amount, o.offer_id))
        chosen[nearest.offer_id] = chosen.get(nearest.offer_id, 0) + thousandths
    return _picks(chosen, shelf)


def pick_cheapest(wanted: Wanted, shelf: Shelf) -> tuple[Pick, ...]:
    """Choose by price alone, whoever sells it: for a quote that can only tell what things cost."""
    chosen = dict(wanted.offers)
    for product_id, thousandths in wanted.products.items():
        cheapest = min(
            shelf.by_product[product_id],
            key=lambda o: (o.min_quantity.thousandths > thousandths, o.price.amount, o.offer_id),
        )
        chosen[cheapest.offer_id] = chosen.get(cheapest.offer_id, 0) + thousandths
    return _picks(chosen, shelf)


def can_deliver(offer: QuotedOffer, thousandths: int) -> bool:
    """Tell whether an offer has so much in stock and its vendor delivers so little."""
    return offer.min_quantity.thousandths <= thousandths <= offer.available.thousandths


class Replacement(NamedTuple):
    """One vendor's offers for all lines of a refused sub-order, in the order of the lines."""

    vendor_id: str
    offers: tuple[QuotedOffer, ...]


def replacements(
    lines: Sequence[OrderedLine], shelf: Shelf, asked: Iterable[str]
) -> dict[str, Replacement]:
    """Return, by vendor, who could deliver all lines for what they were sold at, or less.

    Vendors who were asked before are left out: they refused, or did not answer.
    """
    refused = set(asked)
    found: dict[str, Replacement] = {}
    for vendor_id in shelf.vendors():
        if vendor_id not in refused:
            offers = [_substitute(line, shelf, vendor_id) for line in lines]
            complete = tuple(offer for offer in offers if offer is not None)
            if len(complete) == len({offer.offer_id for offer in complete}) == len(lines):
                found[vendor_id] = Replacement(vendor_id, complete)
    return found


def _substitute(line: OrderedLine, shelf: Shelf, vendor_id: str) -> QuotedOffer | None:
    able = [
        offer
        for offer in shelf.by_product.get(line.product_id, ())
        if offer.vendor_id == vendor_id
        and offer.price.amount <= line.unit_price.amount
        and can_deliver(offer, line.quantity.thousandths)
    ]
    return min(able, key=lambda o: (o.price.amount, o.offer_id), default=None)


def _picks(chosen: Mapping[str, int], shelf: Shelf) -> tuple[Pick, ...]:
    if max(chosen.values()) > MAX_THOUSANDTHS:
        raise QuantityTooLargeError
    picks = tuple(Pick(shelf.by_id[o], Quantity(thousandths)) for o, thousandths in chosen.items())
    for offer, quantity in picks:
        if quantity.thousandths < offer.min_quantity.thousandths:
            raise BelowMinQuantityError(
                f"Offer {offer.offer_id} is sold from {offer.min_quantity} {offer.unit} on"
            )
    return picks
