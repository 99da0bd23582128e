"""Orders on real PostgreSQL, with hand-written neighbours: what is stored, said and refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from bus.actor import Actor
from bus.errors import ServiceError
from bus.message import Nothing
from kernel.errors import Conflict
from kernel.ids import to_wire
from kernel.money import Money
from kernel.quantity import Quantity, StockLevel
from kernel.testing import PluginHarness, an_actor
from plugins.catalog.contract import (
    CommitStock,
    KeepStock,
    QuotedOffer,
    QuotedOffers,
    QuoteOffers,
    ReleaseStock,
    Reservation,
    ReserveStock,
    StockShort,
)
from plugins.order.contract import (
    AcceptSubOrder,
    CancelOrder,
    DeliverSubOrder,
    DeliveryAddress,
    DispatchSubOrder,
    ExpireAcceptance,
    ExpirePayment,
    FollowOrder,
    GetOrder,
    GetOrderHistory,
    ListOrders,
    ListSubOrders,
    OfferLine,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderPlaced,
    OrderView,
    PaymentMethod,
    PlaceOrder,
    QuoteOrder,
    ReassignSubOrder,
    RejectSubOrder,
    SubOrderAssigned,
    SubOrderCancelled,
    SubOrderRejected,
)
from plugins.order.plugin import plugin
from plugins.payment.contract import (
    CancelPayment,
    CollectCash,
    CreatePayment,
    PaymentCaptured,
    PaymentFailed,
    RefundSettled,
)
from plugins.vendor.contract import (
    Candidate,
    Candidates,
    CapacityNeed,
    CommitCapacity,
    EligibleVendors,
    ReleaseCapacity,
    Standing,
    Standings,
    TakeCapacity,
    VendorsOfOwner,
)

LINE1 = "Canary House, Street 42"
NOTE = "canary note: the mason fell ill"


def an_id(prefix: str, number: int = 1) -> str:
    return to_wire(prefix, UUID(int=number))


BUYER = an_actor(an_id("user", 1), "orders:create", "orders:read", "orders:cancel")
STRANGER = an_actor(an_id("user", 2), "orders:create", "orders:read", "orders:cancel")
SUPPORT = an_actor(
    an_id("user", 3),
    "orders:read",
    "orders:read_any",
    "orders:cancel",
    "orders:cancel_any",
    "suborders:read",
    "suborders:read_any",
    roles=("support",),
)
ADMIN = an_actor(an_id("user", 4), "suborders:handle", "suborders:handle_any", roles=("admin",))


def owner_of(vendor: int) -> Actor:
    return an_actor(
        an_id("user", 10 + vendor), "suborders:read", "suborders:handle", roles=("vendor",)
    )


def an_offer(vendor: int, product: int = 1, **overrides: Any) -> QuotedOffer:
    fields: dict[str, Any] = {
        "offer_id": an_id("offer", 10 * vendor + product),
        "product_id": an_id("product", product),
        "vendor_id": an_id("vendor", vendor),
        "kind": "material",
        "unit": "bag",
        "hsn": "2523",
        "price": Money(38_000),
        "min_quantity": Quantity.of(1),
        "available": StockLevel.of(100),
    }
    return QuotedOffer(**{**fields, **overrides})


class StockShortFake(Conflict):
    """The refusal that catalog gives."""

    code = "catalog.stock_short"


class Market:
    """Three vendors that sell cement, at 1, 2 and 3 km; vendor 1 also has sand, nobody else."""

    def __init__(self) -> None:
        self.offers = [an_offer(1), an_offer(2), an_offer(3), an_offer(1, 2, hsn="2505")]
        self.distances = {an_id("vendor", number): float(number) for number in (1, 2, 3)}
        self.sold_out: set[str] = set()
        self.full: set[str] = set()
        self.reservations = 0

    def quote(self, query: QuoteOffers) -> QuotedOffers:
        return QuotedOffers(
            offers=tuple(
                offer
                for offer in self.offers
                if offer.offer_id in query.offer_ids or offer.product_id in query.product_ids
            )
        )

    def eligible(self, query: EligibleVendors) -> Candidates:
        return Candidates(
            candidates=tuple(
                Candidate(vendor_id=v, distance_km=km, free_capacity=1, state_code="36")
                for v, km in self.distances.items()
                if v in query.vendor_ids
            )
        )

    def reserve(self, command: ReserveStock) -> Reservation:
        if any(line.offer_id in self.sold_out for line in command.lines):
            raise StockShortFake
        self.reservations += 1
        return Reservation(
            reservation_id=an_id("reservation", self.reservations),
            expires_at=datetime.now(UTC) + timedelta(seconds=command.hold_seconds),
        )

    def take(self, command: TakeCapacity) -> Nothing:
        if any(need.vendor_id in self.full for need in command.needs):
            raise StockShortFake
        return Nothing()

    def owned(self, query: VendorsOfOwner) -> Standings:
        numbers = [n for n in (1, 2, 3) if query.owner_id == an_id("user", 10 + n)]
        return Standings(
            standings=tuple(
                Standing(
                    vendor_id=an_id("vendor", n),
                    owner_id=query.owner_id,
                    name="A vendor",
                    status="approved",
                    state_code="36",
                )
                for n in numbers
            )
        )

    def answers(self) -> dict[Any, Any]:
        return {
            QuoteOffers: self.quote,
            EligibleVendors: self.eligible,
            ReserveStock: self.reserve,
            TakeCapacity: self.take,
            VendorsOfOwner: self.owned,
        }


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
async def harness(database: str, market: Market) -> AsyncIterator[PluginHarness]:
    async with PluginHarness.open(plugin, database, answers=market.answers()) as opened:
        yield opened


def an_address(**overrides: Any) -> DeliveryAddress:
    fields: dict[str, Any] = {
        "line1": LINE1,
        "city": "Hyderabad",
        "pincode": "500081",
        "lat": 17.4435,
        "lon": 78.3772,
    }
    return DeliveryAddress(**{**fields, **overrides})


def by_offer(vendor: int, product: int = 1, quantity: float = 10) -> OfferLine:
    return OfferLine(offer_id=an_id("offer", 10 * vendor + product), quantity=Quantity.of(quantity))


def by_product(product: int = 1, quantity: float = 10) -> OfferLine:
    return OfferLine(product_id=an_id("product", product), quantity=Quantity.of(quantity))


def a_wish(
    *lines: OfferLine,
    method: PaymentMethod = "cod",
    address: DeliveryAddress | None = None,
) -> PlaceOrder:
    return PlaceOrder(
        lines=lines or (by_offer(1), by_offer(2)),
        delivery_address=address or an_address(),
        payment_method=method,
    )


async def place(
    harness: PluginHarness, *lines: OfferLine, method: PaymentMethod = "cod", key: str | None = None
) -> OrderView:
    return await harness.ask(a_wish(*lines, method=method), actor=BUYER, key=key)


async def shown(harness: PluginHarness, order: OrderView) -> OrderView:
    return await harness.ask(GetOrder(order_id=order.order_id), actor=BUYER)


def a_step(kind: Any, order: OrderView, part: int = 0) -> Any:
    return kind(order_id=order.order_id, sub_order_id=order.sub_orders[part].sub_order_id)


async def fulfil(harness: PluginHarness, order: OrderView, part: int, vendor: int) -> None:
    for kind in (AcceptSubOrder, DispatchSubOrder, DeliverSubOrder):
        await harness.ask(a_step(kind, order, part), actor=owner_of(vendor))


def captured(order: OrderView) -> PaymentCaptured:
    return PaymentCaptured(
        payment_id=order.payment.payment_id,
        order_id=order.order_id,
        buyer_id=BUYER.id,
        method=order.payment.method,
        amount=order.total,
    )


def failed(order: OrderView) -> PaymentFailed:
    return PaymentFailed(
        payment_id=order.payment.payment_id,
        order_id=order.order_id,
        buyer_id=BUYER.id,
        reason="declined",
        is_final=True,
    )


async def code_of(asking: Any) -> str:
    with pytest.raises(ServiceError) as refused:
        await asking
    return refused.value.to_wire().code


# Placing


async def test_a_cash_order_is_confirmed_and_assigned_at_once(harness: PluginHarness) -> None:
    order = await place(harness)

    assert (order.status, order.delivery_status) == ("confirmed", "preparing")
    assert (order.payment.status, order.pay_by) == ("cash_due", None)
    assert [part.status for part in order.sub_orders] == ["assigned", "assigned"]
    assert order.total == Money(2 * (380_000 + 68_400 + 35_000))
    assert order == await shown(harness, order)


async def test_a_cash_order_has_its_neighbours_told(harness: PluginHarness) -> None:
    order = await place(harness)

    [payment] = await harness.said(CreatePayment)
    [stock] = await harness.said(CommitStock)
    [capacity] = await harness.said(CommitCapacity)
    assert (payment.payment_id, payment.amount) == (order.payment.payment_id, order.total)
    assert [line.offer_id for line in stock.lines] == [an_id("offer", 11), an_id("offer", 21)]
    assert capacity.needs == tuple(
        CapacityNeed(sub_order_id=part.sub_order_id, vendor_id=part.vendor_id)
        for part in order.sub_orders
    )
    assert len(await harness.said(ExpireAcceptance)) == 2
    assert await harness.said(KeepStock) == []


async def test_facts_come_in_order_with_the_version_of_the_order(harness: PluginHarness) -> None:
    await place(harness)

    facts = [row for row in await harness.spoken() if row.kind == "fact"]
    assert [row.headers["ce-type"] for row in facts] == [
        "order.order_placed.v1",
        "order.order_confirmed.v1",
        "order.sub_order_assigned.v1",
        "order.sub_order_assigned.v1",
    ]


async def test_an_online_order_waits_for_its_payment(harness: PluginHarness) -> None:
    order = await place(harness, method="razorpay")

    assert (order.status, order.payment.status) == ("placed", "pending")
    assert order.pay_by == order.placed_at + timedelta(minutes=15)
    assert [part.status for part in order.sub_orders] == ["waiting", "waiting"]
    [kept] = await harness.said(KeepStock)
    assert kept.until == order.pay_by + timedelta(minutes=10)
    assert await harness.said(CommitStock) == []
    assert await harness.said(ExpirePayment) == [ExpirePayment(order_id=order.order_id)]


async def test_an_order_placed_twice_under_one_key_is_one_order(
    harness: PluginHarness, market: Market
) -> None:
    first = await place(harness, key="k")
    second = await place(harness, key="k")

    assert first == second
    assert market.reservations == 1
    assert len(await harness.said(OrderPlaced)) == 1


async def test_a_product_goes_to_the_nearest_vendor(harness: PluginHarness) -> None:
    order = await place(harness, by_product(1))

    assert [part.vendor_id for part in order.sub_orders] == [an_id("vendor", 1)]


async def test_lines_of_one_vendor_make_one_part(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1, 1), by_offer(1, 2), by_offer(1, 1))

    [part] = order.sub_orders
    assert [(line.offer_id, line.quantity) for line in part.lines] == [
        (an_id("offer", 11), Quantity.of(20)),
        (an_id("offer", 12), Quantity.of(10)),
    ]
    assert order.delivery == Money(35_000)


async def test_an_address_outside_the_zones_is_refused(harness: PluginHarness) -> None:
    wish = a_wish(address=an_address(pincode="400001"))

    assert await code_of(harness.ask(wish, actor=BUYER)) == "order.not_serviceable"
    assert await harness.spoken() == []


async def test_a_vendor_out_of_reach_is_refused(harness: PluginHarness, market: Market) -> None:
    del market.distances[an_id("vendor", 2)]

    assert await code_of(place(harness)) == "order.vendor_cannot_deliver"
    assert await harness.spoken() == []


async def test_stock_that_is_gone_is_refused_and_nothing_is_stored(
    harness: PluginHarness, market: Market
) -> None:
    market.sold_out.add(an_id("offer", 21))

    assert await code_of(place(harness)) == "catalog.stock_short"
    assert await harness.spoken() == []
    assert (await harness.ask(ListOrders(), actor=BUYER)).items == ()


async def test_an_order_that_is_too_dear_holds_no_stock(
    harness: PluginHarness, market: Market
) -> None:
    market.offers.append(an_offer(1, 3, price=Money(10**11), available=StockLevel.of(1_000_000)))

    assert await code_of(place(harness, by_offer(1, 3))) == "order.total_too_large"
    assert market.reservations == 0


async def test_an_unknown_offer_is_refused(harness: PluginHarness) -> None:
    assert await code_of(place(harness, by_offer(9))) == "order.offer_not_open"


async def test_an_unavailable_catalogue_is_said_so(harness: PluginHarness) -> None:
    del harness.neighbours.answers[QuoteOffers]

    assert await code_of(place(harness)) == "bus.no_responder"
    assert await harness.spoken() == []


# Quotes


async def test_anybody_gets_a_quote_by_one_question(harness: PluginHarness) -> None:
    wish = a_wish()
    quote = await harness.ask(QuoteOrder(lines=wish.lines, delivery_address=wish.delivery_address))

    assert quote.serviceable
    assert (quote.subtotal, quote.tax, quote.delivery, quote.discount) == (
        Money(760_000),
        Money(136_800),
        Money(70_000),
        Money(0),
    )
    assert quote.total == Money(760_000 + 136_800 + 70_000)
    assert [type(asked) for asked in harness.neighbours.asked] == [QuoteOffers]


async def test_a_quote_costs_what_the_order_will(harness: PluginHarness) -> None:
    wish = a_wish(by_product(1), by_offer(2))
    quote = await harness.ask(QuoteOrder(lines=wish.lines, delivery_address=wish.delivery_address))

    order = await harness.ask(wish, actor=BUYER)

    assert (quote.subtotal, quote.tax, quote.delivery, quote.total) == (
        order.subtotal,
        order.tax,
        order.delivery,
        order.total,
    )


async def test_a_quote_for_elsewhere_has_prices_but_no_delivery(harness: PluginHarness) -> None:
    quote = await harness.ask(
        QuoteOrder(lines=(by_product(1),), delivery_address=an_address(pincode="400001"))
    )

    assert not quote.serviceable
    assert (quote.subtotal, quote.delivery) == (Money(380_000), Money(0))


async def test_a_quote_for_what_nobody_near_has_is_not_serviceable(
    harness: PluginHarness, market: Market
) -> None:
    market.distances.clear()

    quote = await harness.ask(QuoteOrder(lines=(by_product(1),), delivery_address=an_address()))

    assert (quote.serviceable, quote.delivery) == (False, Money(0))


# Payment


async def test_a_capture_confirms_and_assigns_once(harness: PluginHarness) -> None:
    order = await place(harness, method="razorpay")

    await harness.deliver(captured(order), times=2)

    now = await shown(harness, order)
    assert (now.status, now.payment.status) == ("confirmed", "captured")
    assert len(await harness.said(OrderConfirmed)) == 1
    assert len(await harness.said(SubOrderAssigned)) == 2
    assert len(await harness.said(CommitStock)) == 1


async def test_a_final_failure_cancels_and_gives_everything_back(harness: PluginHarness) -> None:
    order = await place(harness, method="razorpay")

    await harness.deliver(failed(order), times=2)

    now = await shown(harness, order)
    assert (now.status, now.cancel_reason) == ("cancelled", "payment_failed")
    [stock] = await harness.said(ReleaseStock)
    [capacity] = await harness.said(ReleaseCapacity)
    assert stock.offer_ids == (an_id("offer", 11), an_id("offer", 21))
    assert capacity.sub_order_ids == tuple(part.sub_order_id for part in order.sub_orders)
    assert await harness.said(CancelPayment) == []


async def test_the_payment_deadline_cancels_and_a_later_capture_goes_back(
    harness: PluginHarness,
) -> None:
    order = await place(harness, method="razorpay")

    await harness.tell(ExpirePayment(order_id=order.order_id), times=2)
    await harness.deliver(captured(order))

    now = await shown(harness, order)
    assert (now.status, now.cancel_reason, now.payment.status) == (
        "cancelled",
        "payment_late",
        "captured",
    )
    assert [told.reason for told in await harness.said(CancelPayment)] == ["payment_late"] * 2


async def test_the_payment_deadline_of_a_paid_order_changes_nothing(harness: PluginHarness) -> None:
    order = await place(harness, method="razorpay")
    await harness.deliver(captured(order))

    await harness.tell(ExpirePayment(order_id=order.order_id))

    assert (await shown(harness, order)).status == "confirmed"


async def test_a_refund_is_shown(harness: PluginHarness) -> None:
    order = await place(harness, method="razorpay")
    await harness.deliver(captured(order))
    await harness.ask(CancelOrder(order_id=order.order_id, reason=""), actor=BUYER)

    await harness.deliver(
        RefundSettled(
            payment_id=order.payment.payment_id,
            order_id=order.order_id,
            buyer_id=BUYER.id,
            refund_id=an_id("refund"),
            amount=order.total,
        ),
        times=2,
    )

    assert (await shown(harness, order)).payment.status == "refunded"


async def test_stock_that_turns_out_short_cancels_and_refunds(harness: PluginHarness) -> None:
    order = await place(harness, method="razorpay")
    await harness.deliver(captured(order))

    await harness.deliver(
        StockShort(
            reservation_id=an_id("reservation", 1),
            order_id=order.order_id,
            offer_ids=(an_id("offer", 21),),
        ),
        times=2,
    )

    assert (await shown(harness, order)).cancel_reason == "stock_short"
    assert [told.reason for told in await harness.said(CancelPayment)] == ["stock_short"]


# Fulfilment


async def test_an_order_is_complete_when_every_vendor_delivered(harness: PluginHarness) -> None:
    order = await place(harness)

    await fulfil(harness, order, 0, vendor=1)
    halfway = await shown(harness, order)
    await fulfil(harness, order, 1, vendor=2)

    now = await shown(harness, order)
    assert halfway.delivery_status == "on_the_way"
    assert (now.status, now.delivery_status) == ("completed", "delivered")
    [cash] = await harness.said(CollectCash)
    assert cash.amount == order.total
    assert len(await harness.said(OrderCompleted)) == 1


async def test_the_cash_of_a_delivered_order_is_noted(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1))
    await fulfil(harness, order, 0, vendor=1)

    await harness.deliver(captured(order), times=2)

    assert (await shown(harness, order)).payment.status == "cash_collected"


@pytest.mark.parametrize("kind", [AcceptSubOrder, RejectSubOrder])
async def test_a_repeated_answer_of_a_vendor_changes_nothing(
    harness: PluginHarness, kind: Any
) -> None:
    order = await place(harness)
    first = await harness.ask(a_step(kind, order), actor=owner_of(1))
    await harness.spoken()

    second = await harness.ask(a_step(kind, order), actor=owner_of(1))

    assert first == second
    assert await harness.spoken() == []


async def test_what_is_not_accepted_cannot_be_dispatched(harness: PluginHarness) -> None:
    order = await place(harness)

    asking = harness.ask(a_step(DispatchSubOrder, order), actor=owner_of(1))

    assert await code_of(asking) == "order.illegal_move"


@pytest.mark.parametrize(
    "kind", [AcceptSubOrder, RejectSubOrder, DispatchSubOrder, DeliverSubOrder]
)
async def test_another_vendor_does_not_find_the_part(harness: PluginHarness, kind: Any) -> None:
    order = await place(harness)

    asking = harness.ask(a_step(kind, order, 0), actor=owner_of(2))

    assert await code_of(asking) == "order.sub_order_not_found"


async def test_an_admin_may_act_for_any_vendor(harness: PluginHarness) -> None:
    order = await place(harness)

    part = await harness.ask(a_step(AcceptSubOrder, order), actor=ADMIN)

    assert part.status == "accepted"


async def test_a_buyer_may_not_act_as_a_vendor(harness: PluginHarness) -> None:
    order = await place(harness)

    asking = harness.ask(a_step(AcceptSubOrder, order), actor=BUYER)

    assert await code_of(asking) == "kernel.permission_denied"


async def test_two_vendors_may_answer_at_the_same_moment(harness: PluginHarness) -> None:
    order = await place(harness)

    await asyncio.gather(
        harness.ask(a_step(AcceptSubOrder, order, 0), actor=owner_of(1)),
        harness.ask(a_step(AcceptSubOrder, order, 1), actor=owner_of(2)),
    )

    now = await shown(harness, order)
    assert [part.status for part in now.sub_orders] == ["accepted", "accepted"]
    assert now.version == order.version + 2


# Another vendor is sought


async def test_a_refused_part_goes_to_the_next_nearest_vendor(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1), method="cod")
    sub_order_id = order.sub_orders[0].sub_order_id
    await harness.ask(
        RejectSubOrder(order_id=order.order_id, sub_order_id=sub_order_id, reason=NOTE),
        actor=owner_of(1),
    )
    [search] = await harness.said(ReassignSubOrder)

    await harness.tell(search, times=2)

    [part] = (await shown(harness, order)).sub_orders
    assert (part.status, part.vendor_id) == ("assigned", an_id("vendor", 2))
    assert part.lines[0].offer_id == an_id("offer", 21)
    assert part.lines[0].unit_price == Money(38_000)
    [released] = await harness.said(ReleaseStock)
    assert released.reservation_id == an_id("reservation", 1)
    [freed] = await harness.said(ReleaseCapacity)
    assert freed.vendor_id == an_id("vendor", 1)
    assert (await harness.said(CommitStock))[-1].reservation_id == an_id("reservation", 2)
    assert (await harness.said(CommitCapacity))[-1].needs[0].vendor_id == an_id("vendor", 2)
    assert [fact.assignment for fact in await harness.said(SubOrderAssigned)] == [1, 2]


async def test_a_vendor_that_sold_out_meanwhile_is_passed_over(
    harness: PluginHarness, market: Market
) -> None:
    order = await place(harness, by_offer(1))
    await harness.ask(a_step(RejectSubOrder, order), actor=owner_of(1))
    market.sold_out.add(an_id("offer", 21))

    await harness.tell((await harness.said(ReassignSubOrder))[0])

    [part] = (await shown(harness, order)).sub_orders
    assert part.vendor_id == an_id("vendor", 3)


async def test_a_search_while_the_catalogue_is_away_is_tried_again(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1))
    await harness.ask(a_step(RejectSubOrder, order), actor=owner_of(1))
    del harness.neighbours.answers[QuoteOffers]

    with pytest.raises(ServiceError):
        await harness.tell((await harness.said(ReassignSubOrder))[0])

    assert (await shown(harness, order)).sub_orders[0].status == "rejected"


async def test_a_search_that_cannot_reach_the_vendors_gives_nobody_up(
    harness: PluginHarness,
) -> None:
    order = await place(harness, by_offer(1))
    await harness.ask(a_step(RejectSubOrder, order), actor=owner_of(1))
    del harness.neighbours.answers[TakeCapacity]

    with pytest.raises(ServiceError):
        await harness.tell((await harness.said(ReassignSubOrder))[0])

    assert (await shown(harness, order)).sub_orders[0].status == "rejected"


async def test_without_another_vendor_the_order_is_cancelled_and_paid_back(
    harness: PluginHarness,
) -> None:
    order = await place(harness, by_offer(1, 2), by_offer(2), method="razorpay")
    await harness.deliver(captured(order))
    await harness.ask(a_step(RejectSubOrder, order), actor=owner_of(1))

    await harness.tell((await harness.said(ReassignSubOrder))[0], times=2)

    now = await shown(harness, order)
    assert (now.status, now.cancel_reason) == ("cancelled", "no_vendor")
    assert [told.reason for told in await harness.said(CancelPayment)] == ["no_vendor"]


async def test_a_part_without_vendor_is_dropped_when_another_is_on_its_way(
    harness: PluginHarness,
) -> None:
    order = await place(harness, by_offer(1, 2), by_offer(2))
    await fulfil(harness, order, 1, vendor=2)
    await harness.ask(a_step(RejectSubOrder, order, 0), actor=owner_of(1))

    await harness.tell((await harness.said(ReassignSubOrder))[0], times=2)

    now = await shown(harness, order)
    assert (now.status, now.delivery_status) == ("completed", "delivered")
    [dropped] = await harness.said(SubOrderCancelled)
    [cash] = await harness.said(CollectCash)
    assert cash.amount + dropped.amount == order.total


async def test_a_vendor_that_does_not_answer_loses_the_part(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1))
    [deadline] = await harness.said(ExpireAcceptance)

    await harness.tell(deadline, times=2)

    assert (await shown(harness, order)).sub_orders[0].status == "rejected"
    assert [fact.reason for fact in await harness.said(SubOrderRejected)] == ["late"]


async def test_a_deadline_after_the_acceptance_changes_nothing(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1))
    await harness.ask(a_step(AcceptSubOrder, order), actor=owner_of(1))

    await harness.tell((await harness.said(ExpireAcceptance))[0])

    assert (await shown(harness, order)).sub_orders[0].status == "accepted"


async def test_a_search_for_an_order_cancelled_meanwhile_finds_nothing_to_do(
    harness: PluginHarness, market: Market
) -> None:
    order = await place(harness, by_offer(1))
    await harness.ask(a_step(RejectSubOrder, order), actor=owner_of(1))
    await harness.ask(CancelOrder(order_id=order.order_id, reason=""), actor=BUYER)

    await harness.tell((await harness.said(ReassignSubOrder))[0])

    assert (await shown(harness, order)).status == "cancelled"
    assert market.reservations == 1


# Cancelling


async def test_a_buyer_cancels_and_everything_goes_back(harness: PluginHarness) -> None:
    order = await place(harness)

    now = await harness.ask(CancelOrder(order_id=order.order_id, reason=NOTE), actor=BUYER)

    assert (now.status, now.cancel_reason) == ("cancelled", "buyer")
    assert len(await harness.said(ReleaseStock)) == 1
    assert len(await harness.said(ReleaseCapacity)) == 1
    assert [told.reason for told in await harness.said(CancelPayment)] == ["order_cancelled"]


async def test_cancelling_again_changes_nothing(harness: PluginHarness) -> None:
    order = await place(harness)
    first = await harness.ask(CancelOrder(order_id=order.order_id, reason=""), actor=BUYER)
    await harness.spoken()

    second = await harness.ask(CancelOrder(order_id=order.order_id, reason=""), actor=BUYER)

    assert first == second
    assert await harness.spoken() == []


async def test_support_cancels_as_operator(harness: PluginHarness) -> None:
    order = await place(harness)

    now = await harness.ask(CancelOrder(order_id=order.order_id, reason=""), actor=SUPPORT)

    assert now.cancel_reason == "operator"


async def test_a_stranger_cannot_cancel(harness: PluginHarness) -> None:
    order = await place(harness)

    asking = harness.ask(CancelOrder(order_id=order.order_id, reason=""), actor=STRANGER)

    assert await code_of(asking) == "order.not_found"
    assert (await shown(harness, order)).status == "confirmed"


async def test_an_order_that_does_not_exist_cannot_be_cancelled(harness: PluginHarness) -> None:
    asking = harness.ask(CancelOrder(order_id=an_id("order", 99), reason=""), actor=SUPPORT)

    assert await code_of(asking) == "order.not_found"


async def test_what_is_on_its_way_cannot_be_cancelled(harness: PluginHarness) -> None:
    order = await place(harness)
    await harness.ask(a_step(AcceptSubOrder, order), actor=owner_of(1))
    await harness.ask(a_step(DispatchSubOrder, order), actor=owner_of(1))

    asking = harness.ask(CancelOrder(order_id=order.order_id, reason=""), actor=BUYER)

    assert await code_of(asking) == "order.too_late_to_cancel"
    assert await harness.said(OrderCancelled) == []


# Questions


@pytest.mark.parametrize("kind", [GetOrder, GetOrderHistory, FollowOrder])
async def test_another_buyers_order_is_not_found(harness: PluginHarness, kind: Any) -> None:
    order = await place(harness)

    asking = harness.ask(kind(order_id=order.order_id), actor=STRANGER)

    assert await code_of(asking) == "order.not_found"


@pytest.mark.parametrize("kind", [GetOrder, GetOrderHistory, FollowOrder])
async def test_an_order_that_does_not_exist_is_not_found(harness: PluginHarness, kind: Any) -> None:
    asking = harness.ask(kind(order_id=an_id("order", 99)), actor=SUPPORT)

    assert await code_of(asking) == "order.not_found"


async def test_support_sees_every_order(harness: PluginHarness) -> None:
    order = await place(harness)

    assert await harness.ask(GetOrder(order_id=order.order_id), actor=SUPPORT) == order


async def test_the_history_tells_every_step_with_notes(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1))
    await harness.ask(CancelOrder(order_id=order.order_id, reason=NOTE), actor=BUYER)

    history = await harness.ask(GetOrderHistory(order_id=order.order_id), actor=BUYER)

    assert [(step.version, step.name) for step in history.changes] == [
        (1, "order_placed"),
        (2, "order_confirmed"),
        (3, "sub_order_assigned"),
        (4, "order_cancelled"),
    ]
    assert (history.changes[3].reason, history.changes[3].note) == ("buyer", NOTE)
    assert history.changes[2].vendor_id == an_id("vendor", 1)


async def test_the_greatest_version_has_nothing_behind_it(harness: PluginHarness) -> None:
    order = await place(harness)

    query = GetOrderHistory(order_id=order.order_id, after=2**31 - 1)

    assert (await harness.ask(query, actor=BUYER)).changes == ()
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"order_id": order.order_id, "after": 2**31}, GetOrderHistory)


async def test_a_live_stream_goes_on_after_the_last_step_seen(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1))

    steps = await harness.ask(FollowOrder(order_id=order.order_id, after=2), actor=BUYER)
    nothing = await harness.ask(FollowOrder(order_id=order.order_id, after=3), actor=BUYER)

    assert [step.name for step in steps.changes] == ["sub_order_assigned"]
    assert nothing.changes == ()


async def test_own_orders_come_in_pages_newest_first(harness: PluginHarness) -> None:
    placed = [await place(harness, by_offer(1)) for _ in range(3)]
    await harness.ask(a_wish(by_offer(1)), actor=STRANGER)

    first = await harness.ask(ListOrders(limit=2), actor=BUYER)
    second = await harness.ask(ListOrders(limit=2, cursor=first.next_cursor), actor=BUYER)

    seen = [item.order_id for item in (*first.items, *second.items)]
    assert seen == [order.order_id for order in reversed(placed)]
    assert second.next_cursor is None


async def test_own_orders_are_filtered_by_status(harness: PluginHarness) -> None:
    await place(harness, by_offer(1))
    waiting = await place(harness, by_offer(1), method="razorpay")

    found = await harness.ask(ListOrders(status="placed"), actor=BUYER)

    assert [item.order_id for item in found.items] == [waiting.order_id]


@pytest.mark.parametrize(
    "cursor", ["x", "WyJhIiwiYiJd", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwib3JkZXJfeCJd"]
)
async def test_a_cursor_of_ones_own_making_is_refused(harness: PluginHarness, cursor: str) -> None:
    assert await code_of(harness.ask(ListOrders(cursor=cursor), actor=BUYER)) == "kernel.invalid"


async def test_a_vendor_sees_its_parts_and_the_address_once_accepted(
    harness: PluginHarness,
) -> None:
    order = await place(harness, by_offer(1), by_offer(1, 2), by_offer(2))
    inbox = ListSubOrders(vendor_id=an_id("vendor", 1))

    [before] = (await harness.ask(inbox, actor=owner_of(1))).items
    await harness.ask(a_step(AcceptSubOrder, order), actor=owner_of(1))
    [after] = (await harness.ask(inbox, actor=owner_of(1))).items

    assert (before.status, before.delivery_address, before.pincode) == ("assigned", None, "500081")
    assert [line.offer_id for line in before.lines] == [an_id("offer", 11), an_id("offer", 12)]
    assert after.delivery_address == an_address()


async def test_a_vendor_does_not_see_what_is_not_paid_for(harness: PluginHarness) -> None:
    await place(harness, by_offer(1), method="razorpay")

    inbox = await harness.ask(ListSubOrders(vendor_id=an_id("vendor", 1)), actor=owner_of(1))

    assert inbox.items == ()


async def test_an_inbox_comes_in_pages_and_by_status(harness: PluginHarness) -> None:
    placed = [await place(harness, by_offer(1), by_offer(1, 2)) for _ in range(3)]
    await harness.ask(a_step(AcceptSubOrder, placed[1]), actor=owner_of(1))
    vendor_id = an_id("vendor", 1)

    first = await harness.ask(ListSubOrders(vendor_id=vendor_id, limit=2), actor=owner_of(1))
    second = await harness.ask(
        ListSubOrders(vendor_id=vendor_id, limit=2, cursor=first.next_cursor), actor=owner_of(1)
    )
    accepted = await harness.ask(
        ListSubOrders(vendor_id=vendor_id, status="accepted"), actor=owner_of(1)
    )

    seen = [item.order_id for item in (*first.items, *second.items)]
    assert seen == [order.order_id for order in reversed(placed)]
    assert [item.order_id for item in accepted.items] == [placed[1].order_id]


async def test_another_vendors_inbox_is_not_found(harness: PluginHarness) -> None:
    asking = harness.ask(ListSubOrders(vendor_id=an_id("vendor", 1)), actor=owner_of(2))

    assert await code_of(asking) == "order.vendor_not_found"


async def test_support_sees_every_inbox(harness: PluginHarness) -> None:
    await place(harness, by_offer(1))

    inbox = await harness.ask(ListSubOrders(vendor_id=an_id("vendor", 1)), actor=SUPPORT)

    assert len(inbox.items) == 1


async def test_nothing_that_is_said_carries_personal_data(harness: PluginHarness) -> None:
    order = await place(harness, by_offer(1))
    await harness.ask(
        RejectSubOrder(
            order_id=order.order_id, sub_order_id=order.sub_orders[0].sub_order_id, reason=NOTE
        ),
        actor=owner_of(1),
    )
    await harness.ask(CancelOrder(order_id=order.order_id, reason=NOTE), actor=BUYER)

    said = b"".join(row.payload for row in await harness.spoken())

    assert b"anary" not in said
