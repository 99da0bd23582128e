"""Questions about payments."""

from sqlalchemy import func, select

from kernel.context import Context
from kernel.ids import to_uuid
from kernel.sql import statement
from plugins.payment.contract import (
    CountWebhooks,
    GetPayment,
    PaymentView,
    WebhookCount,
    WebhookCounts,
)
from plugins.payment.domain import Payment
from plugins.payment.errors import PaymentNotFoundError
from plugins.payment.settings import PaymentSettings
from plugins.payment.store import fold
from plugins.payment.tables import webhooks_received

PAYMENT_WITH_FACTS = statement(
    """
    SELECT p.payment_id, p.order_id, p.buyer_id, p.method, p.currency, p.pay_by,
        p.amount AS payment_amount, f.fact_id, f.kind, f.at, f.amount, f.attempt, f.refund_id,
        f.provider_id, f.reason
    FROM payments p JOIN payment_facts f ON f.payment_id = p.payment_id
    WHERE p.payment_id = :payment_id
      AND (CAST(:is_any AS boolean) OR p.buyer_id = CAST(:buyer_id AS uuid))
    ORDER BY f.version
    """
)
WEBHOOK_COUNTS = statement(
    select(webhooks_received.c.outcome, func.count().label("count"))
    .group_by(webhooks_received.c.outcome)
    .order_by(webhooks_received.c.outcome)
)


async def payment_by_id(query: GetPayment, ctx: Context) -> PaymentView:
    """Show a payment to its buyer or to finance staff: the fold of its facts."""
    rows = await ctx.db.fetch(
        PAYMENT_WITH_FACTS,
        payment_id=to_uuid(query.payment_id),
        is_any=ctx.actor.may("payments:read_any"),
        buyer_id=to_uuid(ctx.actor.id) if ctx.actor.kind == "user" else None,
    )
    if not rows:
        raise PaymentNotFoundError(retry_after=1.0)
    head = {**rows[0], "amount": rows[0]["payment_amount"]}
    return view_of(fold(head, rows), ctx.settings(PaymentSettings))


async def webhook_counts(query: CountWebhooks, ctx: Context) -> WebhookCounts:
    """Count the webhooks by what became of them."""
    rows = await ctx.db.fetch(WEBHOOK_COUNTS)
    return WebhookCounts(
        items=tuple(WebhookCount(outcome=row["outcome"], count=row["count"]) for row in rows)
    )


def view_of(payment: Payment, settings: PaymentSettings) -> PaymentView:
    """Return the payment as its buyer sees it."""
    has_order = payment.provider_order_id is not None
    return PaymentView(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        method=payment.method,
        status=payment.status,
        amount=payment.amount,
        authorized=payment.authorized,
        captured=payment.captured,
        refunded=payment.refunded,
        provider_order_id=payment.provider_order_id,
        provider_key_id=settings.key_id if has_order else None,
        version=payment.version,
    )
