"""Everything that the order plugin refuses, one class per cause."""

from typing import ClassVar

from kernel.errors import Conflict, FieldFault, Invalid, NotFound


class AmbiguousLineError(Invalid):
    """A line must name an offer or a product, and not both."""

    code: ClassVar[str] = "order.ambiguous_line"
    title: ClassVar[str] = "A line names exactly one of offer_id and product_id"


class OfferNotOpenError(Invalid):
    """An offer or product of the lines does not exist, is paused, or is offered by nobody."""

    code: ClassVar[str] = "order.offer_not_open"
    title: ClassVar[str] = "A line names what is not on offer"


class BelowMinQuantityError(Invalid):
    """A line asks for less of an offer than its vendor delivers."""

    code: ClassVar[str] = "order.below_min_quantity"
    title: ClassVar[str] = "A line asks for less than the offer's least quantity"


class QuantityTooLargeError(Invalid):
    """Lines of one offer add up to more than a quantity may be."""

    code: ClassVar[str] = "order.quantity_too_large"
    title: ClassVar[str] = "The lines of one offer add up to more than 1000000"


class TotalTooLargeError(Invalid):
    """The order comes to more than one order may cost."""

    code: ClassVar[str] = "order.total_too_large"
    title: ClassVar[str] = "An order may cost at most 1 000 000 000 rupees"


class NotServiceableError(Conflict):
    """The address lies outside every delivery zone."""

    code: ClassVar[str] = "order.not_serviceable"
    title: ClassVar[str] = "We do not deliver to this address"


class VendorCannotDeliverError(Conflict):
    """The vendor of a chosen offer does not reach the address, or takes no more orders today."""

    code: ClassVar[str] = "order.vendor_cannot_deliver"
    title: ClassVar[str] = "The vendor of an offer cannot deliver there today"


class NoVendorError(Conflict):
    """No vendor near enough has the stock and the capacity for a product of the lines."""

    code: ClassVar[str] = "order.no_vendor"
    title: ClassVar[str] = "No vendor can deliver this there today"


class IllegalMoveError(Conflict):
    """The step does not follow on the state that the order or sub-order is in."""

    code: ClassVar[str] = "order.illegal_move"
    title: ClassVar[str] = "The order is not in a state for this step"


class TooLateToCancelError(Conflict):
    """Something of the order is on its way or delivered; returns are another matter."""

    code: ClassVar[str] = "order.too_late_to_cancel"
    title: ClassVar[str] = "Something of this order is on its way already"


class ChangedMeanwhileError(Conflict):
    """Another change of the same order was saved between load and save; try again."""

    code: ClassVar[str] = "order.changed_meanwhile"
    retryable: ClassVar[bool] = True
    title: ClassVar[str] = "The order changed meanwhile"


class OrderNotFoundError(NotFound):
    """There is no such order, or none that the caller may see."""

    code: ClassVar[str] = "order.not_found"
    title: ClassVar[str] = "There is no such order"


class SubOrderNotFoundError(NotFound):
    """There is no such sub-order, or it is not with a vendor of the caller's."""

    code: ClassVar[str] = "order.sub_order_not_found"
    title: ClassVar[str] = "There is no such sub-order"


class InboxNotFoundError(NotFound):
    """There is no such vendor, or it is not the caller's."""

    code: ClassVar[str] = "order.vendor_not_found"
    title: ClassVar[str] = "There is no such vendor"


def faults(fields: list[str], message: str) -> tuple[FieldFault, ...]:
    """Return one fault for each field."""
    return tuple(FieldFault(field, message) for field in fields)
