"""What changes products, offers and what catalog knows of vendors."""

import msgspec

from bus.errors import FieldFault
from kernel.context import Context
from kernel.errors import invalid_field
from kernel.money import Money, check_price
from plugins.catalog.contract import (
    ChangeOffer,
    CreatedOffer,
    CreatedProduct,
    CreateOffer,
    CreateProduct,
    MoveStock,
    OfferChanged,
    OfferPublished,
    OwnOffer,
    PriceChanged,
    StockMoved,
)
from plugins.catalog.domain import StockChange
from plugins.catalog.errors import (
    StockIsShort,
    StockTooLarge,
    VendorNotApproved,
    VendorNotFound,
)
from plugins.catalog.listing_notes import ListingNotes
from plugins.catalog.settings import CatalogSettings
from plugins.catalog.stock_store import StockStore
from plugins.catalog.store import MAX_STOCK, OfferStore, ProductStore, VendorStore, get_own_offer
from plugins.vendor.contract import Standing, StandingOf, VendorApproved, VendorSuspended


async def create_product(command: CreateProduct, ctx: Context) -> CreatedProduct:
    """Describe a new product."""
    product_id = ctx.new_id("product")
    async with ctx.transaction() as tx:
        await ProductStore(tx).add(product_id, command, by=ctx.actor.id, at=ctx.now())
        await ListingNotes(tx, at=ctx.now()).product(product_id)
    return CreatedProduct(product_id=product_id)


async def create_offer(command: CreateOffer, ctx: Context) -> CreatedOffer:
    """Offer a product for the caller's approved vendor."""
    _check(command.price)
    standing = await _own_vendor(command.vendor_id, ctx)
    offer_id, at = ctx.new_id("offer"), ctx.now()
    async with ctx.transaction() as tx:
        await ProductStore(tx).check(command.product_id)
        await VendorStore(tx).note(standing)
        await OfferStore(tx).add(offer_id, command, by=ctx.actor.id, at=at)
        opening = StockChange(offer_id, command.stock.thousandths, 0, "opening")
        stock = StockStore(tx, by=ctx.actor.id, at=at)
        await stock.change([opening] if opening.on_hand else [])
        await ListingNotes(tx, at=at).product(command.product_id)
        tx.emit(
            OfferPublished(
                offer_id=offer_id,
                product_id=command.product_id,
                vendor_id=command.vendor_id,
                sku=command.sku,
                price=command.price,
                min_quantity=command.min_quantity,
                stock=command.stock,
            ),
            version=1,
        )
    return CreatedOffer(offer_id=offer_id)


async def change_offer(command: ChangeOffer, ctx: Context) -> OwnOffer:
    """Change price, least quantity or pause of an own offer; what is as it was says nothing."""
    _check(command.price)
    async with ctx.transaction() as tx:
        was = await get_own_offer(tx, command.offer_id, owner_id=ctx.actor.id)
        wished = msgspec.structs.replace(
            was,
            price=was.price if command.price is None else command.price,
            min_quantity=command.min_quantity or was.min_quantity,
            paused=was.paused if command.paused is None else command.paused,
        )
        if wished == was:
            return was
        changed = msgspec.structs.replace(wished, version=was.version + 1)
        await OfferStore(tx).save(changed, was=was, by=ctx.actor.id, at=ctx.now())
        await ListingNotes(tx, at=ctx.now()).product(was.product_id)
        for fact in _facts_of(changed, was):
            tx.emit(fact, version=changed.version)
    return changed


async def move_stock(command: MoveStock, ctx: Context) -> OwnOffer:
    """Note that stock of an own offer came or went."""
    change = StockChange(command.offer_id, command.delta.thousandths, 0, command.reason)
    async with ctx.transaction() as tx:
        was = await get_own_offer(tx, command.offer_id, owner_id=ctx.actor.id)
        if was.on_hand.thousandths + change.on_hand > MAX_STOCK:
            raise StockTooLarge
        if not await StockStore(tx, by=ctx.actor.id, at=ctx.now()).change([change]):
            fault = FieldFault("delta", "takes away more than is there and not reserved")
            raise StockIsShort(errors=(fault,))
        offer = await get_own_offer(tx, command.offer_id, owner_id=ctx.actor.id)
        tx.emit(
            StockMoved(
                offer_id=offer.offer_id,
                delta=command.delta,
                reason=command.reason,
                on_hand=offer.on_hand,
            )
        )
    return offer


async def open_offers_of_approved_vendor(event: VendorApproved, ctx: Context) -> None:
    """Let a vendor's offers be seen and ordered."""
    async with ctx.transaction() as tx:
        await VendorStore(tx).set_status(event.vendor_id, event.owner_id, "approved")
        await ListingNotes(tx, at=ctx.now()).products_of(event.vendor_id)


async def close_offers_of_suspended_vendor(event: VendorSuspended, ctx: Context) -> None:
    """Hide a vendor's offers; what is reserved stays reserved."""
    async with ctx.transaction() as tx:
        await VendorStore(tx).set_status(event.vendor_id, event.owner_id, "suspended")
        await ListingNotes(tx, at=ctx.now()).products_of(event.vendor_id)


async def forget_listing_changes(ctx: Context) -> None:
    """Delete notes of changed listings that every process has long read."""
    before = ctx.now() - ctx.settings(CatalogSettings).changes_kept
    async with ctx.transaction() as tx:
        await ListingNotes(tx, at=ctx.now()).forget(before=before)


async def _own_vendor(vendor_id: str, ctx: Context) -> Standing:
    standing = await ctx.ask(StandingOf(vendor_id=vendor_id))
    if standing.owner_id != ctx.actor.id:
        raise VendorNotFound
    if standing.status != "approved":
        raise VendorNotApproved
    return standing


def _check(price: Money | None) -> None:
    if price is None:
        return
    try:
        check_price(price)
    except ValueError as error:
        raise invalid_field("price", str(error)) from error


def _facts_of(changed: OwnOffer, was: OwnOffer) -> list[PriceChanged | OfferChanged]:
    facts: list[PriceChanged | OfferChanged] = []
    if changed.price != was.price:
        facts.append(
            PriceChanged(
                offer_id=was.offer_id,
                product_id=was.product_id,
                old_price=was.price,
                new_price=changed.price,
            )
        )
    if (changed.min_quantity, changed.paused) != (was.min_quantity, was.paused):
        facts.append(
            OfferChanged(
                offer_id=was.offer_id,
                product_id=was.product_id,
                min_quantity=changed.min_quantity,
                paused=changed.paused,
            )
        )
    return facts
