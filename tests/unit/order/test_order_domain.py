"""Orders and sub-orders: which steps follow on which, and that facts alone rebuild an order."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import decoder, encode
from kernel.ids import to_wire
from kernel.money import Money, total
from kernel.quantity import Quantity
from plugins.order.contract import (
    DeliveryAddress,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderedLine,
    OrderedPart,
    OrderPlaced,
    PaymentMethod,
    SubOrderAccepted,
    SubOrderAssigned,
    SubOrderCancelled,
    SubOrderDelivered,
    SubOrderDispatched,
    SubOrderRejected,
    SubOrderStatus,
)
from plugins.order.domain import Order
from plugins.order.errors import IllegalMoveError, SubOrderNotFoundError, TooLateToCancelError
from plugins.order.facts import Fact
from plugins.order.moves import ORDER_MOVES, SUB_ORDER_MOVES, delivery_status_of
from plugins.order.sub_orders import SubOrder
from plugins.payment.contract import PaymentCaptured, PaymentFailed, RefundSettled

NOON = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)
LATER = NOON + timedelta(minutes=30)
ADDRESS = DeliveryAddress(
    line1="Plot 7", city="Hyderabad", pincode="500081", lat=17.4435, lon=78.3772
)


def an_id(prefix: str, number: int = 1) -> str:
    return to_wire(prefix, UUID(int=number))


def a_line(number: int = 1, **overrides: Any) -> OrderedLine:
    fields: dict[str, Any] = {
        "offer_id": an_id("offer", number),
        "product_id": an_id("product", number),
        "hsn": "2523",
        "unit": "bag",
        "quantity": Quantity.of(10),
        "unit_price": Money(38_000),
        "amount": Money(380_000),
        "tax_rate_bp": 1800,
        "tax": Money(68_400),
    }
    return OrderedLine(**{**fields, **overrides})


def a_part(number: int = 1, **overrides: Any) -> OrderedPart:
    fields: dict[str, Any] = {
        "sub_order_id": an_id("suborder", number),
        "vendor_id": an_id("vendor", number),
        "lines": (a_line(number),),
        "delivery": Money(35_000),
    }
    return OrderedPart(**{**fields, **overrides})


def a_placing(*, method: PaymentMethod = "razorpay", parts: int = 2) -> OrderPlaced:
    made = tuple(a_part(number) for number in range(1, parts + 1))
    lines = [line for part in made for line in part.lines]
    subtotal, tax = total([line.amount for line in lines]), total([line.tax for line in lines])
    delivery = total([part.delivery for part in made])
    return OrderPlaced(
        order_id=an_id("order"),
        buyer_id=an_id("user"),
        payment_id=an_id("payment"),
        payment_method=method,
        reservation_id=an_id("reservation"),
        parts=made,
        pincode=ADDRESS.pincode,
        subtotal=subtotal,
        tax=tax,
        delivery=delivery,
        discount=Money(0),
        total=subtotal + tax + delivery,
        placed_at=NOON,
        pay_by=None if method == "cod" else NOON + timedelta(minutes=15),
    )


def an_order(*, method: PaymentMethod = "razorpay", parts: int = 2) -> Order:
    order = Order.place(a_placing(method=method, parts=parts), ADDRESS)
    order.changes.clear()
    return order


def a_confirmed_order(*, method: PaymentMethod = "cod", parts: int = 2) -> Order:
    order = an_order(method=method, parts=parts)
    order.confirm(at=NOON, accept_by=LATER)
    order.changes.clear()
    return order


def an_order_on_its_way(*, method: PaymentMethod = "cod", parts: int = 2) -> Order:
    order = a_confirmed_order(method=method, parts=parts)
    first = the_part(order, 1)
    order.accept(first, at=NOON)
    order.dispatch(first, at=NOON)
    order.changes.clear()
    return order


def the_part(order: Order, number: int = 1) -> SubOrder:
    return order.parts[an_id("suborder", number)]


def facts_of(order: Order) -> list[type[Fact]]:
    return [type(change.fact) for change in order.changes]


def a_capture(method: PaymentMethod = "razorpay") -> PaymentCaptured:
    return PaymentCaptured(
        payment_id=an_id("payment"),
        order_id=an_id("order"),
        buyer_id=an_id("user"),
        method=method,
        amount=Money(1),
    )


def a_failure(*, is_final: bool = True) -> PaymentFailed:
    return PaymentFailed(
        payment_id=an_id("payment"),
        order_id=an_id("order"),
        buyer_id=an_id("user"),
        reason="declined",
        is_final=is_final,
    )


def a_refund() -> RefundSettled:
    return RefundSettled(
        payment_id=an_id("payment"),
        order_id=an_id("order"),
        buyer_id=an_id("user"),
        refund_id=an_id("refund"),
        amount=Money(1),
    )


def test_a_new_order_waits_and_has_one_step() -> None:
    order = Order.place(a_placing(), ADDRESS)

    assert (order.status, order.payment_status, order.delivery_status) == (
        "placed",
        "pending",
        "waiting",
    )
    assert order.version == 1
    assert facts_of(order) == [OrderPlaced]


def test_a_cash_order_owes_its_cash() -> None:
    order = an_order(method="cod")

    assert order.payment_status == "cash_due"


def test_confirming_asks_every_vendor() -> None:
    order = an_order(parts=2)

    order.confirm(at=NOON, accept_by=LATER)

    assert facts_of(order) == [OrderConfirmed, SubOrderAssigned, SubOrderAssigned]
    assert [part.status for part in order.parts.values()] == ["assigned", "assigned"]
    assert [part.accept_by for part in order.parts.values()] == [LATER, LATER]


def test_confirming_twice_is_confirming_once() -> None:
    order = a_confirmed_order()

    order.confirm(at=LATER, accept_by=LATER)

    assert order.changes == []


def test_a_cancelled_order_cannot_be_confirmed() -> None:
    order = an_order()
    order.cancel("buyer", at=NOON)
    order.changes.clear()

    with pytest.raises(IllegalMoveError):
        order.confirm(at=NOON, accept_by=LATER)

    assert order.changes == []


def test_cancelling_ends_every_part_and_says_why() -> None:
    order = a_confirmed_order(parts=2)

    order.cancel("buyer", at=NOON, note="Changed my mind")

    assert (order.status, order.cancel_reason, order.delivery_status) == (
        "cancelled",
        "buyer",
        "cancelled",
    )
    assert {part.status for part in order.parts.values()} == {"cancelled"}
    assert order.changes[0].note == "Changed my mind"


def test_cancelling_twice_is_cancelling_once() -> None:
    order = an_order()
    order.cancel("buyer", at=NOON)
    order.changes.clear()

    order.cancel("operator", at=NOON)

    assert order.changes == []
    assert order.cancel_reason == "buyer"


def test_an_order_on_its_way_cannot_be_cancelled() -> None:
    order = an_order_on_its_way()

    with pytest.raises(TooLateToCancelError):
        order.cancel("buyer", at=NOON)

    assert order.changes == []


def test_a_completed_order_cannot_be_cancelled() -> None:
    order = an_order_on_its_way(parts=1)
    order.deliver(the_part(order), at=NOON)

    with pytest.raises(TooLateToCancelError):
        order.cancel("buyer", at=NOON)

    assert order.status == "completed"


def test_a_payment_confirms_the_order_that_waits_for_it() -> None:
    order = an_order(parts=1)

    order.take_payment(a_capture(), at=NOON, accept_by=LATER)

    assert (order.status, order.payment_status) == ("confirmed", "captured")
    assert facts_of(order) == [PaymentCaptured, OrderConfirmed, SubOrderAssigned]


def test_a_second_capture_of_a_live_order_changes_nothing() -> None:
    order = an_order(parts=1)
    order.take_payment(a_capture(), at=NOON, accept_by=LATER)
    order.changes.clear()

    order.take_payment(a_capture(), at=NOON, accept_by=LATER)

    assert order.changes == []


def test_a_payment_for_a_cancelled_order_is_noted_and_confirms_nothing() -> None:
    order = an_order()
    order.expire_payment(at=NOON)

    order.take_payment(a_capture(), at=NOON, accept_by=LATER)

    assert (order.status, order.payment_status) == ("cancelled", "captured")
    assert facts_of(order) == [OrderCancelled, PaymentCaptured]


def test_cash_is_collected_after_delivery() -> None:
    order = an_order_on_its_way(parts=1)
    order.deliver(the_part(order), at=NOON)

    order.take_payment(a_capture("cod"), at=NOON, accept_by=LATER)

    assert (order.status, order.payment_status) == ("completed", "cash_collected")


def test_a_final_failure_cancels_the_order() -> None:
    order = an_order()

    order.fail_payment(a_failure(), at=NOON)

    assert (order.status, order.cancel_reason, order.payment_status) == (
        "cancelled",
        "payment_failed",
        "failed",
    )


def test_a_failed_attempt_leaves_the_order_waiting() -> None:
    order = an_order()

    order.fail_payment(a_failure(is_final=False), at=NOON)

    assert order.changes == []


def test_a_failure_told_after_the_capture_changes_nothing() -> None:
    order = an_order()
    order.take_payment(a_capture(), at=NOON, accept_by=LATER)
    order.changes.clear()

    order.fail_payment(a_failure(), at=NOON)

    assert order.changes == []


def test_a_failed_payment_of_goods_on_their_way_does_not_call_them_back() -> None:
    order = an_order_on_its_way()

    order.fail_payment(a_failure(), at=NOON)

    assert (order.status, order.payment_status) == ("confirmed", "failed")


def test_the_payment_deadline_cancels_an_order_that_still_waits() -> None:
    order = an_order()

    order.expire_payment(at=NOON)

    assert (order.status, order.cancel_reason) == ("cancelled", "payment_late")


def test_the_payment_deadline_leaves_a_confirmed_order_alone() -> None:
    order = a_confirmed_order()

    order.expire_payment(at=NOON)

    assert order.changes == []


def test_the_refund_of_a_cancelled_order_is_shown() -> None:
    order = an_order()
    order.take_payment(a_capture(), at=NOON, accept_by=LATER)
    order.cancel("buyer", at=NOON)

    order.note_refund(a_refund(), at=NOON)

    assert order.payment_status == "refunded"


def test_the_refund_of_money_paid_twice_leaves_a_live_order_paid() -> None:
    order = an_order()
    order.take_payment(a_capture(), at=NOON, accept_by=LATER)
    order.changes.clear()

    order.note_refund(a_refund(), at=NOON)

    assert (order.payment_status, order.changes) == ("captured", [])


def test_a_part_goes_from_acceptance_to_delivery_and_completes_the_order() -> None:
    order = a_confirmed_order(parts=1)
    part = the_part(order)

    order.accept(part, at=NOON)
    order.dispatch(part, at=NOON)
    order.deliver(part, at=NOON)

    assert facts_of(order) == [
        SubOrderAccepted,
        SubOrderDispatched,
        SubOrderDelivered,
        OrderCompleted,
    ]
    assert (order.status, order.delivery_status) == ("completed", "delivered")


def test_an_order_is_complete_only_with_its_last_part() -> None:
    order = an_order_on_its_way(parts=2)

    order.deliver(the_part(order, 1), at=NOON)

    assert (order.status, order.delivery_status) == ("confirmed", "on_the_way")


@pytest.mark.parametrize("step", ["accept", "dispatch", "deliver"])
def test_a_repeated_step_changes_nothing(step: str) -> None:
    order = a_confirmed_order(parts=1)
    part = the_part(order)
    part.status = {"accept": "accepted", "dispatch": "dispatched", "deliver": "delivered"}[step]  # type: ignore[assignment]  # chosen by name

    getattr(order, step)(part, at=NOON)

    assert order.changes == []


@pytest.mark.parametrize(
    ("status", "step"),
    [
        ("waiting", "accept"),
        ("dispatched", "accept"),
        ("rejected", "accept"),
        ("assigned", "dispatch"),
        ("accepted", "deliver"),
        ("cancelled", "deliver"),
    ],
)
def test_a_step_out_of_order_is_refused(status: SubOrderStatus, step: str) -> None:
    order = a_confirmed_order(parts=1)
    part = the_part(order)
    part.status = status

    with pytest.raises(IllegalMoveError):
        getattr(order, step)(part, at=NOON)

    assert order.changes == []


def test_an_accepted_part_cannot_be_refused_any_more() -> None:
    order = a_confirmed_order(parts=1)
    part = the_part(order)
    order.accept(part, at=NOON)

    with pytest.raises(IllegalMoveError):
        order.reject(part, "vendor", at=NOON)

    assert part.status == "accepted"


def test_refusing_says_which_assignment_ended() -> None:
    order = a_confirmed_order(parts=1)

    order.reject(the_part(order), "vendor", at=NOON, note="No lorry")

    fact = order.changes[0].fact
    assert isinstance(fact, SubOrderRejected)
    assert (fact.assignment, fact.reason) == (1, "vendor")
    assert order.delivery_status == "preparing"


def test_a_late_vendor_loses_its_part() -> None:
    order = a_confirmed_order(parts=1)

    order.expire_acceptance(the_part(order), 1, at=LATER)

    fact = order.changes[0].fact
    assert isinstance(fact, SubOrderRejected)
    assert fact.reason == "late"


def test_the_deadline_of_an_earlier_vendor_does_not_touch_the_next_one() -> None:
    order = a_reassigned_order()

    order.expire_acceptance(the_part(order), 1, at=LATER)

    assert order.changes == []


def test_the_deadline_of_an_accepted_part_changes_nothing() -> None:
    order = a_confirmed_order(parts=1)
    order.accept(the_part(order), at=NOON)
    order.changes.clear()

    order.expire_acceptance(the_part(order), 1, at=LATER)

    assert order.changes == []


def a_reassigned_order() -> Order:
    order = a_confirmed_order(parts=1)
    part = the_part(order)
    order.reject(part, "vendor", at=NOON)
    order.reassign(
        part,
        an_id("vendor", 9),
        (a_line(9, product_id=an_id("product", 1)),),
        an_id("reservation", 9),
        at=NOON,
        accept_by=LATER,
    )
    order.changes.clear()
    return order


def test_a_reassigned_part_is_with_the_next_vendor() -> None:
    order = a_reassigned_order()

    part = the_part(order)
    assert (part.status, part.vendor_id, part.assignment) == ("assigned", an_id("vendor", 9), 2)
    assert part.asked == (an_id("vendor", 1), an_id("vendor", 9))
    assert part.reservation_id == an_id("reservation", 9)


def test_a_part_is_found_only_for_its_own_vendor() -> None:
    order = a_confirmed_order(parts=2)

    with pytest.raises(SubOrderNotFoundError):
        order.part(an_id("suborder", 1), {an_id("vendor", 2)})


def test_an_unknown_part_is_not_found() -> None:
    order = a_confirmed_order(parts=1)

    with pytest.raises(SubOrderNotFoundError):
        order.part(an_id("suborder", 7))


def test_without_a_vendor_for_one_part_the_whole_order_is_cancelled() -> None:
    order = a_confirmed_order(parts=2)
    part = the_part(order, 2)
    order.reject(part, "vendor", at=NOON)

    order.give_up([part], "no_vendor", at=NOON)

    assert (order.status, order.cancel_reason) == ("cancelled", "no_vendor")


def test_with_something_on_its_way_only_the_lost_part_is_cancelled() -> None:
    order = an_order_on_its_way(parts=2)
    part = the_part(order, 2)
    order.reject(part, "vendor", at=NOON)
    order.changes.clear()

    order.give_up([part], "no_vendor", at=NOON)

    fact = order.changes[0].fact
    assert isinstance(fact, SubOrderCancelled)
    assert fact.amount == Money(380_000 + 68_400 + 35_000)
    assert order.amount_due == order.total - fact.amount
    assert order.status == "confirmed"


def test_the_rest_of_an_order_completes_for_what_it_costs() -> None:
    order = an_order_on_its_way(parts=2)
    part = the_part(order, 2)
    order.reject(part, "vendor", at=NOON)
    order.give_up([part], "no_vendor", at=NOON)

    order.deliver(the_part(order, 1), at=NOON)

    fact = order.changes[-1].fact
    assert isinstance(fact, OrderCompleted)
    assert fact.total == Money(380_000 + 68_400 + 35_000)


def test_losing_the_last_open_part_completes_an_order_whose_others_are_delivered() -> None:
    order = an_order_on_its_way(parts=2)
    order.deliver(the_part(order, 1), at=NOON)
    part = the_part(order, 2)
    order.reject(part, "late", at=NOON)

    order.give_up([part], "no_vendor", at=NOON)

    assert order.status == "completed"


def test_giving_up_what_is_delivered_changes_nothing() -> None:
    order = an_order_on_its_way(parts=2)
    order.deliver(the_part(order, 1), at=NOON)
    order.changes.clear()

    order.give_up([the_part(order, 1)], "no_vendor", at=NOON)

    assert order.changes == []


def test_stock_that_is_gone_cancels_the_order() -> None:
    order = a_confirmed_order(parts=2)

    order.run_short(an_id("reservation"), [an_id("offer", 2)], at=NOON)

    assert (order.status, order.cancel_reason) == ("cancelled", "stock_short")


def test_a_shortage_of_a_reservation_that_is_no_longer_used_changes_nothing() -> None:
    order = a_reassigned_order()

    order.run_short(an_id("reservation", 1), [an_id("offer", 1)], at=NOON)

    assert order.changes == []


def test_a_shortage_of_what_is_on_its_way_changes_nothing() -> None:
    order = an_order_on_its_way(parts=1)

    order.run_short(an_id("reservation"), [an_id("offer", 1)], at=NOON)

    assert order.changes == []


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        ({"waiting"}, "waiting"),
        ({"assigned", "accepted"}, "preparing"),
        ({"rejected"}, "preparing"),
        ({"dispatched", "accepted"}, "on_the_way"),
        ({"delivered", "accepted"}, "on_the_way"),
        ({"delivered", "cancelled"}, "delivered"),
        ({"cancelled"}, "cancelled"),
    ],
)
def test_the_delivery_status_is_derived_from_the_parts(
    statuses: set[SubOrderStatus], shown: str
) -> None:
    assert delivery_status_of(statuses) == shown


def test_no_end_state_has_a_way_out() -> None:
    of_orders = ORDER_MOVES.after("completed") | ORDER_MOVES.after("cancelled")
    of_parts = SUB_ORDER_MOVES.after("delivered") | SUB_ORDER_MOVES.after("cancelled")

    assert (of_orders, of_parts) == (frozenset(), frozenset())


STEPS = st.sampled_from(
    [
        "confirm",
        "capture",
        "fail",
        "refund",
        "cancel",
        "expire_payment",
        "accept",
        "reject",
        "late",
        "reassign",
        "give_up",
        "short",
        "dispatch",
        "deliver",
    ]
)


def take_step(order: Order, step: str, number: int) -> None:
    """Try one step, legal or not; a refusal must change nothing."""
    part = the_part(order, number)
    before = (order.version, order.status, part.status)
    lines = (a_line(number + 20, product_id=an_id("product", number)),)
    steps: dict[str, Any] = {
        "confirm": lambda: order.confirm(at=NOON, accept_by=LATER),
        "capture": lambda: order.take_payment(a_capture(), at=NOON, accept_by=LATER),
        "fail": lambda: order.fail_payment(a_failure(), at=NOON),
        "refund": lambda: order.note_refund(a_refund(), at=NOON),
        "cancel": lambda: order.cancel("buyer", at=NOON),
        "expire_payment": lambda: order.expire_payment(at=NOON),
        "accept": lambda: order.accept(part, at=NOON),
        "reject": lambda: order.reject(part, "vendor", at=NOON),
        "late": lambda: order.expire_acceptance(part, part.assignment, at=NOON),
        "reassign": lambda: order.reassign(
            part, an_id("vendor", 30), lines, an_id("reservation", 30), at=NOON, accept_by=LATER
        ),
        "give_up": lambda: order.give_up([part], "no_vendor", at=NOON),
        "short": lambda: order.run_short(part.reservation_id, [part.lines[0].offer_id], at=NOON),
        "dispatch": lambda: order.dispatch(part, at=NOON),
        "deliver": lambda: order.deliver(part, at=NOON),
    }
    try:
        steps[step]()
    except (IllegalMoveError, TooLateToCancelError):
        assert (order.version, order.status, part.status) == before


@given(steps=st.lists(st.tuples(STEPS, st.integers(1, 3)), max_size=25))
def test_an_order_is_what_its_facts_make_of_it(steps: list[tuple[str, int]]) -> None:
    order = Order.place(a_placing(parts=3), ADDRESS)
    for step, number in steps:
        take_step(order, step, number)

    first, *rest = [change.fact for change in order.changes]
    assert isinstance(first, OrderPlaced)
    told = [decoder(type(fact))(encode(fact)) for fact in rest]
    folded = Order.fold(decoder(OrderPlaced)(encode(first)), told, ADDRESS)
    folded.changes = order.changes
    assert folded == order


@given(steps=st.lists(st.tuples(STEPS, st.integers(1, 3)), max_size=25))
def test_every_order_keeps_its_invariants(steps: list[tuple[str, int]]) -> None:
    order = Order.place(a_placing(parts=3), ADDRESS)
    for step, number in steps:
        take_step(order, step, number)

    statuses = {part.status for part in order.parts.values()}
    assert [change.version for change in order.changes] == list(range(1, order.version + 1))
    assert (order.status == "completed") == ("delivered" in statuses <= {"delivered", "cancelled"})
    assert order.status != "cancelled" or statuses == {"cancelled"}
    assert order.total == total([part.amount for part in order.parts.values()])
