"""Reading webhooks: only what says something about money, and never more of it than that."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.money import Money
from plugins.payment.webhooks import event_id_of, news_of, read_webhook


def _body(event: str, **entities: dict[str, Any]) -> bytes:
    payload = {name: {"entity": entity} for name, entity in entities.items()}
    return msgspec.json.encode({"entity": "event", "event": event, "payload": payload})


PAYMENT = {
    "id": "pay_1",
    "amount": 50_000,
    "currency": "INR",
    "status": "captured",
    "captured": True,
    "order_id": "order_1",
    "email": "asha@buyer.example",
    "notes": [],
}
REFUND = {
    "id": "rfnd_1",
    "payment_id": "pay_1",
    "amount": 50_000,
    "currency": "INR",
    "status": "processed",
    "receipt": None,
}


def test_a_payment_event_says_what_became_of_the_money() -> None:
    event, payload = read_webhook(_body("payment.captured", payment=PAYMENT))

    assert event == "payment.captured"
    assert payload is not None
    assert payload.provider_order_id == "order_1"
    [payment] = news_of(payload).payments
    assert (payment.status, payment.amount) == ("captured", Money(50_000))


def test_a_refund_event_brings_its_payment_along() -> None:
    _, payload = read_webhook(_body("refund.processed", payment=PAYMENT, refund=REFUND))

    assert payload is not None
    news = news_of(payload)
    assert [refund.provider_refund_id for refund in news.refunds] == ["rfnd_1"]
    assert [payment.provider_payment_id for payment in news.payments] == ["pay_1"]


def test_an_event_about_something_else_is_left_alone() -> None:
    assert read_webhook(_body("payment.downtime.started", downtime={"id": "down_1"})) == (
        "payment.downtime.started",
        None,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"event": 1}',
        b"\xff\xfe",
        _body("payment.captured", payment={**PAYMENT, "amount": "all of it"}),
        _body("payment.captured", payment={**PAYMENT, "status": "lost"}),
    ],
)
def test_what_cannot_be_read_has_no_name(body: bytes) -> None:
    assert read_webhook(body) == (None, None)


@given(st.binary(max_size=300))
def test_no_body_whatever_raises(body: bytes) -> None:
    read_webhook(body)


def test_the_header_is_the_events_identity() -> None:
    assert event_id_of("evt_1", b"body") == "evt_1"


@pytest.mark.parametrize("header", ["", " ", "a b", "x" * 129, "evt\x00"])
def test_without_a_usable_header_the_body_is_its_identity(header: str) -> None:
    assert event_id_of(header, b"body") == event_id_of("", b"body")


def test_different_bodies_without_a_header_are_different_events() -> None:
    assert event_id_of("", b"one") != event_id_of("", b"two")
