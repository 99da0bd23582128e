"""The write side of vendors: rows to vendors, and back."""

from typing import Final

from sqlalchemy import bindparam, insert, select, update

from kernel.context import Row, Tx
from kernel.geo import Place
from kernel.ids import to_uuid, to_wire
from kernel.sql import statement
from plugins.vendor.domain import Vendor
from plugins.vendor.errors import VendorChangedError, VendorNotFoundError
from plugins.vendor.tables import vendors

VENDOR_BY_ID: Final = statement(
    select(vendors).where(vendors.c.vendor_id == bindparam("vendor_id"))
)
ADD_VENDOR: Final = statement(insert(vendors))
SAVE_VENDOR: Final = statement(
    update(vendors)
    .where(
        vendors.c.vendor_id == bindparam("known_id"),
        vendors.c.version == bindparam("known_version"),
    )
    .values(
        status=bindparam("status"),
        orders_per_day=bindparam("orders_per_day"),
        suspended_for=bindparam("suspended_for"),
        version=bindparam("version"),
    )
)


class VendorStore:
    """Saves vendors."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def get(self, vendor_id: str) -> Vendor:
        """Return a vendor; raises VendorNotFoundError."""
        row = await self._tx.fetchrow(VENDOR_BY_ID, vendor_id=to_uuid(vendor_id))
        if row is None:
            raise VendorNotFoundError
        return _vendor(row)

    async def add(self, vendor: Vendor) -> None:
        """Insert a new vendor and publish its facts."""
        await self._tx.execute(
            ADD_VENDOR,
            vendor_id=to_uuid(vendor.vendor_id),
            owner_id=to_uuid(vendor.owner_id),
            name=vendor.name,
            status=vendor.status,
            lat=vendor.location.lat,
            lon=vendor.location.lon,
            service_radius_km=vendor.service_radius_km,
            orders_per_day=vendor.orders_per_day,
            gstin=vendor.gstin,
            pan=vendor.pan,
            state_code=vendor.state_code,
            suspended_for=vendor.suspended_for,
            version=vendor.version,
            registered_at=vendor.registered_at,
        )
        self._publish(vendor)

    async def save(self, vendor: Vendor) -> None:
        """Write a vendor back and publish its facts; without facts nothing has changed.

        Raises VendorChangedError when somebody else was faster.
        """
        if not vendor.facts:
            return
        known_version, vendor.version = vendor.version, vendor.version + 1
        saved = await self._tx.execute(
            SAVE_VENDOR,
            known_id=to_uuid(vendor.vendor_id),
            known_version=known_version,
            status=vendor.status,
            orders_per_day=vendor.orders_per_day,
            suspended_for=vendor.suspended_for,
            version=vendor.version,
        )
        if not saved:
            raise VendorChangedError
        self._publish(vendor)

    def _publish(self, vendor: Vendor) -> None:
        for fact in vendor.facts:
            self._tx.emit(fact, version=vendor.version)


def _vendor(row: Row) -> Vendor:
    return Vendor(
        vendor_id=to_wire("vendor", row["vendor_id"]),
        owner_id=to_wire("user", row["owner_id"]),
        name=row["name"],
        status=row["status"],
        location=Place(row["lat"], row["lon"]),
        service_radius_km=row["service_radius_km"],
        orders_per_day=row["orders_per_day"],
        gstin=row["gstin"],
        pan=row["pan"],
        state_code=row["state_code"],
        suspended_for=row["suspended_for"],
        version=row["version"],
        registered_at=row["registered_at"],
    )
