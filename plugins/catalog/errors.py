"""What catalog refuses, one class per cause."""

from kernel.errors import Conflict, Invalid, NotFound


class ProductNotFound(NotFound):
    """There is no product with this id."""

    code = "catalog.product_not_found"
    title = "There is no such product"


class OfferNotFound(NotFound):
    """There is no offer with this id, or it is another vendor's."""

    code = "catalog.offer_not_found"
    title = "There is no such offer"


class VendorNotFound(NotFound):
    """The vendor is not the caller's."""

    code = "catalog.vendor_not_found"
    title = "There is no such vendor of yours"


class ReservationNotFound(NotFound):
    """There is no reservation with this id."""

    code = "catalog.reservation_not_found"
    title = "There is no such reservation"


class VendorNotApproved(Conflict):
    """Only approved vendors offer products."""

    code = "catalog.vendor_not_approved"
    title = "The vendor is not approved"


class SkuTaken(Conflict):
    """The vendor has another offer under this SKU."""

    code = "catalog.sku_taken"
    title = "The vendor uses this SKU already"


class OfferIsStale(Conflict):
    """Somebody else changed the offer at the same moment; read it again."""

    code = "catalog.offer_changed"
    title = "The offer was changed meanwhile"


class OfferNotOpen(Conflict):
    """An offer is unknown, paused, or its vendor may not sell now; ``errors`` names the lines."""

    code = "catalog.offer_not_open"
    title = "An offer is not open"


class StockIsShort(Conflict):
    """There is less than was asked for; ``errors`` names the lines."""

    code = "catalog.stock_short"
    title = "There is not enough stock"


class ReservationTaken(Conflict):
    """The reservation belongs to another order."""

    code = "catalog.reservation_taken"
    title = "The reservation belongs to another order"


class BelowMinimum(Invalid):
    """Less was asked for than the offer's least quantity; ``errors`` names the lines."""

    code = "catalog.below_minimum"
    title = "The quantity is below the least quantity of the offer"


class StockTooLarge(Invalid):
    """An offer holds at most 1 000 000 units."""

    code = "catalog.stock_too_large"
    title = "An offer holds at most 1 000 000 units"
