"""What messages say: every topic, money and moments, and nothing personal."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateNotFound, UndefinedError
from jinja2.exceptions import SecurityError

from kernel.ids import derived_uuid, to_wire
from kernel.money import Money
from kernel.quantity import Quantity
from plugins.identity.contract import UserRegistered
from plugins.notification.contract import Topic
from plugins.notification.rendering import Templates, moment, rupees
from plugins.order.contract import (
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderedLine,
    OrderPlaced,
    SubOrderAssigned,
    SubOrderDelivered,
    SubOrderDispatched,
)
from plugins.payment.contract import PaymentCaptured, RefundSettled

NOON = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)
TEMPLATES = Templates()


def an_id(prefix: str) -> str:
    return to_wire(prefix, derived_uuid(NOON, prefix))


ORDER = an_id("order")
BUYER = an_id("user")
PART: dict[str, Any] = {
    "order_id": ORDER,
    "buyer_id": BUYER,
    "sub_order_id": an_id("suborder"),
    "vendor_id": an_id("vendor"),
}


def a_line(**overrides: Any) -> OrderedLine:
    fields: dict[str, Any] = {
        "offer_id": an_id("offer"),
        "product_id": an_id("product"),
        "hsn": "2523",
        "unit": "bag",
        "quantity": Quantity.of(12.5),
        "unit_price": Money(38_000),
        "amount": Money(475_000),
        "tax_rate_bp": 1800,
        "tax": Money(85_500),
    }
    return OrderedLine(**fields | overrides)


def an_order_placed(**overrides: Any) -> OrderPlaced:
    fields: dict[str, Any] = {
        "order_id": ORDER,
        "buyer_id": BUYER,
        "payment_id": an_id("payment"),
        "payment_method": "cod",
        "reservation_id": an_id("reservation"),
        "parts": (),
        "pincode": "500081",
        "subtotal": Money(12_345_600),
        "tax": Money(2_222_208),
        "delivery": Money(50_000),
        "discount": Money(0),
        "total": Money(14_617_808),
        "placed_at": NOON,
        "pay_by": None,
    }
    return OrderPlaced(**fields | overrides)


def a_payment_captured(**overrides: Any) -> PaymentCaptured:
    fields: dict[str, Any] = {
        "payment_id": an_id("payment"),
        "order_id": ORDER,
        "buyer_id": BUYER,
        "method": "razorpay",
        "amount": Money(475_000),
    }
    return PaymentCaptured(**fields | overrides)


def a_cancellation(reason: str) -> OrderCancelled:
    return OrderCancelled(
        order_id=ORDER,
        buyer_id=BUYER,
        payment_id=an_id("payment"),
        reason=reason,  # type: ignore[arg-type]  # parametrized
    )


EVENTS: dict[Topic, object] = {
    "welcome": UserRegistered(user_id=BUYER, roles=("buyer",)),
    "order_placed": an_order_placed(),
    "order_confirmed": OrderConfirmed(order_id=ORDER, buyer_id=BUYER, confirmed_at=NOON),
    "sub_order_assigned": SubOrderAssigned(**PART, assignment=1, lines=(a_line(),), accept_by=NOON),
    "sub_order_dispatched": SubOrderDispatched(**PART),
    "sub_order_delivered": SubOrderDelivered(**PART),
    "order_completed": OrderCompleted(
        order_id=ORDER, buyer_id=BUYER, payment_id=an_id("payment"), total=Money(100)
    ),
    "order_cancelled": a_cancellation("buyer"),
    "payment_captured": a_payment_captured(),
    "refund_settled": RefundSettled(
        payment_id=an_id("payment"),
        order_id=ORDER,
        buyer_id=BUYER,
        refund_id=an_id("refund"),
        amount=Money(475_000),
    ),
}


def test_every_topic_has_an_event_in_these_tests() -> None:
    assert set(EVENTS) == set(get_args(Topic))


@pytest.mark.parametrize("topic", EVENTS)
def test_a_text_has_a_title_of_one_line_and_a_body(topic: Topic) -> None:
    text = TEMPLATES.render(topic, "en", EVENTS[topic])

    assert "\n" not in text.title
    assert 5 < len(text.title) < 80
    assert len(text.body) > 20
    assert "{" not in text.title + text.body
    assert text.body == text.body.strip()


@pytest.mark.parametrize("topic", [topic for topic in EVENTS if topic != "welcome"])
def test_a_text_about_an_order_names_it(topic: Topic) -> None:
    text = TEMPLATES.render(topic, "en", EVENTS[topic])

    assert ORDER in text.body


def test_the_vendor_reads_what_to_deliver_and_until_when_to_accept() -> None:
    text = TEMPLATES.render("sub_order_assigned", "en", EVENTS["sub_order_assigned"])

    offer = an_id("offer")
    assert f"- 12.5 bag of offer {offer} at ₹380.00: ₹4,750.00" in text.body
    assert "by 5 Jan 2026, 12:00;" in text.body


def test_each_line_of_an_order_stands_on_its_own() -> None:
    event = SubOrderAssigned(**PART, assignment=1, lines=(a_line(), a_line()), accept_by=NOON)

    text = TEMPLATES.render("sub_order_assigned", "en", event)

    assert sum(line.startswith("- 12.5 bag") for line in text.body.splitlines()) == 2


def test_a_buyer_who_pays_in_cash_is_not_asked_to_pay_before() -> None:
    text = TEMPLATES.render("order_placed", "en", an_order_placed(pay_by=None))

    assert "in cash" in text.body
    assert "Total: ₹1,46,178.08" in text.body
    assert "Discount" not in text.body


def test_a_buyer_who_pays_online_reads_until_when() -> None:
    placed = an_order_placed(pay_by=NOON, discount=Money(5_000))

    text = TEMPLATES.render("order_placed", "en", placed)

    assert "Please pay by 5 Jan 2026, 12:00" in text.body
    assert "Discount: -₹50.00" in text.body
    assert "cash" not in text.body


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("buyer", "as you asked"),
        ("payment_failed", "its payment failed"),
        ("payment_late", "not paid in time"),
        ("stock_short", "no longer in stock"),
        ("no_vendor", "no vendor"),
        ("operator", "is cancelled.\n"),
    ],
)
def test_a_cancellation_says_why(reason: str, words: str) -> None:
    text = TEMPLATES.render("order_cancelled", "en", a_cancellation(reason))

    assert words in text.body


@pytest.mark.parametrize(("method", "is_cash"), [("cod", True), ("razorpay", False)])
def test_a_receipt_says_whether_it_was_cash(method: str, *, is_cash: bool) -> None:
    text = TEMPLATES.render("payment_captured", "en", a_payment_captured(method=method))

    assert ("in cash" in text.body) is is_cash
    assert "₹4,750.00" in text.body


def test_vendors_and_buyers_are_welcomed_differently() -> None:
    vendor = UserRegistered(user_id=BUYER, roles=("vendor",))

    text = TEMPLATES.render("welcome", "en", vendor)

    assert "Register your firm" in text.body
    assert text != TEMPLATES.render("welcome", "en", EVENTS["welcome"])


@pytest.mark.parametrize("name", ["Asha", "{{ 7 * 7 }}", "{% raise %}", "<b>Asha</b>", "आशा"])
def test_a_letter_greets_by_name_whatever_the_name_is(name: str) -> None:
    letter = TEMPLATES.letter("en", name, "Body with {{ braces }}.")

    assert letter.startswith(f"Hello {name},\n\nBody with {{{{ braces }}}}.\n")


@pytest.mark.parametrize(
    ("paise", "text"),
    [
        (0, "₹0.00"),
        (5, "₹0.05"),
        (38_000, "₹380.00"),
        (12_345_678, "₹1,23,456.78"),
        (100_000_000_000, "₹1,00,00,00,000.00"),
        (-12_345_678, "-₹1,23,456.78"),
    ],
)
def test_money_is_grouped_as_in_india(paise: int, text: str) -> None:
    assert rupees(Money(paise)) == text


@given(st.integers(-(10**15), 10**15))
def test_money_is_written_to_the_paisa(paise: int) -> None:
    written = rupees(Money(paise))

    assert int(written.replace("₹", "").replace(",", "").replace(".", "")) == paise


def test_a_moment_is_written_in_indian_time() -> None:
    assert moment(datetime(2026, 1, 5, 20, 0, tzinfo=UTC)) == "6 Jan 2026, 01:30"


def a_folder(tmp_path: Path, **bodies: str) -> Path:
    for topic in get_args(Topic):
        folder = tmp_path / "en" / topic
        folder.mkdir(parents=True)
        (folder / "subject.txt").write_text("Title")
        (folder / "body.txt").write_text(bodies.get(topic, "Body"))
    (tmp_path / "en" / "letter.txt").write_text("{{ name }}{{ body }}")
    return tmp_path


def test_a_topic_without_its_files_fails_at_the_start(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (folder / "en" / "welcome" / "body.txt").unlink()

    with pytest.raises(TemplateNotFound):
        Templates(folder)


def test_a_template_that_uses_a_field_which_is_not_there_fails(tmp_path: Path) -> None:
    templates = Templates(a_folder(tmp_path, welcome="{{ event.no_such_field }}"))

    with pytest.raises(UndefinedError):
        templates.render("welcome", "en", EVENTS["welcome"])


def test_a_template_cannot_leave_its_sandbox(tmp_path: Path) -> None:
    escape = "{{ event.__class__.__mro__[1].__subclasses__() }}"
    templates = Templates(a_folder(tmp_path, welcome=escape))

    with pytest.raises(SecurityError):
        templates.render("welcome", "en", EVENTS["welcome"])
