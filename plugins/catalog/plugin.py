"""The declaration of catalog: products, offers, prices, stock and its reservations, search."""

from typing import Final

from kernel.http import Get, Patch, Post
from kernel.plugin import INTERNAL, PUBLIC, Permission, Plugin
from plugins.catalog import handlers, queries, stock_handlers
from plugins.catalog.contract import (
    ChangeOffer,
    CommitStock,
    CreateOffer,
    CreateProduct,
    GetProduct,
    KeepStock,
    LapseReservation,
    ListOwnOffers,
    ListProducts,
    MoveStock,
    OfferChanged,
    OfferPublished,
    PriceChanged,
    PriceHistory,
    QuoteOffers,
    ReleaseStock,
    ReserveStock,
    StockCommitted,
    StockKept,
    StockLow,
    StockMoved,
    StockReleased,
    StockReserved,
    StockShort,
)
from plugins.catalog.queries import MANAGE
from plugins.catalog.search.listings import FreshListings, load_listings
from plugins.catalog.settings import CatalogSettings
from plugins.vendor.contract import StandingOf, VendorApproved, VendorSuspended

plugin: Final = Plugin(
    "catalog",
    "1.0.0",
    summary="What is sold, by whom, at which price, and how much is there",
    package="plugins.catalog",
    settings=CatalogSettings,
    needs=("identity", "vendor"),
    asks=(StandingOf,),
    emits=(
        OfferPublished,
        OfferChanged,
        PriceChanged,
        StockMoved,
        StockReserved,
        StockKept,
        StockCommitted,
        StockShort,
        StockReleased,
        StockLow,
    ),
    permissions=(
        Permission("products:create", "Describe a product", roles=("vendor", "admin")),
        Permission(
            MANAGE, "Offer products, change own offers and stock", roles=("vendor", "admin")
        ),
    ),
)

plugin.provides(FreshListings, FreshListings.open)
plugin.on_start(load_listings)

plugin.command(
    CreateProduct,
    handlers.create_product,
    http=Post("/catalog/products", status=201),
    allow="products:create",
)
plugin.command(
    CreateOffer,
    handlers.create_offer,
    http=Post("/catalog/offers", status=201),
    allow=MANAGE,
)
plugin.command(
    ChangeOffer,
    handlers.change_offer,
    http=Patch("/catalog/offers/{offer_id}"),
    allow=MANAGE,
)
plugin.command(
    MoveStock,
    handlers.move_stock,
    http=Post("/catalog/offers/{offer_id}/stock"),
    allow=MANAGE,
)
plugin.query(ListOwnOffers, queries.list_own_offers, http=Get("/catalog/offers"), allow=MANAGE)
plugin.query(
    PriceHistory,
    queries.price_history,
    http=Get("/catalog/offers/{offer_id}/prices"),
    allow=MANAGE,
)
plugin.query(ListProducts, queries.list_products, http=Get("/catalog/products"), allow=PUBLIC)
plugin.query(
    GetProduct, queries.get_product, http=Get("/catalog/products/{product_id}"), allow=PUBLIC
)
plugin.query(QuoteOffers, queries.quote_offers, allow=INTERNAL)

plugin.command(ReserveStock, stock_handlers.reserve_stock, allow=INTERNAL)
plugin.command(KeepStock, stock_handlers.keep_stock, allow=INTERNAL)
plugin.command(CommitStock, stock_handlers.commit_stock, allow=INTERNAL)
plugin.command(ReleaseStock, stock_handlers.release_stock, allow=INTERNAL)
plugin.command(LapseReservation, stock_handlers.lapse_reservation, allow=INTERNAL)

plugin.react(VendorApproved, handlers.open_offers_of_approved_vendor)
plugin.react(VendorSuspended, handlers.close_offers_of_suspended_vendor)

plugin.job("*/15 * * * *", handlers.forget_listing_changes)
