"""Vendors on a real database: registration, approval, suspension, and who may see what."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.actor import Actor
from bus.errors import ServiceError
from kernel.geo import Place
from kernel.sql import statement
from kernel.testing import BREAKS, PluginHarness, an_actor
from plugins.vendor.contract import (
    ApproveVendor,
    CapacityChanged,
    ChangeCapacity,
    GetVendor,
    ListOwnVendors,
    RegisterVendor,
    StandingOf,
    SuspendVendor,
    VendorApproved,
    VendorRegistered,
    VendorsOfOwner,
    VendorSuspended,
)
from plugins.vendor.plugin import PERMISSIONS, plugin

RAVI = "user_01k9z7x3c8e4m9r2t5v6w7y8z0"
ASHA = "user_01k9z7x3c8e4m9r2t5v6w7y8z1"
BOSS = "user_01k9z7x3c8e4m9r2t5v6w7y8z2"
NO_VENDOR = "vendor_01k9z7x3c8e4m9r2t5v6w7y8z0"

COUNT = statement("SELECT count(*) FROM vendors")


def of_role(user_id: str, role: str) -> Actor:
    held = [p.name for p in PERMISSIONS if role in p.roles]
    return an_actor(user_id, *held, roles=(role,))


OWNER = of_role(RAVI, "vendor")
OTHER_OWNER = of_role(ASHA, "vendor")
BUYER = of_role(ASHA, "buyer")
VIEWER = of_role(BOSS, "viewer")
SUPPORT = of_role(BOSS, "support")
ADMIN = of_role(BOSS, "admin")


@pytest.fixture
async def vendors(database: str) -> AsyncIterator[PluginHarness]:
    async with PluginHarness.open(plugin, database) as harness:
        yield harness


def a_registration(**overrides: Any) -> RegisterVendor:
    fields: dict[str, Any] = {
        "name": "Charminar Cement",
        "location": Place(17.3616, 78.4747),
        "service_radius_km": 12.0,
        "orders_per_day": 20,
        "gstin": "27AAPFU0939F1ZV",
        "pan": "AAPFU0939F",
    }
    return RegisterVendor(**fields | overrides)


async def a_vendor(vendors: PluginHarness, **overrides: Any) -> str:
    return (await vendors.ask(a_registration(**overrides), actor=OWNER)).vendor_id


async def refusal_of(vendors: PluginHarness, message: Any, actor: Actor | None = None) -> str:
    with pytest.raises(ServiceError) as refusal:
        await vendors.ask(message, actor=actor)
    return refusal.value.to_wire().code


async def test_whoever_registers_a_vendor_owns_it(vendors: PluginHarness) -> None:
    state = await vendors.ask(a_registration(), actor=OWNER)

    standing = await vendors.ask(StandingOf(vendor_id=state.vendor_id))
    assert (state.status, standing.owner_id, standing.state_code) == ("pending", RAVI, "27")
    assert await vendors.said(VendorRegistered) == [
        VendorRegistered(vendor_id=state.vendor_id, owner_id=RAVI)
    ]


async def test_a_registration_delivered_twice_makes_one_vendor(vendors: PluginHarness) -> None:
    first = await vendors.ask(a_registration(), actor=OWNER, key="k1")

    second = await vendors.ask(a_registration(), actor=OWNER, key="k1")

    assert second == first
    assert await vendors.runtime.database.fetchval(COUNT) == 1


async def test_a_wrong_gstin_is_refused_and_nothing_is_stored(vendors: PluginHarness) -> None:
    code = await refusal_of(vendors, a_registration(gstin="27AAPFU0939F1ZW"), OWNER)

    assert code == "kernel.invalid"
    assert await vendors.runtime.database.fetchval(COUNT) == 0


async def test_the_facts_of_a_vendor_hold_no_personal_data(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)
    await vendors.ask(ApproveVendor(vendor_id=vendor_id), actor=ADMIN)
    await vendors.ask(SuspendVendor(vendor_id=vendor_id, reason="Ravi is late"), actor=ADMIN)

    spoken = b"".join(row.payload for row in await vendors.spoken())

    assert [word for word in (b"Charminar", b"AAPFU", b"late") if word in spoken] == []


async def test_an_approved_vendor_may_sell_and_approving_again_says_nothing_new(
    vendors: PluginHarness,
) -> None:
    vendor_id = await a_vendor(vendors)

    first = await vendors.ask(ApproveVendor(vendor_id=vendor_id), actor=ADMIN)
    second = await vendors.ask(ApproveVendor(vendor_id=vendor_id), actor=ADMIN)

    assert (first.status, second.status) == ("approved", "approved")
    assert await vendors.said(VendorApproved) == [
        VendorApproved(vendor_id=vendor_id, owner_id=RAVI)
    ]
    assert (await vendors.ask(GetVendor(vendor_id=vendor_id), actor=OWNER)).version == 2


@pytest.mark.parametrize("way", BREAKS)
@pytest.mark.parametrize("place", [1, 2, 3, 4, 5, 6])
async def test_a_registration_that_broke_anywhere_is_made_once_by_its_repeat(
    vendors: PluginHarness, way: str, place: int
) -> None:
    with vendors.breaking(place, BREAKS[way]):
        broken = asyncio.create_task(vendors.ask(a_registration(), actor=OWNER, key="k1"))
        await asyncio.wait([broken])

    repeated = await vendors.ask(a_registration(), actor=OWNER, key="k1")

    facts = await vendors.said(VendorRegistered)
    assert [fact.vendor_id for fact in facts] == [repeated.vendor_id]
    assert await vendors.runtime.database.fetchval(COUNT) == 1


async def test_an_approval_delivered_twice_is_one(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    await vendors.ask(ApproveVendor(vendor_id=vendor_id), actor=ADMIN, key="k1")
    await vendors.ask(ApproveVendor(vendor_id=vendor_id), actor=ADMIN, key="k1")

    assert len(await vendors.said(VendorApproved)) == 1


async def test_a_suspension_delivered_twice_is_one(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)
    await vendors.ask(ApproveVendor(vendor_id=vendor_id), actor=ADMIN)
    suspension = SuspendVendor(vendor_id=vendor_id, reason="Late too often")

    await vendors.ask(suspension, actor=ADMIN, key="k1")
    state = await vendors.ask(suspension, actor=ADMIN, key="k1")

    assert state.status == "suspended"
    assert len(await vendors.said(VendorSuspended)) == 1


async def test_a_pending_vendor_cannot_be_suspended(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    code = await refusal_of(vendors, SuspendVendor(vendor_id=vendor_id, reason="Why not"), ADMIN)

    assert code == "vendor.illegal_move"


async def test_a_change_of_capacity_delivered_twice_is_one(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)
    change = ChangeCapacity(vendor_id=vendor_id, orders_per_day=30)

    first = await vendors.ask(change, actor=OWNER, key="k1")
    second = await vendors.ask(change, actor=OWNER, key="k1")

    assert (first.orders_per_day, first.version, second) == (30, 2, first)
    assert await vendors.said(CapacityChanged) == [
        CapacityChanged(vendor_id=vendor_id, orders_per_day=30)
    ]


async def test_changes_at_the_same_moment_lose_nothing(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)
    changes = [ChangeCapacity(vendor_id=vendor_id, orders_per_day=100 + n) for n in range(8)]

    outcomes = await asyncio.gather(
        *(vendors.ask(change, actor=OWNER) for change in changes), return_exceptions=True
    )

    codes = {getattr(outcome, "code", "changed") for outcome in outcomes}
    view = await vendors.ask(GetVendor(vendor_id=vendor_id), actor=OWNER)
    assert codes <= {"changed", "vendor.changed_meanwhile"}
    assert view.version == 1 + len(await vendors.said(CapacityChanged))


async def test_the_owner_sees_all_of_the_vendor(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    view = await vendors.ask(GetVendor(vendor_id=vendor_id), actor=OWNER)

    assert (view.name, view.gstin, view.pan) == (
        "Charminar Cement",
        "27AAPFU0939F1ZV",
        "AAPFU0939F",
    )
    assert (view.location, view.service_radius_km, view.version) == (
        Place(17.3616, 78.4747),
        12.0,
        1,
    )


async def test_an_owner_lists_own_vendors_and_no_other(vendors: PluginHarness) -> None:
    own = await a_vendor(vendors)

    mine = await vendors.ask(ListOwnVendors(), actor=OWNER)
    theirs = await vendors.ask(ListOwnVendors(), actor=OTHER_OWNER)

    assert [vendor.vendor_id for vendor in mine.items] == [own]
    assert theirs.items == ()


async def test_staff_may_read_any_vendor(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    view = await vendors.ask(GetVendor(vendor_id=vendor_id), actor=VIEWER)

    assert view.vendor_id == vendor_id


async def test_another_owner_s_vendor_is_as_if_there_were_none(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    others = await refusal_of(vendors, GetVendor(vendor_id=vendor_id), OTHER_OWNER)
    unknown = await refusal_of(vendors, GetVendor(vendor_id=NO_VENDOR), OTHER_OWNER)

    assert others == unknown == "vendor.not_found"


async def test_nobody_changes_another_owner_s_capacity(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    code = await refusal_of(
        vendors, ChangeCapacity(vendor_id=vendor_id, orders_per_day=1), OTHER_OWNER
    )

    assert code == "vendor.not_found"
    assert await vendors.said(CapacityChanged) == []


async def test_an_admin_changes_any_capacity(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    view = await vendors.ask(ChangeCapacity(vendor_id=vendor_id, orders_per_day=1), actor=ADMIN)

    assert view.orders_per_day == 1


@pytest.mark.parametrize(
    ("message", "actor"),
    [
        (a_registration(), BUYER),
        (a_registration(), VIEWER),
        (ApproveVendor(vendor_id=NO_VENDOR), OWNER),
        (ApproveVendor(vendor_id=NO_VENDOR), SUPPORT),
        (SuspendVendor(vendor_id=NO_VENDOR, reason="Late"), OWNER),
        (ChangeCapacity(vendor_id=NO_VENDOR, orders_per_day=1), VIEWER),
        (GetVendor(vendor_id=NO_VENDOR), BUYER),
    ],
)
async def test_who_lacks_the_permission_is_denied(
    vendors: PluginHarness, message: Any, actor: Actor
) -> None:
    code = await refusal_of(vendors, message, actor)

    assert code == "kernel.permission_denied"


@pytest.mark.parametrize(
    "message",
    [ApproveVendor(vendor_id=NO_VENDOR), SuspendVendor(vendor_id=NO_VENDOR, reason="Late")],
)
async def test_an_unknown_vendor_is_not_found(vendors: PluginHarness, message: Any) -> None:
    code = await refusal_of(vendors, message, ADMIN)

    assert code == "vendor.not_found"


async def test_an_unknown_vendor_has_no_standing(vendors: PluginHarness) -> None:
    code = await refusal_of(vendors, StandingOf(vendor_id=NO_VENDOR))

    assert code == "vendor.not_found"


async def test_an_owner_s_vendors_are_given_oldest_first(vendors: PluginHarness) -> None:
    first = await a_vendor(vendors)
    second = await a_vendor(vendors, name="Golconda Steel", gstin=None)
    await vendors.ask(a_registration(), actor=OTHER_OWNER)

    found = await vendors.ask(VendorsOfOwner(owner_id=RAVI))

    assert [standing.vendor_id for standing in found.standings] == sorted([first, second])
    assert {standing.state_code for standing in found.standings} == {"27", "36"}
