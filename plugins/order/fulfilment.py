"""The steps after placing: vendors accept, refuse, dispatch and deliver; buyers cancel; deadlines pass."""

from collections.abc import Collection

from bus.message import Nothing
from kernel.context import Context
from plugins.order.consequences import save
from plugins.order.contract import (
    AcceptSubOrder,
    CancelOrder,
    DeliverSubOrder,
    DispatchSubOrder,
    ExpireAcceptance,
    ExpirePayment,
    OrderView,
    RejectSubOrder,
    SubOrderView,
)
from plugins.order.errors import OrderNotFoundError
from plugins.order.settings import OrderSettings
from plugins.order.sourcing import vendors_of_caller
from plugins.order.store import OrderStore
from plugins.order.views import order_view, sub_order_view


async def accept_sub_order(command: AcceptSubOrder, ctx: Context) -> SubOrderView:
    """The vendor takes its part."""
    vendors = await _handled_vendors(ctx)
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        part = order.part(command.sub_order_id, vendors)
        order.accept(part, at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))
    return sub_order_view(part)


async def reject_sub_order(command: RejectSubOrder, ctx: Context) -> SubOrderView:
    """The vendor refuses its part; the search for another one is told to this plugin."""
    vendors = await _handled_vendors(ctx)
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        part = order.part(command.sub_order_id, vendors)
        order.reject(part, "vendor", at=ctx.now(), note=command.reason)
        await save(tx, order, ctx.settings(OrderSettings))
    return sub_order_view(part)


async def dispatch_sub_order(command: DispatchSubOrder, ctx: Context) -> SubOrderView:
    """The vendor's goods or workers set out."""
    vendors = await _handled_vendors(ctx)
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        part = order.part(command.sub_order_id, vendors)
        order.dispatch(part, at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))
    return sub_order_view(part)


async def deliver_sub_order(command: DeliverSubOrder, ctx: Context) -> SubOrderView:
    """They arrived; the last part completes the order."""
    vendors = await _handled_vendors(ctx)
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        part = order.part(command.sub_order_id, vendors)
        order.deliver(part, at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))
    return sub_order_view(part)


async def cancel_order(command: CancelOrder, ctx: Context) -> OrderView:
    """The buyer, or staff for one, calls the order off before anything of it set out."""
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        is_own = order.buyer_id == ctx.actor.id
        if not is_own and not ctx.actor.may("orders:cancel_any"):
            raise OrderNotFoundError
        order.cancel("buyer" if is_own else "operator", at=ctx.now(), note=command.reason or None)
        await save(tx, order, ctx.settings(OrderSettings))
    return order_view(order)


async def expire_payment(command: ExpirePayment, ctx: Context) -> Nothing:
    """The payment deadline passed; a timer may come late or for an order long paid."""
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        order.expire_payment(at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))
    return Nothing()


async def expire_acceptance(command: ExpireAcceptance, ctx: Context) -> Nothing:
    """One vendor's time to accept passed; it may have answered meanwhile."""
    async with ctx.transaction() as tx:
        order = await OrderStore(tx).get(command.order_id)
        part = order.part(command.sub_order_id)
        order.expire_acceptance(part, command.assignment, at=ctx.now())
        await save(tx, order, ctx.settings(OrderSettings))
    return Nothing()


async def _handled_vendors(ctx: Context) -> Collection[str] | None:
    """Return the vendors for whom the caller may act; None is all of them."""
    if ctx.actor.may("suborders:handle_any"):
        return None
    return await vendors_of_caller(ctx)
