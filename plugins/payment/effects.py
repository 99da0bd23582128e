"""Calls to the payment provider, each answered by a command to ourselves.

None of them trusts its own memory: a repeat looks at the provider first, and a refusal is compared
with what the provider now says of the money.
"""

from sqlalchemy import bindparam, select

from kernel.context import EffectContext
from kernel.ids import to_uuid
from kernel.sql import statement
from plugins.payment.errors import ProviderRefusedError
from plugins.payment.intents import (
    AskProvider,
    CaptureAtProvider,
    NoteCapture,
    NoteProviderNews,
    NoteProviderOrder,
    NoteRefund,
    OpenAtProvider,
    ProviderRefund,
    RefundAtProvider,
)
from plugins.payment.provider import provider_of
from plugins.payment.tables import payments

IS_CANCELLED = statement(
    select(payments.c.is_cancelled).where(payments.c.payment_id == bindparam("payment_id"))
)


async def open_at_provider(intent: OpenAtProvider, ctx: EffectContext) -> NoteProviderOrder | None:
    """Open an order whose receipt is the payment's id; nothing for a payment that is cancelled already."""
    if await _is_cancelled(intent.payment_id, ctx):
        return None
    try:
        order_id = await provider_of(ctx).open_order(
            receipt=intent.payment_id, amount=intent.amount
        )
    except ProviderRefusedError:
        return NoteProviderOrder(payment_id=intent.payment_id, provider_order_id=None)
    return NoteProviderOrder(payment_id=intent.payment_id, provider_order_id=order_id)


async def find_opened(intent: OpenAtProvider, ctx: EffectContext) -> NoteProviderOrder | None:
    """Look for the order of an earlier try, so that a repeat never opens a second one."""
    order_id = await provider_of(ctx).find_order(receipt=intent.payment_id, amount=intent.amount)
    if order_id is None:
        return None
    return NoteProviderOrder(payment_id=intent.payment_id, provider_order_id=order_id)


async def capture_at_provider(intent: CaptureAtProvider, ctx: EffectContext) -> NoteCapture | None:
    """Capture the full authorised amount. A cancelled payment's authorisation is left to run out."""
    if await _is_cancelled(intent.payment_id, ctx):
        return None
    provider = provider_of(ctx)
    try:
        found = await provider.capture(intent.provider_payment_id, amount=intent.amount)
    except ProviderRefusedError:
        found = await provider.payment(intent.provider_payment_id)
        return NoteCapture(
            payment_id=intent.payment_id, found=found, is_refused=not found.was_captured
        )
    return NoteCapture(payment_id=intent.payment_id, found=found)


async def find_capture(intent: CaptureAtProvider, ctx: EffectContext) -> NoteCapture | None:
    """Ask whether an earlier try captured; an authorisation that still stands is captured again."""
    found = await provider_of(ctx).payment(intent.provider_payment_id)
    if found.status in ("created", "authorized"):
        return None
    return NoteCapture(payment_id=intent.payment_id, found=found, is_refused=not found.was_captured)


async def refund_at_provider(intent: RefundAtProvider, ctx: EffectContext) -> NoteRefund:
    """Give money back under the intent's own idempotency key."""
    try:
        found: ProviderRefund | None = await provider_of(ctx).refund(
            intent.provider_payment_id,
            amount=intent.amount,
            receipt=intent.refund_id,
            idempotency_key=ctx.idempotency_key,
        )
    except ProviderRefusedError:
        found = await _refund_like(intent, ctx)
    return NoteRefund(payment_id=intent.payment_id, refund_id=intent.refund_id, found=found)


async def find_refund(intent: RefundAtProvider, ctx: EffectContext) -> NoteRefund | None:
    """Look for the refund of an earlier try by its receipt."""
    refunds = await provider_of(ctx).refunds_of(intent.provider_payment_id)
    for found in refunds:
        if found.receipt == intent.refund_id:
            return NoteRefund(payment_id=intent.payment_id, refund_id=intent.refund_id, found=found)
    return None


async def ask_provider(intent: AskProvider, ctx: EffectContext) -> NoteProviderNews:
    """Ask what became of a payment; reading twice does no harm."""
    news = await provider_of(ctx).news_of_order(intent.provider_order_id)
    return NoteProviderNews(payment_id=intent.payment_id, news=news)


async def _refund_like(intent: RefundAtProvider, ctx: EffectContext) -> ProviderRefund | None:
    """Return the refund that makes ours needless: our own, or the like one that the provider made itself.

    Razorpay gives back a second success on an order by itself, and then refuses our refund of it.
    """
    refunds = await provider_of(ctx).refunds_of(intent.provider_payment_id)
    ours = [found for found in refunds if found.receipt == intent.refund_id]
    like = [found for found in refunds if not found.receipt and found.amount == intent.amount]
    return next(iter(ours + like), None)


async def _is_cancelled(payment_id: str, ctx: EffectContext) -> bool:
    return bool(await ctx.db.fetchval(IS_CANCELLED, payment_id=to_uuid(payment_id)))
