"""Vendors' sales by day: what the facts say, on real PostgreSQL, and who may see it."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from bus.actor import Actor
from bus.message import Event
from kernel.errors import Denied, Invalid, NotFound
from kernel.ids import to_wire
from kernel.money import Money, total
from kernel.quantity import Quantity
from kernel.testing import PluginHarness, an_actor
from plugins.order.contract import (
    ListSales,
    OrderCancelled,
    OrderedLine,
    OrderedPart,
    OrderPlaced,
    SalesOfDay,
    SubOrderAssigned,
    SubOrderCancelled,
    SubOrderDelivered,
)
from plugins.order.plugin import plugin
from plugins.vendor.contract import Standings, VendorsOfOwner

LATE_IN_THE_EVENING = datetime(2026, 5, 1, 19, 0, tzinfo=UTC)
"""Half past midnight of the second of May in India."""
MAY_2 = date(2026, 5, 2)
STAFF = an_actor("user_staff", "sales:read", "sales:read_any", roles=("finance",))
STRANGER = an_actor("user_01j00000000000000000000000", "sales:read", roles=("vendor",))


def an_id(prefix: str, number: int = 1) -> str:
    return to_wire(prefix, UUID(int=number))


def a_line(amount: int) -> OrderedLine:
    return OrderedLine(
        offer_id=an_id("offer"),
        product_id=an_id("product"),
        hsn="2523",
        unit="bag",
        quantity=Quantity.of(1),
        unit_price=Money(amount),
        amount=Money(amount),
        tax_rate_bp=1800,
        tax=Money(amount * 18 // 100),
    )


def a_placing(number: int, *amounts: int, at: datetime = LATE_IN_THE_EVENING) -> OrderPlaced:
    """An order with a part of each vendor, one line each."""
    parts = tuple(
        OrderedPart(
            sub_order_id=an_id("suborder", 10 * number + vendor),
            vendor_id=an_id("vendor", vendor),
            lines=(a_line(amount),),
            delivery=Money(5_000),
        )
        for vendor, amount in enumerate(amounts, start=1)
    )
    subtotal, tax = total([Money(a) for a in amounts]), total([p.lines[0].tax for p in parts])
    return OrderPlaced(
        order_id=an_id("order", number),
        buyer_id=an_id("user"),
        payment_id=an_id("payment", number),
        payment_method="cod",
        reservation_id=an_id("reservation", number),
        parts=parts,
        pincode="500081",
        subtotal=subtotal,
        tax=tax,
        delivery=Money(5_000 * len(parts)),
        discount=Money(0),
        total=subtotal + tax + Money(5_000 * len(parts)),
        placed_at=at,
        pay_by=None,
    )


def a_delivery(number: int, vendor: int = 1) -> SubOrderDelivered:
    return SubOrderDelivered(
        order_id=an_id("order", number),
        buyer_id=an_id("user"),
        sub_order_id=an_id("suborder", 10 * number + vendor),
        vendor_id=an_id("vendor", vendor),
    )


@pytest.fixture
async def harness(database: str) -> AsyncIterator[PluginHarness]:
    async with PluginHarness.open(
        plugin, database, answers={VendorsOfOwner: lambda _: Standings(standings=())}
    ) as opened:
        yield opened


async def fold(harness: PluginHarness, *events: Event) -> None:
    async with harness.runtime.database.connection() as connection:
        for event in events:
            for write in harness.project(event):
                await connection.execute(
                    write.statement.sql, *write.statement.arguments(write.params)
                )


async def sales(
    harness: PluginHarness, vendor: int = 1, *, actor: Actor = STAFF
) -> tuple[SalesOfDay, ...]:
    query = ListSales(vendor_id=an_id("vendor", vendor), since=MAY_2, until=MAY_2 + timedelta(9))
    return (await harness.ask(query, actor=actor)).days


async def test_sales_are_added_up_by_the_day_in_india(harness: PluginHarness) -> None:
    next_day = LATE_IN_THE_EVENING + timedelta(days=1)

    await fold(
        harness,
        a_placing(1, 10_000),
        a_placing(2, 20_000, 7_000),
        a_placing(3, 40_000, at=next_day),
        a_delivery(1),
    )

    newest, first = await sales(harness)
    assert (newest.day, newest.sub_orders, newest.ordered) == (date(2026, 5, 3), 1, Money(40_000))
    assert first == SalesOfDay(
        day=MAY_2,
        sub_orders=2,
        ordered=Money(30_000),
        delivered=Money(10_000),
        cancelled=Money(0),
    )


async def test_a_sale_goes_to_the_vendor_who_took_the_refused_part(harness: PluginHarness) -> None:
    placing = a_placing(1, 10_000)
    moved = SubOrderAssigned(
        order_id=placing.order_id,
        buyer_id=placing.buyer_id,
        sub_order_id=placing.parts[0].sub_order_id,
        vendor_id=an_id("vendor", 2),
        assignment=2,
        lines=placing.parts[0].lines,
        accept_by=LATE_IN_THE_EVENING,
    )

    await fold(harness, placing, moved)

    assert await sales(harness, 1) == ()
    assert [day.ordered for day in await sales(harness, 2)] == [Money(10_000)]


async def test_what_is_cancelled_is_told_apart(harness: PluginHarness) -> None:
    whole, part = a_placing(1, 10_000), a_placing(2, 20_000, 7_000)
    cancelled = OrderCancelled(
        order_id=whole.order_id,
        buyer_id=whole.buyer_id,
        payment_id=whole.payment_id,
        reason="buyer",
    )
    part_cancelled = SubOrderCancelled(
        order_id=part.order_id,
        buyer_id=part.buyer_id,
        payment_id=part.payment_id,
        sub_order_id=part.parts[1].sub_order_id,
        vendor_id=part.parts[1].vendor_id,
        amount=Money(13_260),
        reason="no_vendor",
    )

    await fold(harness, whole, part, cancelled, part_cancelled)

    (first,), (second,) = await sales(harness, 1), await sales(harness, 2)
    assert (first.ordered, first.cancelled) == (Money(30_000), Money(10_000))
    assert (second.ordered, second.cancelled) == (Money(7_000), Money(7_000))


async def test_only_the_vendors_own_people_and_staff_see_its_sales(harness: PluginHarness) -> None:
    await fold(harness, a_placing(1, 10_000))

    with pytest.raises(NotFound):
        await sales(harness, actor=STRANGER)
    with pytest.raises(Denied):
        await sales(harness, actor=an_actor("user_buyer"))


async def test_more_than_a_year_is_not_added_up(harness: PluginHarness) -> None:
    query = ListSales(vendor_id=an_id("vendor"), since=date(2020, 1, 1), until=MAY_2)

    with pytest.raises(Invalid):
        await harness.ask(query, actor=STAFF)


async def test_the_first_days_of_the_calendar_are_no_failure(harness: PluginHarness) -> None:
    query = ListSales(vendor_id=an_id("vendor"), until=date.min)

    assert (await harness.ask(query, actor=STAFF)).days == ()
