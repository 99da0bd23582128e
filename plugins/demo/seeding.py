"""Loading a catalogue through the API. What is there already is looked up, so a second run adds nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

from msgspec import Struct

from bus.codec import encode
from plugins.catalog.contract import (
    CreatedOffer,
    CreatedProduct,
    Listing,
    OwnOffer,
    OwnOffers,
    ProductList,
)
from plugins.demo.api import Api
from plugins.demo.catalogue import DemoCatalogue, DemoOffer, DemoProduct, DemoVendor
from plugins.demo.people import Cast
from plugins.vendor.contract import VendorState, VendorView

T = TypeVar("T")

PAGE: Final = 100
AT_ONCE: Final = 8
Progress = Callable[[int], None]
"""Told how many things are done more."""


class Added(Struct):
    """What a run added."""

    products: int = 0
    vendors: int = 0
    offers: int = 0


class Shop(NamedTuple):
    """A vendor of the demonstration, its owner's access, and its offers by SKU."""

    vendor: DemoVendor
    vendor_id: str
    owner: Api
    offers: dict[str, OwnOffer]


class Seeder:
    """Loads one catalogue; ``progress`` is told of every product and offer, new or not."""

    def __init__(
        self, cast: Cast, catalogue: DemoCatalogue, progress: Progress = lambda _: None
    ) -> None:
        self._cast = cast
        self._catalogue = catalogue
        self.progress = progress
        self.added = Added()

    @property
    def size(self) -> int:
        """How many products and offers there are to load."""
        offers = sum(len(vendor.offers) for vendor in self._catalogue.vendors)
        return len(self._catalogue.products) + offers

    async def load(self) -> list[Shop]:
        """Add what is missing and return the vendors."""
        admin = await self._cast.admin()
        product_ids = await self._load_products(admin)
        shops = [await self._open_shop(admin, vendor) for vendor in self._catalogue.vendors]
        await in_turns(
            self._publish(shop, offer, product_ids[offer.product])
            for shop in shops
            for offer in shop.vendor.offers
        )
        return shops

    async def _load_products(self, admin: Api) -> dict[str, str]:
        known = {(item.name, item.brand): item.product_id async for item in listings(admin)}
        product_ids: dict[str, str] = {}

        async def load(product: DemoProduct) -> None:
            product_id = known.get((product.name, product.brand))
            if product_id is None:
                command = product.command()
                made = await admin.post(
                    "/catalog/products", CreatedProduct, command, key=content_key(command)
                )
                product_id = made.product_id
                self.added.products += 1
            product_ids[product.key] = product_id
            self.progress(1)

        await in_turns(load(product) for product in self._catalogue.products)
        return product_ids

    async def _open_shop(self, admin: Api, vendor: DemoVendor) -> Shop:
        """Log in as the owner and find the firm by its offers; register it when there are none."""
        owner = await self._cast.enter(vendor.email, vendor.owner, "vendor")
        offers = {offer.sku: offer async for offer in own_offers(owner)}
        if offers:
            vendor_id = next(iter(offers.values())).vendor_id
        else:
            command = vendor.command()
            state = await owner.post("/vendors", VendorState, command, key=content_key(command))
            vendor_id = state.vendor_id
        found = await owner.get(f"/vendors/{vendor_id}", VendorView)
        if found.status == "pending":
            await admin.post(f"/vendors/{vendor_id}/approve", VendorState)
            self.added.vendors += 1
        return Shop(vendor, vendor_id, owner, offers)

    async def _publish(self, shop: Shop, offer: DemoOffer, product_id: str) -> None:
        if offer.sku not in shop.offers:
            command = offer.command(product_id=product_id, vendor_id=shop.vendor_id)
            await shop.owner.post(
                "/catalog/offers", CreatedOffer, command, key=content_key(command)
            )
            self.added.offers += 1
        self.progress(1)


async def is_wanting(stranger: Api, catalogue: DemoCatalogue) -> bool:
    """Tell whether the market is empty, or holds a part of this catalogue and nothing else."""
    expected = {(product.name, product.brand) for product in catalogue.products}
    page = await stranger.get("/catalog/products", ProductList, limit=PAGE)
    found = {(item.name, item.brand) for item in page.items}
    if page.next_cursor is not None or not found <= expected:
        return False
    offers = sum(len(vendor.offers) for vendor in catalogue.vendors)
    return sum(item.offers for item in page.items) < offers


async def listings(api: Api) -> AsyncIterator[Listing]:
    """Yield all products."""
    cursor: dict[str, str] = {}
    while True:
        page = await api.get("/catalog/products", ProductList, limit=PAGE, sort="name", **cursor)
        for item in page.items:
            yield item
        if page.next_cursor is None:
            return
        cursor = {"cursor": page.next_cursor}


async def own_offers(owner: Api) -> AsyncIterator[OwnOffer]:
    """Yield all offers of an owner's vendors."""
    cursor: dict[str, str] = {}
    while True:
        page = await owner.get("/catalog/offers", OwnOffers, limit=PAGE, **cursor)
        for item in page.items:
            yield item
        if page.next_cursor is None:
            return
        cursor = {"cursor": page.next_cursor}


def content_key(command: object) -> str:
    """Return the Idempotency-Key of a command: equal content, equal key."""
    return f"demo-{blake2b(encode(command), digest_size=16).hexdigest()}"


async def in_turns(work: Iterable[Awaitable[T]], at_once: int = AT_ONCE) -> list[T]:
    """Do all of it, a few things at once, and return what came of each; the first failure stops the rest."""
    queue = enumerate(work)
    done: dict[int, T] = {}

    async def worker() -> None:
        for number, one in queue:
            done[number] = await one

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [done[number] for number in sorted(done)]
