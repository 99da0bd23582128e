"""The declaration of notification."""

from typing import Final

from kernel.http import Get
from kernel.plugin import INTERNAL, LOGGED_IN, OnRepeat, Plugin
from plugins.identity.contract import ContactsOf, UserRegistered
from plugins.notification import effects, handlers, queries
from plugins.notification.adapters.smtp import open_mailer
from plugins.notification.contract import (
    ListNotifications,
    NoteDelivery,
    NotificationFailed,
    NotificationSent,
    SendEmail,
)
from plugins.notification.mail import Mailer
from plugins.notification.rendering import Templates, open_templates
from plugins.notification.settings import NotificationSettings
from plugins.order.contract import (
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderPlaced,
    SubOrderAssigned,
    SubOrderDelivered,
    SubOrderDispatched,
)
from plugins.payment.contract import PaymentCaptured, RefundSettled
from plugins.vendor.contract import StandingOf, VendorApproved, VendorRegistered

plugin: Final = Plugin(
    "notification",
    "1.0.0",
    summary="Messages to people, by e-mail and in their list, about what happens to them",
    package="plugins.notification",
    settings=NotificationSettings,
    needs=("identity",),
    wants=("order", "payment", "vendor"),
    asks=(ContactsOf, StandingOf),
    tells=(SendEmail, NoteDelivery),
    emits=(NotificationSent, NotificationFailed),
)

plugin.query(
    ListNotifications,
    queries.list_notifications,
    allow=LOGGED_IN,
    http=Get("/notifications"),
)

plugin.react(UserRegistered, handlers.welcome)
plugin.react(OrderPlaced, handlers.to_buyer("order_placed"))
plugin.react(OrderConfirmed, handlers.to_buyer("order_confirmed"))
plugin.react(SubOrderAssigned, handlers.to_vendor)
plugin.react(SubOrderDispatched, handlers.to_buyer("sub_order_dispatched"))
plugin.react(SubOrderDelivered, handlers.to_buyer("sub_order_delivered"))
plugin.react(OrderCompleted, handlers.to_buyer("order_completed"))
plugin.react(OrderCancelled, handlers.to_buyer("order_cancelled"))
plugin.react(PaymentCaptured, handlers.to_buyer("payment_captured"))
plugin.react(RefundSettled, handlers.to_buyer("refund_settled"))
plugin.react(VendorRegistered, handlers.keep_owner)
plugin.react(VendorApproved, handlers.keep_owner)

plugin.effect(SendEmail, effects.send_email, on_repeat=OnRepeat.ONCE_MORE)
plugin.command(NoteDelivery, handlers.note_delivery, allow=INTERNAL)

plugin.provides(Templates, open_templates)
plugin.provides(Mailer, open_mailer)  # type: ignore[type-abstract]  # a port
