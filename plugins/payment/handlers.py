"""Commands about payments: load, tell, save, answer."""

from bus.message import Nothing
from kernel.context import Context
from plugins.order.contract import SubOrderCancelled
from plugins.payment.contract import (
    CancelPayment,
    CollectCash,
    CreatePayment,
    PaymentView,
    VerifyPayment,
)
from plugins.payment.domain import Payment
from plugins.payment.errors import (
    BadSignatureError,
    NotPayableOnlineError,
    PaymentNotFoundError,
)
from plugins.payment.intents import (
    AskProvider,
    HandleWebhook,
    NoteCapture,
    NoteProviderNews,
    NoteProviderOrder,
    NoteRefund,
    ProviderNews,
    ProviderPayment,
)
from plugins.payment.queries import view_of
from plugins.payment.settings import PaymentSettings
from plugins.payment.signatures import is_checkout_signature
from plugins.payment.store import PaymentStore, moment_of
from plugins.payment.webhook_store import WebhookStore


async def create_payment(command: CreatePayment, ctx: Context) -> Nothing:
    """Begin the payment of a placed order; a payment that exists already is left as it is."""
    payment = Payment(
        payment_id=command.payment_id,
        order_id=command.order_id,
        buyer_id=command.buyer_id,
        method=command.method,
        amount=command.amount,
        pay_by=command.pay_by,
    )
    async with ctx.transaction() as tx:
        payment.create(moment_of(ctx))
        await PaymentStore(tx).add(payment)
    return Nothing()


async def cancel_payment(command: CancelPayment, ctx: Context) -> Nothing:
    """Take no more money, and give back what was taken."""
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get_told(command.payment_id)
        payment.cancel(command.reason, moment_of(ctx))
        await store.save(payment)
    return Nothing()


async def collect_cash(command: CollectCash, ctx: Context) -> Nothing:
    """Note that the cash of a delivered order was taken."""
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get_told(command.payment_id)
        payment.collect_cash(command.amount, moment_of(ctx))
        await store.save(payment)
    return Nothing()


async def refund_cancelled_part(event: SubOrderCancelled, ctx: Context) -> None:
    """Give back what was paid for a part of an order that will not be delivered."""
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get_told(event.payment_id)
        payment.refund_part(event.amount, "no_vendor", moment_of(ctx))
        await store.save(payment)


async def verify_payment(command: VerifyPayment, ctx: Context) -> PaymentView:
    """Take the checkout's word for an authorisation when its signature holds; then capture."""
    settings = ctx.settings(PaymentSettings)
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get(command.payment_id)
        if payment.buyer_id != ctx.actor.id:
            raise PaymentNotFoundError(retry_after=1.0)
        if payment.provider_order_id is None:
            raise NotPayableOnlineError
        is_signed = is_checkout_signature(
            command.razorpay_signature,
            provider_order_id=command.razorpay_order_id,
            provider_payment_id=command.razorpay_payment_id,
            key_secret=settings.key_secret,
        )
        if not is_signed or command.razorpay_order_id != payment.provider_order_id:
            raise BadSignatureError
        authorized = ProviderPayment(
            provider_payment_id=command.razorpay_payment_id,
            status="authorized",
            amount=payment.amount,
        )
        payment.learn(ProviderNews(payments=(authorized,)), moment_of(ctx))
        await store.save(payment)
    return view_of(payment, settings)


async def note_provider_order(command: NoteProviderOrder, ctx: Context) -> Nothing:
    """Note the provider's order, and handle the webhooks that came before it was known."""
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get_told(command.payment_id)
        if command.provider_order_id is None:
            payment.refuse(moment_of(ctx))
        else:
            payment.open(command.provider_order_id, moment_of(ctx))
            for webhook_id in await WebhookStore(tx).unmatched(command.provider_order_id):
                tx.tell(HandleWebhook(webhook_id=webhook_id))
        await store.save(payment)
    return Nothing()


async def note_capture(command: NoteCapture, ctx: Context) -> Nothing:
    """Note what became of a capture."""
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get_told(command.payment_id)
        if command.is_refused:
            payment.capture_refused(command.found.provider_payment_id, moment_of(ctx))
        else:
            payment.learn(ProviderNews(payments=(command.found,)), moment_of(ctx))
        await store.save(payment)
    return Nothing()


async def note_refund(command: NoteRefund, ctx: Context) -> Nothing:
    """Note what became of a refund; a pending one is settled by webhook or by asking."""
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get_told(command.payment_id)
        payment.answer_refund(command.refund_id, command.found, moment_of(ctx))
        await store.save(payment)
    return Nothing()


async def note_provider_news(command: NoteProviderNews, ctx: Context) -> Nothing:
    """Note what the provider answered when it was asked."""
    async with ctx.transaction() as tx:
        store = PaymentStore(tx)
        payment = await store.get_told(command.payment_id)
        payment.learn(command.news, moment_of(ctx))
        await store.save(payment)
    return Nothing()


async def ask_about_quiet_payments(ctx: Context) -> None:
    """Ask the provider about payments and refunds whose webhook never came."""
    quiet_since = ctx.now() - ctx.settings(PaymentSettings).ask_after
    async with ctx.transaction() as tx:
        quiet = await PaymentStore(tx).take_quiet(quiet_since, ctx.now())
        for payment_id, provider_order_id in quiet:
            tx.tell(AskProvider(payment_id=payment_id, provider_order_id=provider_order_id))
