"""The settings of vendor."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from kernel.settings import Settings


class VendorSettings(Settings, frozen=True, kw_only=True):
    """How long capacity is held, and what is assumed of a vendor without a GSTIN."""

    hold_capacity_for: timedelta = timedelta(minutes=2)
    """How long taken capacity is held for an order that is not committed yet."""
    forget_takes_after: timedelta = timedelta(days=35)
    """When lapsed and released takes are deleted; no shorter than told commands may be late."""
    home_state_code: Annotated[str, Meta(pattern=r"^[0-9]{2}$")] = "36"
    """GST state code of a vendor without a GSTIN; 36 is Telangana."""
