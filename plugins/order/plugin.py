"""The declaration of the order plugin."""

from kernel.http import Get, Live, Post
from kernel.plugin import INTERNAL, PUBLIC, Permission, Plugin
from plugins.catalog import contract as catalog
from plugins.order import (
    contract,
    fulfilment,
    outcomes,
    placing,
    projections,
    queries,
    quoting,
    reassigning,
    sales,
)
from plugins.order.settings import OrderSettings
from plugins.order.taxes import TaxTable, open_taxes
from plugins.order.zones import Zones, open_zones
from plugins.payment import contract as payment
from plugins.vendor import contract as vendor

plugin = Plugin(
    "order",
    "1.0.0",
    summary="Quotes, orders and sub-orders: placing, assigning, delivering, cancelling.",
    package="plugins.order",
    settings=OrderSettings,
    needs=("identity", "catalog", "vendor"),
    wants=("payment", "notification", "integration"),
    asks=(
        catalog.QuoteOffers,
        catalog.ReserveStock,
        vendor.EligibleVendors,
        vendor.VendorsOfOwner,
        vendor.TakeCapacity,
    ),
    tells=(
        catalog.KeepStock,
        catalog.CommitStock,
        catalog.ReleaseStock,
        vendor.CommitCapacity,
        vendor.ReleaseCapacity,
        payment.CreatePayment,
        payment.CancelPayment,
        payment.CollectCash,
        contract.ExpirePayment,
        contract.ExpireAcceptance,
        contract.ReassignSubOrder,
    ),
    emits=(
        contract.OrderPlaced,
        contract.OrderConfirmed,
        contract.SubOrderAssigned,
        contract.SubOrderAccepted,
        contract.SubOrderRejected,
        contract.SubOrderDispatched,
        contract.SubOrderDelivered,
        contract.SubOrderCancelled,
        contract.OrderCompleted,
        contract.OrderCancelled,
    ),
    permissions=(
        Permission("orders:create", "Place an order", roles=("buyer", "admin")),
        Permission(
            "orders:read",
            "See own orders",
            roles=("buyer", "vendor", "support", "finance", "viewer", "admin"),
        ),
        Permission(
            "orders:read_any",
            "See the orders of all buyers",
            roles=("support", "finance", "viewer", "admin"),
        ),
        Permission("orders:cancel", "Cancel own orders", roles=("buyer", "support", "admin")),
        Permission("orders:cancel_any", "Cancel any order", roles=("support", "admin")),
        Permission(
            "suborders:read",
            "See the sub-orders of own vendors",
            roles=("vendor", "support", "finance", "viewer", "admin"),
        ),
        Permission(
            "suborders:read_any",
            "See the sub-orders of all vendors",
            roles=("support", "finance", "viewer", "admin"),
        ),
        Permission(
            "sales:read",
            "See the sales of own vendors",
            roles=("vendor", "support", "finance", "viewer", "admin"),
        ),
        Permission(
            "sales:read_any",
            "See the sales of all vendors",
            roles=("support", "finance", "viewer", "admin"),
        ),
        Permission(
            "suborders:handle",
            "Accept, refuse, dispatch and deliver for own vendors",
            roles=("vendor", "admin"),
        ),
        Permission("suborders:handle_any", "Act for any vendor", roles=("admin",)),
    ),
)
plugin.provides(Zones, open_zones)
plugin.provides(TaxTable, open_taxes)

plugin.query(contract.QuoteOrder, quoting.quote_order, http=Post("/orders/quote"), allow=PUBLIC)
plugin.command(
    contract.PlaceOrder,
    placing.place_order,
    http=Post("/orders", status=201),
    allow="orders:create",
)
plugin.query(contract.ListOrders, queries.list_orders, http=Get("/orders"), allow="orders:read")
plugin.query(
    contract.GetOrder, queries.get_order, http=Get("/orders/{order_id}"), allow="orders:read"
)
plugin.query(
    contract.GetOrderHistory,
    queries.order_history_after,
    http=Get("/orders/{order_id}/history"),
    allow="orders:read",
)
plugin.query(
    contract.FollowOrder,
    queries.order_history_after,
    http=Live("/orders/{order_id}/live", key="order_id", bells=("order",)),
    allow="orders:read",
)
plugin.command(
    contract.CancelOrder,
    fulfilment.cancel_order,
    http=Post("/orders/{order_id}/cancel"),
    allow="orders:cancel",
)
plugin.query(
    contract.ListSubOrders,
    queries.list_sub_orders,
    http=Get("/vendors/{vendor_id}/sub-orders"),
    allow="suborders:read",
)
plugin.query(
    contract.ListSales,
    sales.list_sales,
    http=Get("/vendors/{vendor_id}/sales"),
    allow="sales:read",
)
plugin.command(
    contract.AcceptSubOrder,
    fulfilment.accept_sub_order,
    http=Post("/orders/{order_id}/sub-orders/{sub_order_id}/accept"),
    allow="suborders:handle",
)
plugin.command(
    contract.RejectSubOrder,
    fulfilment.reject_sub_order,
    http=Post("/orders/{order_id}/sub-orders/{sub_order_id}/reject"),
    allow="suborders:handle",
)
plugin.command(
    contract.DispatchSubOrder,
    fulfilment.dispatch_sub_order,
    http=Post("/orders/{order_id}/sub-orders/{sub_order_id}/dispatch"),
    allow="suborders:handle",
)
plugin.command(
    contract.DeliverSubOrder,
    fulfilment.deliver_sub_order,
    http=Post("/orders/{order_id}/sub-orders/{sub_order_id}/deliver"),
    allow="suborders:handle",
)
plugin.command(contract.ExpirePayment, fulfilment.expire_payment, allow=INTERNAL)
plugin.command(contract.ExpireAcceptance, fulfilment.expire_acceptance, allow=INTERNAL)
plugin.command(contract.ReassignSubOrder, reassigning.reassign_sub_order, allow=INTERNAL)

plugin.react(payment.PaymentCaptured, outcomes.take_payment)
plugin.react(payment.PaymentFailed, outcomes.fail_payment)
plugin.react(payment.RefundSettled, outcomes.note_refund)
plugin.react(catalog.StockShort, outcomes.run_short)

plugin.model("sales", tables=("vendor_sales",))
plugin.project(contract.OrderPlaced, projections.note_sales, model="sales")
plugin.project(contract.SubOrderAssigned, projections.move_sale, model="sales")
plugin.project(contract.SubOrderDelivered, projections.deliver_sale, model="sales")
plugin.project(contract.SubOrderCancelled, projections.cancel_sale, model="sales")
plugin.project(contract.OrderCancelled, projections.cancel_sales, model="sales")
