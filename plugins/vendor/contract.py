"""The published language of vendor: who sells, where, and how much a day."""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View
from kernel.geo import Place
from kernel.ids import id_meta
from kernel.text import END, Line

OWNER: Final = "vendor"

VendorId = Annotated[str, id_meta("vendor")]
UserId = Annotated[str, id_meta("user")]
SubOrderId = Annotated[str, id_meta("suborder")]
VendorStatus = Literal["pending", "approved", "suspended"]
Gstin = Annotated[str, Meta(pattern=r"^[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]" + END)]
Pan = Annotated[str, Meta(pattern=r"^[A-Z]{5}[0-9]{4}[A-Z]" + END)]
RadiusKm = Annotated[float, Meta(gt=0, le=500)]
OrdersPerDay = Annotated[int, Meta(ge=1, le=100_000)]


class VendorState(View, frozen=True, kw_only=True):
    """A vendor's id and status."""

    vendor_id: VendorId
    status: VendorStatus


class VendorView(View, frozen=True, kw_only=True):
    """A vendor as its owner and staff see it."""

    vendor_id: VendorId
    name: str
    status: VendorStatus
    location: Place
    service_radius_km: float
    orders_per_day: int
    gstin: str | None = None
    pan: str | None = None
    version: int


class RegisterVendor(Command[VendorState], frozen=True, kw_only=True):
    """Register the caller's firm; an admin approves it."""

    name: Line
    location: Place
    service_radius_km: RadiusKm
    orders_per_day: OrdersPerDay
    gstin: Gstin | None = None
    pan: Pan | None = None


class ApproveVendor(Command[VendorState], frozen=True, kw_only=True):
    """Let a vendor sell. Approving twice is the same as once."""

    vendor_id: VendorId


class SuspendVendor(Command[VendorState], frozen=True, kw_only=True):
    """Stop a vendor from taking new orders."""

    vendor_id: VendorId
    reason: Line


class ChangeCapacity(Command[VendorView], frozen=True, kw_only=True):
    """Change how many orders a day the vendor takes."""

    vendor_id: VendorId
    orders_per_day: OrdersPerDay


class GetVendor(Query[VendorView], frozen=True, kw_only=True):
    """Show a vendor to its owner or to staff."""

    vendor_id: VendorId


class OwnVendors(View, frozen=True, kw_only=True):
    """The vendors of the caller, at most 200."""

    items: tuple[VendorView, ...]


class ListOwnVendors(Query[OwnVendors], frozen=True, kw_only=True):
    """List the vendors that the caller owns."""


class Standing(View, frozen=True, kw_only=True):
    """What other plugins must know of a vendor: whose it is, and whether it may sell."""

    vendor_id: VendorId
    owner_id: UserId
    name: str
    status: VendorStatus
    state_code: str
    """GST state code of the place of business; Telangana is 36."""


class StandingOf(Query[Standing], frozen=True, kw_only=True):
    """Tell whose a vendor is and whether it may sell; refused with ``vendor.not_found``."""

    vendor_id: VendorId


class Standings(View, frozen=True, kw_only=True):
    """The standings found."""

    standings: tuple[Standing, ...]


class VendorsOfOwner(Query[Standings], frozen=True, kw_only=True):
    """Give the vendors that a user owns."""

    owner_id: UserId


class Candidate(View, frozen=True, kw_only=True):
    """A vendor that can serve a place today."""

    vendor_id: VendorId
    distance_km: float
    free_capacity: int
    state_code: str


class Candidates(View, frozen=True, kw_only=True):
    """Eligible vendors, nearest first, equal distances by id."""

    candidates: tuple[Candidate, ...]


class EligibleVendors(Query[Candidates], frozen=True, kw_only=True):
    """Of these vendors, give those approved, within whose radius the place lies, with capacity on the day."""

    vendor_ids: Annotated[tuple[VendorId, ...], Meta(min_length=1, max_length=500)]
    place: Place
    day: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}" + END)]


class CapacityNeed(View, frozen=True, kw_only=True):
    """One sub-order that takes one of a vendor's orders of the day."""

    sub_order_id: SubOrderId
    vendor_id: VendorId


class TakeCapacity(Command[Nothing], frozen=True, kw_only=True):
    """Take capacity for sub-orders, all or none; it lapses after 2 minutes unless committed.

    Refused with ``vendor.capacity_short`` when a vendor's day is full, ``vendor.not_approved``.
    """

    needs: Annotated[tuple[CapacityNeed, ...], Meta(min_length=1, max_length=200)]
    day: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}" + END)]


class CommitCapacity(Command[Nothing], frozen=True, kw_only=True):
    """Keep the capacity that these sub-orders took. One that lapsed meanwhile is taken again, over the limit if need be."""

    needs: Annotated[tuple[CapacityNeed, ...], Meta(min_length=1, max_length=200)]
    day: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}" + END)]


class ReleaseCapacity(Command[Nothing], frozen=True, kw_only=True):
    """Give back the capacity of sub-orders that were cancelled or refused. Unknown ones are a no-op.

    Told commands keep no order: when a sub-order goes to another vendor, ``vendor_id`` names the one
    that lost it, so that a late release cannot free what the next vendor took.
    """

    sub_order_ids: Annotated[tuple[SubOrderId, ...], Meta(min_length=1, max_length=200)]
    vendor_id: VendorId | None = None


class VendorRegistered(Event, frozen=True, kw_only=True):
    """A vendor asks to sell."""

    KEY: ClassVar[str] = "vendor_id"

    vendor_id: VendorId
    owner_id: UserId


class VendorApproved(Event, frozen=True, kw_only=True):
    """A vendor may sell."""

    KEY: ClassVar[str] = "vendor_id"

    vendor_id: VendorId
    owner_id: UserId


class VendorSuspended(Event, frozen=True, kw_only=True):
    """A vendor takes no new orders."""

    KEY: ClassVar[str] = "vendor_id"

    vendor_id: VendorId
    owner_id: UserId


class CapacityChanged(Event, frozen=True, kw_only=True):
    """A vendor takes another number of orders a day."""

    KEY: ClassVar[str] = "vendor_id"

    vendor_id: VendorId
    orders_per_day: int


class CapacityCommitted(Event, frozen=True, kw_only=True):
    """The capacity of an order's sub-order is kept."""

    KEY: ClassVar[str] = "vendor_id"

    vendor_id: VendorId
    sub_order_id: SubOrderId


class CapacityReleased(Event, frozen=True, kw_only=True):
    """The capacity of a sub-order is free again."""

    KEY: ClassVar[str] = "vendor_id"

    vendor_id: VendorId
    sub_order_id: SubOrderId
