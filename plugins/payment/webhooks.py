"""Webhooks in: checked on the raw body, stored, answered; then handled by a command of their own."""

import re
from hashlib import sha256
from typing import Final

import msgspec
import structlog

from bus.message import Nothing
from kernel.context import Context, Tx
from plugins.payment.adapters.wire import EventName, Payload, Webhook
from plugins.payment.contract import ReceiveRazorpayWebhook
from plugins.payment.errors import AmountMismatchError, BadWebhookSignatureError
from plugins.payment.intents import HandleWebhook, ProviderNews
from plugins.payment.settings import PaymentSettings
from plugins.payment.signatures import is_webhook_signature
from plugins.payment.store import PaymentStore, moment_of
from plugins.payment.webhook_store import Outcome, WebhookStore

HANDLED: Final = frozenset(
    {
        "payment.authorized",
        "payment.captured",
        "payment.failed",
        "order.paid",
        "refund.created",
        "refund.processed",
        "refund.failed",
    }
)
"""Events whose entities say something about money. The others are kept and ignored."""

_EVENT_ID: Final = re.compile(r"[!-~]{1,128}")
_log = structlog.get_logger(__name__)


async def receive_webhook(command: ReceiveRazorpayWebhook, ctx: Context) -> Nothing:
    """Store a webhook that the provider signed; the same event again changes nothing."""
    settings = ctx.settings(PaymentSettings)
    if not is_webhook_signature(
        command.x_razorpay_signature, body=command.body, secrets=settings.webhook_secrets
    ):
        raise BadWebhookSignatureError
    webhook_id = ctx.new_id("webhook")
    async with ctx.transaction() as tx:
        event_id = event_id_of(command.x_razorpay_event_id, command.body)
        if await WebhookStore(tx).keep(webhook_id, event_id, command.body, ctx.now()):
            tx.tell(HandleWebhook(webhook_id=webhook_id))
    return Nothing()


def event_id_of(header: str, body: bytes) -> str:
    """Return the event's identity: its header, or the body's digest for a webhook that has none."""
    if _EVENT_ID.fullmatch(header):
        return header
    return f"sha256:{sha256(body).hexdigest()}"


async def handle_webhook(command: HandleWebhook, ctx: Context) -> Nothing:
    """Take a stored webhook to its payment, and note what became of it."""
    async with ctx.transaction() as tx:
        store = WebhookStore(tx)
        row = await store.unhandled(command.webhook_id)
        if row is None:
            return Nothing()
        event, payload = read_webhook(row["body"])
        provider_order_id = payload.provider_order_id if payload is not None else None
        if event is None:
            outcome: Outcome = "unreadable"
        elif payload is None:
            outcome = "ignored"
        else:
            outcome = await _learn(payload, tx, ctx)
        await store.settle(
            command.webhook_id,
            outcome,
            at=ctx.now(),
            event=event,
            provider_order_id=provider_order_id,
        )
    if outcome not in ("handled", "ignored"):
        _log.warning("payment_webhook_not_handled", webhook_id=command.webhook_id, outcome=outcome)
    return Nothing()


def read_webhook(body: bytes) -> tuple[str | None, Payload | None]:
    """Return the event's name and its payload: no name when unreadable, no payload when not for us."""
    try:
        event = msgspec.json.decode(body, type=EventName).event[:100]
        if event not in HANDLED:
            return event, None
        return event, msgspec.json.decode(body, type=Webhook).payload
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, None


async def _learn(payload: Payload, tx: Tx, ctx: Context) -> Outcome:
    provider_order_id = payload.provider_order_id
    if provider_order_id is None:
        return "unmatched"
    store = PaymentStore(tx)
    payment = await store.find_by_provider_order(provider_order_id)
    if payment is None:
        return "unmatched"
    try:
        payment.learn(news_of(payload), moment_of(ctx))
    except AmountMismatchError:
        return "mismatched"
    await store.save(payment)
    return "handled"


def news_of(payload: Payload) -> ProviderNews:
    """Return what the entities of a webhook say about money."""
    payment, refund = payload.payment, payload.refund
    return ProviderNews(
        payments=() if payment is None else (payment.entity.to_news(),),
        refunds=() if refund is None else (refund.entity.to_news(),),
    )


async def forget_webhook_bodies(ctx: Context) -> None:
    """Drop the bodies of webhooks that are older than the settings keep them."""
    kept = ctx.settings(PaymentSettings).webhook_bodies_kept
    async with ctx.transaction() as tx:
        await WebhookStore(tx).forget_bodies(now=ctx.now(), kept=kept)
