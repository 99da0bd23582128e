"""What vendor refuses, one class per cause."""

from kernel.errors import Conflict, NotFound


class VendorNotFoundError(NotFound):
    """There is no such vendor, or none that this caller may see."""

    code = "vendor.not_found"
    title = "There is no such vendor"


class IllegalVendorMoveError(Conflict):
    """The vendor's status does not allow this step."""

    code = "vendor.illegal_move"
    title = "The vendor's status does not allow this"


class VendorChangedError(Conflict):
    """Somebody changed the vendor between reading and writing; the same request may succeed now."""

    code = "vendor.changed_meanwhile"
    retryable = True
    title = "Somebody else changed this vendor at the same time"


class VendorNotApprovedError(Conflict):
    """The vendor may not take orders: it waits for approval or is suspended."""

    code = "vendor.not_approved"
    title = "This vendor takes no orders now"


class CapacityShortError(Conflict):
    """A vendor has taken as many orders for the day as it can."""

    code = "vendor.capacity_short"
    title = "A vendor's day is full"
