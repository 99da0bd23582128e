"""Outcomes that other plugins report: money that came or did not, stock that is gone after all."""

from kernel.context import Context
from plugins.catalog.contract import StockShort
from plugins.order.consequences import save
from plugins.order.settings import OrderSettings
from plugins.order.store import OrderStore
from plugins.payment.contract import PaymentCaptured, PaymentFailed, RefundSettled


async def take_payment(event: PaymentCaptured, ctx: Context) -> None:
    """Confirm the order that this payment covers; of a cancelled order the money goes back."""
    settings, now = ctx.settings(OrderSettings), ctx.now()
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(event.order_id)
        order.take_payment(event, at=now, accept_by=now + settings.acceptance_window)
        await save(tx, order, settings)


async def fail_payment(event: PaymentFailed, ctx: Context) -> None:
    """Cancel the order that will not be paid."""
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(event.order_id)
        order.fail_payment(event, at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))


async def note_refund(event: RefundSettled, ctx: Context) -> None:
    """Show the buyer that the money is back."""
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(event.order_id)
        order.note_refund(event, at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))


async def run_short(event: StockShort, ctx: Context) -> None:
    """Compensate for stock that was sold and is gone."""
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(event.order_id)
        order.run_short(event.reservation_id, event.offer_ids, at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))
