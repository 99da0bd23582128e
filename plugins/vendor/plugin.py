"""The declaration of vendor."""

from kernel.http import Get, Patch, Post
from kernel.plugin import INTERNAL, Permission, Plugin
from plugins.vendor import capacity_handlers, handlers, queries
from plugins.vendor.contract import (
    ApproveVendor,
    CapacityChanged,
    CapacityCommitted,
    CapacityReleased,
    ChangeCapacity,
    CommitCapacity,
    EligibleVendors,
    GetVendor,
    ListOwnVendors,
    RegisterVendor,
    ReleaseCapacity,
    StandingOf,
    SuspendVendor,
    TakeCapacity,
    VendorApproved,
    VendorRegistered,
    VendorsOfOwner,
    VendorSuspended,
)
from plugins.vendor.settings import VendorSettings

STAFF_READERS = ("support", "finance", "viewer", "admin")

PERMISSIONS = (
    Permission("vendors:create", "Register a firm as a vendor", ("vendor", "admin")),
    Permission("vendors:read", "See own vendors", ("vendor", *STAFF_READERS)),
    Permission("vendors:read_any", "See all vendors", STAFF_READERS),
    Permission("vendors:update", "Change own vendors and their capacity", ("vendor", "admin")),
    Permission("vendors:update_any", "Change all vendors and their capacity", ("admin",)),
    Permission("vendors:approve", "Let vendors sell", ("admin",)),
    Permission("vendors:suspend", "Take vendors out of the market", ("admin",)),
    Permission("vendor_staff:manage", "Add and remove staff of own vendors", ("vendor", "admin")),
    Permission("kyc:submit", "Hand in documents of own vendors", ("vendor", "admin")),
    Permission("kyc:review", "Accept and refuse documents of vendors", ("support", "admin")),
    Permission("commissions:read", "See commission rules", ("vendor", *STAFF_READERS)),
    Permission("commissions:edit", "Change commission rules", ("finance", "admin")),
    Permission("settlements:read", "See settlements of own vendors", ("vendor", *STAFF_READERS)),
    Permission("settlements:close", "Close the settlements of a period", ("finance", "admin")),
    Permission("payouts:read", "See payouts of own vendors", ("vendor", *STAFF_READERS)),
    Permission("payouts:create", "Pay vendors out", ("finance", "admin")),
)

plugin = Plugin(
    "vendor",
    "1.0.0",
    summary="Vendors: who sells, where, and how many orders a day.",
    package="plugins.vendor",
    settings=VendorSettings,
    emits=(
        VendorRegistered,
        VendorApproved,
        VendorSuspended,
        CapacityChanged,
        CapacityCommitted,
        CapacityReleased,
    ),
    permissions=PERMISSIONS,
)

plugin.command(
    RegisterVendor,
    handlers.register_vendor,
    allow="vendors:create",
    http=Post("/vendors", status=201),
)
plugin.command(
    ApproveVendor,
    handlers.approve_vendor,
    allow="vendors:approve",
    http=Post("/vendors/{vendor_id}/approve"),
)
plugin.command(
    SuspendVendor,
    handlers.suspend_vendor,
    allow="vendors:suspend",
    http=Post("/vendors/{vendor_id}/suspend"),
)
plugin.command(
    ChangeCapacity,
    handlers.change_capacity,
    allow="vendors:update",
    http=Patch("/vendors/{vendor_id}/capacity"),
)
plugin.query(GetVendor, queries.vendor, allow="vendors:read", http=Get("/vendors/{vendor_id}"))
plugin.query(ListOwnVendors, queries.own_vendors, allow="vendors:read", http=Get("/vendors"))
plugin.query(StandingOf, queries.standing, allow=INTERNAL)
plugin.query(VendorsOfOwner, queries.standings_of_owner, allow=INTERNAL)
plugin.query(EligibleVendors, queries.eligible_vendors, allow=INTERNAL)
plugin.command(TakeCapacity, capacity_handlers.take_capacity, allow=INTERNAL)
plugin.command(CommitCapacity, capacity_handlers.commit_capacity, allow=INTERNAL)
plugin.command(ReleaseCapacity, capacity_handlers.release_capacity, allow=INTERNAL)
plugin.job("50 3 * * *", capacity_handlers.forget_takes)
