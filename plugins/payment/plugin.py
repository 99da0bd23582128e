"""The declaration of payment."""

from kernel.http import Get, Post, RawPost
from kernel.plugin import INTERNAL, PUBLIC, OnRepeat, Permission, Plugin
from plugins.order.contract import SubOrderCancelled
from plugins.payment import effects, handlers, queries, webhooks
from plugins.payment.adapters.razorpay import razorpay
from plugins.payment.contract import (
    CancelPayment,
    CollectCash,
    CountWebhooks,
    CreatePayment,
    GetPayment,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentFailed,
    PaymentRequested,
    ReceiveRazorpayWebhook,
    RefundFailed,
    RefundRequested,
    RefundSettled,
    VerifyPayment,
)
from plugins.payment.intents import (
    AskProvider,
    CaptureAtProvider,
    HandleWebhook,
    NoteCapture,
    NoteProviderNews,
    NoteProviderOrder,
    NoteRefund,
    OpenAtProvider,
    RefundAtProvider,
)
from plugins.payment.provider import PaymentProvider
from plugins.payment.settings import PaymentSettings

plugin = Plugin(
    "payment",
    "1.0.0",
    summary="What is owed, taken and given back: cash, Razorpay, refunds and the ledger.",
    package="plugins.payment",
    settings=PaymentSettings,
    needs=("identity",),
    wants=("order",),
    tells=(
        OpenAtProvider,
        CaptureAtProvider,
        RefundAtProvider,
        AskProvider,
        HandleWebhook,
        NoteProviderOrder,
        NoteCapture,
        NoteRefund,
        NoteProviderNews,
    ),
    emits=(
        PaymentRequested,
        PaymentAuthorized,
        PaymentCaptured,
        PaymentFailed,
        RefundRequested,
        RefundSettled,
        RefundFailed,
    ),
    permissions=(
        Permission("payments:pay", "Pay for one's own orders", roles=("buyer", "admin")),
        Permission(
            "payments:read",
            "See one's own payments",
            roles=("buyer", "support", "finance", "viewer", "admin"),
        ),
        Permission(
            "payments:read_any",
            "See everybody's payments",
            roles=("support", "finance", "viewer", "admin"),
        ),
    ),
)

plugin.provides(PaymentProvider, razorpay)  # type: ignore[type-abstract]  # mypy has no type of a Protocol

plugin.query(
    GetPayment,
    queries.payment_by_id,
    http=Get("/payments/{payment_id}"),
    allow="payments:read",
)
plugin.query(
    CountWebhooks,
    queries.webhook_counts,
    http=Get("/payments/webhooks/counts"),
    allow="payments:read_any",
)
plugin.command(
    VerifyPayment,
    handlers.verify_payment,
    http=Post("/payments/{payment_id}/verify"),
    allow="payments:pay",
)
plugin.command(
    ReceiveRazorpayWebhook,
    webhooks.receive_webhook,
    http=RawPost(
        "/payments/webhooks/razorpay", headers=("x-razorpay-signature", "x-razorpay-event-id")
    ),
    allow=PUBLIC,
    timeout=5.0,
)

plugin.command(CreatePayment, handlers.create_payment, allow=INTERNAL)
plugin.command(CancelPayment, handlers.cancel_payment, allow=INTERNAL)
plugin.command(CollectCash, handlers.collect_cash, allow=INTERNAL)
plugin.react(SubOrderCancelled, handlers.refund_cancelled_part)
plugin.command(HandleWebhook, webhooks.handle_webhook, allow=INTERNAL)

plugin.effect(OpenAtProvider, effects.open_at_provider, on_repeat=effects.find_opened, timeout=60.0)
plugin.effect(
    CaptureAtProvider, effects.capture_at_provider, on_repeat=effects.find_capture, timeout=60.0
)
plugin.effect(
    RefundAtProvider, effects.refund_at_provider, on_repeat=effects.find_refund, timeout=60.0
)
plugin.effect(AskProvider, effects.ask_provider, on_repeat=OnRepeat.SAME_KEY, timeout=120.0)

plugin.command(NoteProviderOrder, handlers.note_provider_order, allow=INTERNAL)
plugin.command(NoteCapture, handlers.note_capture, allow=INTERNAL)
plugin.command(NoteRefund, handlers.note_refund, allow=INTERNAL)
plugin.command(NoteProviderNews, handlers.note_provider_news, allow=INTERNAL)

plugin.job("*/5 * * * *", handlers.ask_about_quiet_payments)
plugin.job("20 3 * * *", webhooks.forget_webhook_bodies)
