"""Capacity on a real database: taken, committed, released, lapsed, and never more than there is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bus.errors import ServiceError
from kernel.geo import Place
from kernel.ids import new_uuid7, to_wire
from kernel.sql import statement
from kernel.testing import PluginHarness, an_actor
from plugins.vendor.contract import (
    ApproveVendor,
    CapacityCommitted,
    CapacityNeed,
    CapacityReleased,
    CommitCapacity,
    EligibleVendors,
    RegisterVendor,
    ReleaseCapacity,
    SuspendVendor,
    TakeCapacity,
)
from plugins.vendor.plugin import PERMISSIONS, plugin

BOSS = an_actor("user_01k9z7x3c8e4m9r2t5v6w7y8z2", *(p.name for p in PERMISSIONS), roles=("admin",))
NO_VENDOR = "vendor_01k9z7x3c8e4m9r2t5v6w7y8z0"
DAY = "2026-03-02"
CHARMINAR = Place(17.3616, 78.4747)
HITEC_CITY = Place(17.4435, 78.3772)
"""13.8 km from the Charminar."""

TAKES = statement("SELECT status FROM capacity_takes ORDER BY sub_order_id, vendor_id")
COMMITTED = statement("SELECT coalesce(sum(committed), 0) FROM capacity_days")
COMMITTED_TAKES = statement("SELECT count(*) FROM capacity_takes WHERE status = 'committed'")


@pytest.fixture
async def vendors(database: str) -> AsyncIterator[PluginHarness]:
    async with PluginHarness.open(plugin, database) as harness:
        yield harness


async def a_vendor(vendors: PluginHarness, **overrides: Any) -> str:
    fields: dict[str, Any] = {
        "name": "Charminar Cement",
        "location": CHARMINAR,
        "service_radius_km": 12.0,
        "orders_per_day": 2,
    }
    state = await vendors.ask(RegisterVendor(**fields | overrides), actor=BOSS)
    await vendors.ask(ApproveVendor(vendor_id=state.vendor_id), actor=BOSS)
    return state.vendor_id


def a_need(vendor_id: str) -> CapacityNeed:
    return CapacityNeed(sub_order_id=to_wire("suborder", new_uuid7()), vendor_id=vendor_id)


def take(*needs: CapacityNeed) -> TakeCapacity:
    return TakeCapacity(needs=needs, day=DAY)


def commit(*needs: CapacityNeed) -> CommitCapacity:
    return CommitCapacity(needs=needs, day=DAY)


def release(*needs: CapacityNeed, vendor_id: str | None = None) -> ReleaseCapacity:
    return ReleaseCapacity(
        sub_order_ids=tuple(need.sub_order_id for need in needs), vendor_id=vendor_id
    )


async def free_of(vendors: PluginHarness, vendor_id: str) -> int:
    found = await vendors.ask(EligibleVendors(vendor_ids=(vendor_id,), place=CHARMINAR, day=DAY))
    return sum(candidate.free_capacity for candidate in found.candidates)


async def refusal_of(vendors: PluginHarness, message: Any) -> str:
    with pytest.raises(ServiceError) as refusal:
        await vendors.ask(message)
    return refusal.value.to_wire().code


async def test_taken_capacity_is_gone_for_others(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=2)

    await vendors.ask(take(a_need(vendor_id)))

    assert await free_of(vendors, vendor_id) == 1


async def test_a_full_day_takes_nothing_more(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    await vendors.ask(take(a_need(vendor_id)))

    code = await refusal_of(vendors, take(a_need(vendor_id)))

    assert code == "vendor.capacity_short"
    assert await free_of(vendors, vendor_id) == 0


async def test_another_day_is_free(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    await vendors.ask(take(a_need(vendor_id)))

    await vendors.ask(TakeCapacity(needs=(a_need(vendor_id),), day="2026-03-03"))

    assert len(await vendors.runtime.database.fetch(TAKES)) == 2


async def test_all_needs_are_met_or_none(vendors: PluginHarness) -> None:
    roomy = await a_vendor(vendors, orders_per_day=5)
    full = await a_vendor(vendors, orders_per_day=1)
    await vendors.ask(take(a_need(full)))

    code = await refusal_of(vendors, take(a_need(roomy), a_need(full)))

    assert code == "vendor.capacity_short"
    assert await free_of(vendors, roomy) == 5


async def test_taking_twice_for_one_sub_order_counts_once(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    need = a_need(vendor_id)

    await vendors.ask(take(need, need))
    await vendors.ask(take(need))

    assert len(await vendors.runtime.database.fetch(TAKES)) == 1


async def test_a_take_delivered_twice_is_one(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=2)
    taking = take(a_need(vendor_id))

    await vendors.ask(taking, key="k1")
    await vendors.ask(taking, key="k1")

    assert await free_of(vendors, vendor_id) == 1


async def test_a_vendor_is_never_overbooked_by_takers_at_the_same_moment(
    vendors: PluginHarness,
) -> None:
    first = await a_vendor(vendors, orders_per_day=5)
    second = await a_vendor(vendors, orders_per_day=7)
    takes = [
        take(*(a_need(vendor_id) for vendor_id in pair))
        for pair in [(first, second), (second, first)] * 10
    ]

    outcomes = await asyncio.gather(
        *(vendors.ask(taking) for taking in takes), return_exceptions=True
    )

    codes = sorted(getattr(outcome, "code", "taken") for outcome in outcomes)
    assert codes == ["taken"] * 5 + ["vendor.capacity_short"] * 15
    assert (await free_of(vendors, first), await free_of(vendors, second)) == (0, 2)


async def test_a_take_lapses_after_two_minutes(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    await vendors.ask(take(a_need(vendor_id)))
    vendors.clock_offset = timedelta(seconds=121)

    await vendors.ask(take(a_need(vendor_id)))

    assert await free_of(vendors, vendor_id) == 0


async def test_committed_capacity_does_not_lapse(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    need = a_need(vendor_id)
    await vendors.ask(take(need))

    await vendors.tell(commit(need), times=2)

    vendors.clock_offset = timedelta(hours=1)
    assert await refusal_of(vendors, take(a_need(vendor_id))) == "vendor.capacity_short"
    assert await vendors.said(CapacityCommitted) == [
        CapacityCommitted(vendor_id=vendor_id, sub_order_id=need.sub_order_id)
    ]
    assert await vendors.runtime.database.fetchval(COMMITTED) == 1


async def test_committing_twice_by_two_messages_counts_once(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=5)
    need = a_need(vendor_id)
    await vendors.ask(take(need))

    await vendors.tell(commit(need, need))
    await vendors.tell(commit(need))

    assert await free_of(vendors, vendor_id) == 4


async def test_what_lapsed_is_committed_all_the_same_over_the_limit(
    vendors: PluginHarness,
) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    late = a_need(vendor_id)
    await vendors.ask(take(late))
    vendors.clock_offset = timedelta(seconds=121)
    await vendors.ask(take(a_need(vendor_id)))

    await vendors.tell(commit(late))

    assert await free_of(vendors, vendor_id) == 0
    assert await vendors.runtime.database.fetchval(COMMITTED) == 1


async def test_what_was_forgotten_is_committed_all_the_same(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)

    await vendors.tell(commit(a_need(vendor_id)), times=2)

    assert await vendors.runtime.database.fetchval(COMMITTED) == 1


async def test_a_released_hold_is_free_again(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    need = a_need(vendor_id)
    await vendors.ask(take(need))

    await vendors.tell(release(need), times=2)

    assert await free_of(vendors, vendor_id) == 1
    assert await vendors.said(CapacityReleased) == [
        CapacityReleased(vendor_id=vendor_id, sub_order_id=need.sub_order_id)
    ]


async def test_released_committed_capacity_is_free_again(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    need = a_need(vendor_id)
    await vendors.ask(take(need))
    await vendors.tell(commit(need))

    await vendors.tell(release(need))
    await vendors.tell(release(need))

    assert await free_of(vendors, vendor_id) == 1
    assert len(await vendors.said(CapacityReleased)) == 1
    assert await vendors.runtime.database.fetchval(COMMITTED) == 0


async def test_releasing_what_is_unknown_changes_nothing(vendors: PluginHarness) -> None:
    await vendors.tell(release(a_need(NO_VENDOR)))

    assert await vendors.said(CapacityReleased) == []


async def test_a_commitment_that_comes_after_its_release_changes_nothing(
    vendors: PluginHarness,
) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    need = a_need(vendor_id)
    await vendors.ask(take(need))
    await vendors.tell(release(need))

    await vendors.tell(commit(need))

    assert await free_of(vendors, vendor_id) == 1
    assert await vendors.said(CapacityCommitted) == []


async def test_a_late_release_does_not_free_what_the_next_vendor_took(
    vendors: PluginHarness,
) -> None:
    first = await a_vendor(vendors, orders_per_day=1)
    second = await a_vendor(vendors, orders_per_day=1)
    lost = a_need(first)
    won = CapacityNeed(sub_order_id=lost.sub_order_id, vendor_id=second)
    await vendors.ask(take(lost))
    await vendors.ask(take(won))

    await vendors.tell(release(lost, vendor_id=first))

    assert (await free_of(vendors, first), await free_of(vendors, second)) == (1, 0)


async def test_a_vendor_that_gave_a_sub_order_back_may_take_it_again(
    vendors: PluginHarness,
) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=1)
    need = a_need(vendor_id)
    await vendors.ask(take(need))
    await vendors.tell(release(need))

    await vendors.ask(take(need))

    assert await free_of(vendors, vendor_id) == 0


async def test_takes_commitments_and_releases_at_once_keep_the_count(
    vendors: PluginHarness,
) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=50)
    needs = [a_need(vendor_id) for _ in range(20)]
    await vendors.ask(take(*needs))
    steps = [[commit(need), release(*needs[n : n + 2])] for n, need in enumerate(needs[:10])]

    await asyncio.gather(*(vendors.tell(step) for pair in steps for step in pair))

    counted = await vendors.runtime.database.fetchval(COMMITTED)
    assert counted == await vendors.runtime.database.fetchval(COMMITTED_TAKES)


@pytest.mark.parametrize("status", ["pending", "suspended"])
async def test_only_approved_vendors_take_orders(vendors: PluginHarness, status: str) -> None:
    approved = await a_vendor(vendors)
    await vendors.ask(SuspendVendor(vendor_id=approved, reason="Late"), actor=BOSS)
    pending = await vendors.ask(
        RegisterVendor(name="New", location=CHARMINAR, service_radius_km=5.0, orders_per_day=5),
        actor=BOSS,
    )
    vendor_id = {"pending": pending.vendor_id, "suspended": approved}[status]

    code = await refusal_of(vendors, take(a_need(vendor_id)))

    assert code == "vendor.not_approved"
    assert await free_of(vendors, vendor_id) == 0


async def test_an_unknown_vendor_takes_no_orders(vendors: PluginHarness) -> None:
    assert await refusal_of(vendors, take(a_need(NO_VENDOR))) == "vendor.not_found"


async def test_a_day_in_no_calendar_is_refused(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors)

    code = await refusal_of(vendors, TakeCapacity(needs=(a_need(vendor_id),), day="2026-02-30"))

    assert code == "kernel.invalid"


async def test_candidates_come_nearest_first_and_only_those_who_reach_the_place(
    vendors: PluginHarness,
) -> None:
    far = await a_vendor(vendors, location=CHARMINAR, service_radius_km=14.0)
    out_of_reach = await a_vendor(vendors, location=CHARMINAR, service_radius_km=13.0)
    near = await a_vendor(vendors, location=Place(17.44, 78.38), service_radius_km=1.0)
    elsewhere = await a_vendor(vendors, location=Place(28.61, 77.21), service_radius_km=500.0)

    found = await vendors.ask(
        EligibleVendors(
            vendor_ids=(elsewhere, far, out_of_reach, near, NO_VENDOR), place=HITEC_CITY, day=DAY
        )
    )

    assert [candidate.vendor_id for candidate in found.candidates] == [near, far]
    assert found.candidates[1].distance_km == pytest.approx(13.8, abs=0.05)
    assert {candidate.state_code for candidate in found.candidates} == {"36"}


async def test_candidates_at_equal_distance_come_by_id(vendors: PluginHarness) -> None:
    ids = [await a_vendor(vendors) for _ in range(3)]

    found = await vendors.ask(
        EligibleVendors(vendor_ids=tuple(reversed(ids)), place=CHARMINAR, day=DAY)
    )

    assert [candidate.vendor_id for candidate in found.candidates] == sorted(ids)


async def test_only_takes_that_count_no_more_are_forgotten(vendors: PluginHarness) -> None:
    vendor_id = await a_vendor(vendors, orders_per_day=5)
    lapsed, released, committed, fresh = (a_need(vendor_id) for _ in range(4))
    await vendors.ask(take(lapsed, released, committed))
    await vendors.tell(release(released))
    await vendors.tell(commit(committed))
    vendors.clock_offset = timedelta(days=36)
    await vendors.ask(take(fresh))

    await vendors.run_job("forget_takes")

    rows = await vendors.runtime.database.fetch(TAKES)
    assert sorted(row["status"] for row in rows) == ["committed", "held"]
