"""What becomes of vendors on command."""

from kernel.context import Context
from plugins.vendor.contract import (
    ApproveVendor,
    ChangeCapacity,
    RegisterVendor,
    SuspendVendor,
    VendorState,
    VendorView,
)
from plugins.vendor.domain import Vendor
from plugins.vendor.errors import VendorNotFoundError
from plugins.vendor.settings import VendorSettings
from plugins.vendor.store import VendorStore


async def register_vendor(command: RegisterVendor, ctx: Context) -> VendorState:
    """Register the caller's firm."""
    vendor = Vendor.register(
        vendor_id=ctx.new_id("vendor"),
        owner_id=ctx.actor.id,
        name=command.name,
        location=command.location,
        service_radius_km=command.service_radius_km,
        orders_per_day=command.orders_per_day,
        gstin=command.gstin,
        pan=command.pan,
        home_state_code=ctx.settings(VendorSettings).home_state_code,
        at=ctx.now(),
    )
    async with ctx.transaction() as tx:
        await VendorStore(tx).add(vendor)
    return _state(vendor)


async def approve_vendor(command: ApproveVendor, ctx: Context) -> VendorState:
    """Let a vendor sell, for the first time or again after a suspension."""
    async with ctx.transaction() as tx:
        vendor = await VendorStore(tx).get(command.vendor_id)
        vendor.approve()
        await VendorStore(tx).save(vendor)
    return _state(vendor)


async def suspend_vendor(command: SuspendVendor, ctx: Context) -> VendorState:
    """Take a vendor out of the market; the orders that it has go on."""
    async with ctx.transaction() as tx:
        vendor = await VendorStore(tx).get(command.vendor_id)
        vendor.suspend(reason=command.reason)
        await VendorStore(tx).save(vendor)
    return _state(vendor)


async def change_capacity(command: ChangeCapacity, ctx: Context) -> VendorView:
    """Change how many orders a day a vendor takes: its owner, or who may do so for anybody."""
    async with ctx.transaction() as tx:
        vendor = await VendorStore(tx).get(command.vendor_id)
        if vendor.owner_id != ctx.actor.id and not ctx.actor.may("vendors:update_any"):
            raise VendorNotFoundError
        vendor.change_capacity(command.orders_per_day)
        await VendorStore(tx).save(vendor)
    return _view(vendor)


def _state(vendor: Vendor) -> VendorState:
    return VendorState(vendor_id=vendor.vendor_id, status=vendor.status)


def _view(vendor: Vendor) -> VendorView:
    return VendorView(
        vendor_id=vendor.vendor_id,
        name=vendor.name,
        status=vendor.status,
        location=vendor.location,
        service_radius_km=vendor.service_radius_km,
        orders_per_day=vendor.orders_per_day,
        gstin=vendor.gstin,
        pan=vendor.pan,
        version=vendor.version,
    )
