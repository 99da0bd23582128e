"""An e-mail's delivery, its moves, and the declaration that drives it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from bus.codec import convert
from bus.errors import UndecodableError
from kernel.ids import derived_uuid, new_uuid7, time_of, to_wire
from kernel.plugin import INTERNAL, LOGGED_IN, OnRepeat
from plugins.notification.contract import NotificationFailed, NotificationSent
from plugins.notification.domain import FAILED, MOVES, QUEUED, SENT, Delivery
from plugins.notification.errors import IllegalDeliveryMoveError
from plugins.notification.handlers import notification_uuid
from plugins.notification.plugin import plugin
from plugins.notification.settings import NotificationSettings

NOON = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)
NOTIFICATION = to_wire("notification", derived_uuid(NOON, "notification"))
USER = to_wire("user", derived_uuid(NOON, "user"))
README = Path(__file__).parents[3] / "plugins" / "notification" / "README.md"


def a_delivery(**overrides: Any) -> Delivery:
    fields: dict[str, Any] = {
        "notification_id": NOTIFICATION,
        "user_id": USER,
        "topic": "order_placed",
    }
    return Delivery(**fields | overrides)


def test_a_sent_message_is_a_fact() -> None:
    delivery = a_delivery()

    delivery.sent(at=NOON)

    assert (delivery.state, delivery.settled_at) == (SENT, NOON)
    assert delivery.facts == [
        NotificationSent(
            notification_id=NOTIFICATION, user_id=USER, topic="order_placed", channel="email"
        )
    ]


def test_a_failed_message_is_a_fact_with_its_reason() -> None:
    delivery = a_delivery()

    delivery.failed("refused", 550, at=NOON)

    assert (delivery.state, delivery.reason, delivery.reply_code) == (FAILED, "refused", 550)
    assert delivery.facts == [
        NotificationFailed(
            notification_id=NOTIFICATION,
            user_id=USER,
            topic="order_placed",
            channel="email",
            reason="refused",
        )
    ]


def test_sent_twice_is_sent_once() -> None:
    delivery = a_delivery(state=SENT, settled_at=NOON)

    delivery.sent(at=datetime(2026, 1, 6, tzinfo=UTC))

    assert delivery.facts == []
    assert delivery.settled_at == NOON


def test_failed_twice_is_failed_once() -> None:
    delivery = a_delivery(state=FAILED, reason="no_address", settled_at=NOON)

    delivery.failed("refused", 550, at=NOON)

    assert delivery.facts == []
    assert delivery.reason == "no_address"


def test_a_sent_message_cannot_fail_any_more() -> None:
    delivery = a_delivery(state=SENT)

    with pytest.raises(IllegalDeliveryMoveError):
        delivery.failed("refused", 550, at=NOON)

    assert delivery.facts == []


def test_a_failed_message_cannot_be_sent_any_more() -> None:
    delivery = a_delivery(state=FAILED, reason="refused")

    with pytest.raises(IllegalDeliveryMoveError):
        delivery.sent(at=NOON)

    assert delivery.facts == []


def test_the_diagram_in_the_readme_is_that_of_the_moves() -> None:
    assert MOVES.states == (QUEUED, SENT, FAILED)
    assert MOVES.diagram() in README.read_text("utf-8")


def test_one_event_has_one_message_for_each_reader_and_topic() -> None:
    event, other_event = new_uuid7(), new_uuid7()
    ids: set[UUID] = {
        notification_uuid(event, USER, "order_placed"),
        notification_uuid(event, USER, "order_placed"),
        notification_uuid(event, USER, "order_confirmed"),
        notification_uuid(event, "user_other", "order_placed"),
        notification_uuid(other_event, USER, "order_placed"),
    }

    assert len(ids) == 4
    assert time_of(notification_uuid(event, USER, "welcome")) == time_of(event)


def test_a_repeated_e_mail_is_sent_once_more_and_counted() -> None:
    (effect,) = plugin.of_kind("effect")

    assert effect.on_repeat is OnRepeat.ONCE_MORE


def test_only_users_read_messages_and_only_plugins_note_deliveries() -> None:
    allowed = {spec.name: spec.allow for spec in plugin.of_kind("query", "command")}

    assert allowed == {"list_notifications": LOGGED_IN, "note_delivery": INTERNAL}


def test_the_intent_carries_an_id_and_nothing_else() -> None:
    (effect,) = plugin.of_kind("effect")

    assert effect.message is not None
    assert effect.message.cls.__struct_fields__ == ("notification_id",)


@pytest.mark.parametrize(
    ("smtp", "words"),
    [
        ({"username": "realserv", "password": "secret"}, "in the clear"),
        ({"username": "realserv", "security": "tls"}, "both or neither"),
        ({"password": "secret", "security": "tls"}, "both or neither"),
        ({"port": 0}, "port"),
        ({"hots": "mail.example"}, "hots"),
    ],
)
def test_mail_settings_that_cannot_be_meant_are_refused(smtp: dict[str, Any], words: str) -> None:
    with pytest.raises(UndecodableError, match=words):
        convert({"smtp": smtp}, NotificationSettings)


def test_a_mail_password_does_not_show() -> None:
    smtp = {"username": "realserv", "password": "hunter22", "security": "starttls"}

    settings = convert({"smtp": smtp, "sender_address": "a@b.example"}, NotificationSettings)

    assert "hunter22" not in repr(settings)
    assert settings.smtp.security == "starttls"
