"""What vendor answers."""

from typing import Final

from sqlalchemy import ARRAY, Double, Uuid, any_, bindparam, func, select

from kernel.context import Context, Row
from kernel.geo import Place
from kernel.ids import to_uuid, to_wire
from kernel.sql import statement
from plugins.vendor.capacity import day_of
from plugins.vendor.capacity_store import used_of_day
from plugins.vendor.contract import (
    Candidate,
    Candidates,
    EligibleVendors,
    GetVendor,
    ListOwnVendors,
    OwnVendors,
    Standing,
    StandingOf,
    Standings,
    VendorsOfOwner,
    VendorView,
)
from plugins.vendor.domain import APPROVED
from plugins.vendor.errors import VendorNotFoundError
from plugins.vendor.tables import vendors

KM_PER_DEGREE: Final = 111.19
"""A degree of latitude, rounded down so that the preselection drops nobody who is near enough."""

_VENDOR: Final = select(
    vendors.c.vendor_id,
    vendors.c.owner_id,
    vendors.c.name,
    vendors.c.status,
    vendors.c.lat,
    vendors.c.lon,
    vendors.c.service_radius_km,
    vendors.c.orders_per_day,
    vendors.c.gstin,
    vendors.c.pan,
    vendors.c.version,
)
VENDOR = statement(_VENDOR.where(vendors.c.vendor_id == bindparam("vendor_id")))
VENDORS_OF_OWNER = statement(
    _VENDOR.where(vendors.c.owner_id == bindparam("owner_id"))
    .order_by(vendors.c.vendor_id)
    .limit(200)
)
_STANDING: Final = select(
    vendors.c.vendor_id,
    vendors.c.owner_id,
    vendors.c.name,
    vendors.c.status,
    vendors.c.state_code,
)
STANDING = statement(_STANDING.where(vendors.c.vendor_id == bindparam("vendor_id")))
STANDINGS_OF_OWNER = statement(
    _STANDING.where(vendors.c.owner_id == bindparam("owner_id")).order_by(vendors.c.vendor_id)
)
ELIGIBLE = statement(
    select(
        vendors.c.vendor_id,
        vendors.c.lat,
        vendors.c.lon,
        vendors.c.service_radius_km,
        vendors.c.state_code,
        (vendors.c.orders_per_day - used_of_day()).label("free"),
    ).where(
        vendors.c.vendor_id == any_(bindparam("vendor_ids", type_=ARRAY(Uuid))),
        vendors.c.status == APPROVED,
        func.abs(vendors.c.lat - bindparam("lat", type_=Double)) * KM_PER_DEGREE
        <= vendors.c.service_radius_km,
    )
)


async def vendor(query: GetVendor, ctx: Context) -> VendorView:
    """A vendor, to its owner and to who may read any."""
    row = await ctx.db.fetchrow(VENDOR, vendor_id=to_uuid(query.vendor_id))
    if row is None or not _may_read(row, ctx):
        raise VendorNotFoundError
    return _view(row)


async def own_vendors(query: ListOwnVendors, ctx: Context) -> OwnVendors:
    """The vendors of the caller."""
    rows = await ctx.db.fetch(VENDORS_OF_OWNER, owner_id=to_uuid(ctx.actor.id))
    return OwnVendors(items=tuple(_view(row) for row in rows))


def _view(row: Row) -> VendorView:
    return VendorView(
        vendor_id=to_wire("vendor", row["vendor_id"]),
        name=row["name"],
        status=row["status"],
        location=Place(row["lat"], row["lon"]),
        service_radius_km=row["service_radius_km"],
        orders_per_day=row["orders_per_day"],
        gstin=row["gstin"],
        pan=row["pan"],
        version=row["version"],
    )


async def standing(query: StandingOf, ctx: Context) -> Standing:
    """The standing of one vendor."""
    row = await ctx.db.fetchrow(STANDING, vendor_id=to_uuid(query.vendor_id))
    if row is None:
        raise VendorNotFoundError
    return _standing(row)


async def standings_of_owner(query: VendorsOfOwner, ctx: Context) -> Standings:
    """The vendors of one owner, oldest first."""
    rows = await ctx.db.fetch(STANDINGS_OF_OWNER, owner_id=to_uuid(query.owner_id))
    return Standings(standings=tuple(_standing(row) for row in rows))


async def eligible_vendors(query: EligibleVendors, ctx: Context) -> Candidates:
    """Those of some vendors that can serve a place on a day, nearest first."""
    rows = await ctx.db.fetch(
        ELIGIBLE,
        vendor_ids=[to_uuid(vendor_id) for vendor_id in query.vendor_ids],
        lat=query.place.lat,
        day=day_of(query.day),
        now=ctx.now(),
    )
    found = [
        _candidate(row, distance)
        for row in rows
        if row["free"] > 0
        and (distance := query.place.distance_km(Place(row["lat"], row["lon"])))
        <= row["service_radius_km"]
    ]
    return Candidates(candidates=tuple(sorted(found, key=lambda c: (c.distance_km, c.vendor_id))))


def _may_read(row: Row, ctx: Context) -> bool:
    is_owner: bool = to_wire("user", row["owner_id"]) == ctx.actor.id
    return is_owner or ctx.actor.may("vendors:read_any")


def _standing(row: Row) -> Standing:
    return Standing(
        vendor_id=to_wire("vendor", row["vendor_id"]),
        owner_id=to_wire("user", row["owner_id"]),
        name=row["name"],
        status=row["status"],
        state_code=row["state_code"],
    )


def _candidate(row: Row, distance_km: float) -> Candidate:
    return Candidate(
        vendor_id=to_wire("vendor", row["vendor_id"]),
        distance_km=round(distance_km, 3),
        free_capacity=row["free"],
        state_code=row["state_code"],
    )
