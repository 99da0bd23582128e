"""A vendor and what may become of it. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kernel.geo import Place
from kernel.moves import legal_moves
from plugins.vendor.contract import (
    CapacityChanged,
    VendorApproved,
    VendorRegistered,
    VendorStatus,
    VendorSuspended,
)
from plugins.vendor.errors import IllegalVendorMoveError
from plugins.vendor.tax_ids import check_tax_ids, state_code_of

PENDING: Final[VendorStatus] = "pending"
APPROVED: Final[VendorStatus] = "approved"
SUSPENDED: Final[VendorStatus] = "suspended"

MOVES: Final = legal_moves({PENDING: {APPROVED}, APPROVED: {SUSPENDED}, SUSPENDED: {APPROVED}})

Fact = VendorRegistered | VendorApproved | VendorSuspended | CapacityChanged


@dataclass(kw_only=True)
class Vendor:
    """A firm that sells here, at one place of business."""

    vendor_id: str
    owner_id: str
    name: str
    status: VendorStatus
    location: Place
    service_radius_km: float
    orders_per_day: int
    gstin: str | None
    pan: str | None
    state_code: str
    suspended_for: str | None
    version: int
    registered_at: datetime
    facts: list[Fact] = field(default_factory=list)

    @classmethod
    def register(
        cls,
        *,
        vendor_id: str,
        owner_id: str,
        name: str,
        location: Place,
        service_radius_km: float,
        orders_per_day: int,
        gstin: str | None,
        pan: str | None,
        home_state_code: str,
        at: datetime,
    ) -> "Vendor":
        """Make a vendor that waits for approval; raises Invalid when a tax number is wrong."""
        check_tax_ids(gstin=gstin, pan=pan)
        return cls(
            vendor_id=vendor_id,
            owner_id=owner_id,
            name=name,
            status=PENDING,
            location=location,
            service_radius_km=service_radius_km,
            orders_per_day=orders_per_day,
            gstin=gstin,
            pan=pan,
            state_code=state_code_of(gstin, default=home_state_code),
            suspended_for=None,
            version=1,
            registered_at=at,
            facts=[VendorRegistered(vendor_id=vendor_id, owner_id=owner_id)],
        )

    def approve(self) -> None:
        """Let the vendor sell. Approving twice is the same as approving once."""
        if self.status == APPROVED:
            return
        self._move(APPROVED)
        self.suspended_for = None
        self.facts.append(VendorApproved(vendor_id=self.vendor_id, owner_id=self.owner_id))

    def suspend(self, *, reason: str) -> None:
        """Take the vendor out of the market. Of two suspensions the first one's reason stays."""
        if self.status == SUSPENDED:
            return
        self._move(SUSPENDED)
        self.suspended_for = reason
        self.facts.append(VendorSuspended(vendor_id=self.vendor_id, owner_id=self.owner_id))

    def change_capacity(self, orders_per_day: int) -> None:
        """Take another number of orders a day; what is taken already stays."""
        if self.orders_per_day == orders_per_day:
            return
        self.orders_per_day = orders_per_day
        self.facts.append(CapacityChanged(vendor_id=self.vendor_id, orders_per_day=orders_per_day))

    def _move(self, status: VendorStatus) -> None:
        if not MOVES.allows(self.status, status):
            raise IllegalVendorMoveError(f"A vendor that is {self.status} cannot become {status}")
        self.status = status
