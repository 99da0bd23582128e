"""How fast catalog answers lists and products: its own functions on a real PostgreSQL, no bus, no HTTP.

Run: ``python bench/catalog_list.py [products ...]``. Beside each figure stands what the same process
takes to read one row by asyncpg, so that machines can be compared.
"""

import argparse
import asyncio
import gc
import itertools
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from bus.codec import encode
from kernel.database import Database
from kernel.ids import derived_uuid, to_wire
from kernel.sql import statement
from kernel.testing import PluginHarness
from kernel.testing.stack import fresh_database, running_stack
from plugins.catalog import queries
from plugins.catalog.contract import GetProduct, ListProducts, QuoteOffers
from plugins.catalog.plugin import plugin
from plugins.catalog.search.listings import FreshListings
from plugins.catalog.settings import CatalogSettings

OFFERS_PER_PRODUCT = 3
VENDORS = 6
NOUNS = (
    ("OPC 53 cement", "cement", "material"),
    ("PPC cement", "cement", "material"),
    ("TMT bar Fe 550D 12 mm", "steel", "material"),
    ("Manufactured sand", "sand", "material"),
    ("Aggregate 20 mm", "aggregate", "material"),
    ("Fly ash brick", "bricks", "material"),
    ("AAC block 150 mm", "blocks", "material"),
    ("Emulsion paint", "paint", "material"),
    ("CPVC pipe 25 mm", "plumbing", "material"),
    ("Mason", "masonry", "labour"),
    ("Electrician", "electrical", "labour"),
)
TEXTS = (None, "cement", "sariya 12mm", "msand", "jelly 20mm", "eent", "cemnet", "mistri", "paint")
ONE_ROW = statement("SELECT name FROM products WHERE product_id = :product_id")
INSERT_PRODUCTS = statement(
    """
    INSERT INTO products
    SELECT id, name, category, kind, 'bag', '2523', 'Delivered within a day.', 'Golconda', 'bench',
        now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:categories AS text[]),
        CAST(:kinds AS text[])) AS p (id, name, category, kind)
    """
)
INSERT_VENDORS = statement(
    "INSERT INTO vendors SELECT id, 'bench', 'Vendor', 'approved' FROM unnest(CAST(:ids AS uuid[])) AS id"
)
INSERT_OFFERS = statement(
    """
    INSERT INTO offers
    SELECT id, product, vendor, 'S' || n, 10000 + (n * 7919) % 90000, 'INR', 1000, false, 1, now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:products AS uuid[]), CAST(:vendors AS uuid[]))
        WITH ORDINALITY AS o (id, product, vendor, n)
    """
)
INSERT_STOCKS = statement("INSERT INTO stocks SELECT offer_id, 100000000, 0, 100000000 FROM offers")
SELL_SOME = statement(
    """
    WITH sold AS (
        UPDATE stocks SET reserved = reserved + 1000 WHERE offer_id = :offer_id RETURNING offer_id
    )
    INSERT INTO listing_changes (product_id, changed_at)
    SELECT product_id, now() FROM offers JOIN sold USING (offer_id)
    """
)


async def main() -> None:
    """Measure at each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("products", nargs="*", type=int, default=[1_000, 10_000])
    sizes: list[int] = parser.parse_args().products
    with tempfile.TemporaryDirectory(prefix="realserv-bench-") as folder:
        async with running_stack(Path(folder)) as stack:
            for size in sizes:
                async with (
                    fresh_database(stack) as address,
                    PluginHarness.open(plugin, address) as harness,
                ):
                    await measure(harness.runtime.database, size)


async def measure(database: Database, size: int) -> None:
    """Fill the tables, then measure each question."""
    products, offers = await fill(database, size)
    tracemalloc.start()
    listings = FreshListings(CatalogSettings())
    began = time.perf_counter()
    await listings.refresh(database)
    loaded = time.perf_counter() - began
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    print(f"\n{size} products: loaded in {loaded:.2f} s (traced), {held:.1f} MB")

    async def listed(query: ListProducts) -> object:
        return await listings.search(query, database, must_be_fresh=False)

    queries_of = {
        "list, one query again and again": itertools.cycle([ListProducts()]),
        "list, 2 000 different queries": itertools.cycle(many_queries()),
    }
    await rate("one row by asyncpg", lambda: one_row(database, products))
    for name, source in queries_of.items():
        await rate(name, lambda source=source: listed(next(source)))  # type: ignore[misc]  # bound now
        await rate(
            f"{name}, encoded",
            lambda source=source: encoded(listed(next(source))),  # type: ignore[misc]  # bound now
        )
    selling = asyncio.create_task(sell(database, offers))
    source = itertools.cycle(many_queries())
    await rate(
        "list, different queries while 200 offers a second sell", lambda: listed(next(source))
    )
    await rate("list, one query while 200 offers a second sell", lambda: listed(ListProducts()))
    selling.cancel()
    context = _Reading(database)
    await rate("product by id", lambda: context.product(products))
    await rate("quote of two offers", lambda: context.quote(offers))


async def fill(database: Database, size: int) -> tuple[list[UUID], list[UUID]]:
    """Insert products of the trade, three offers each."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    products = [derived_uuid(start + timedelta(seconds=n), "p", str(n)) for n in range(size)]
    vendors = [derived_uuid(start, "v", str(n)) for n in range(VENDORS)]
    pairs = [
        (p, vendors[(n + k) % VENDORS])
        for n, p in enumerate(products)
        for k in range(OFFERS_PER_PRODUCT)
    ]
    offers = [derived_uuid(start, "o", str(n)) for n in range(len(pairs))]
    nouns = [NOUNS[n % len(NOUNS)] for n in range(size)]
    await database.execute(
        INSERT_PRODUCTS,
        ids=products,
        names=[f"{noun[0]} no {n}" for n, noun in enumerate(nouns)],
        categories=[noun[1] for noun in nouns],
        kinds=[noun[2] for noun in nouns],
    )
    await database.execute(INSERT_VENDORS, ids=vendors)
    await database.execute(
        INSERT_OFFERS, ids=offers, products=[p for p, _ in pairs], vendors=[v for _, v in pairs]
    )
    await database.execute(INSERT_STOCKS)
    await database.execute(statement("ANALYZE"))
    return products, offers


def many_queries() -> list[ListProducts]:
    """Return different queries: texts, filters, orders and sizes mixed."""
    chance = random.Random(7)
    return [
        ListProducts(
            q=chance.choice(TEXTS),
            category=chance.choice([None, None, "cement", "steel"]),
            available=chance.choice([None, True]),
            min_price=chance.choice([None, None, chance.randrange(10_000, 60_000)]),
            sort=chance.choice(["relevance", "price", "-price", "name", "newest"]),
        )
        for _ in range(2_000)
    ]


async def one_row(database: Database, products: list[UUID]) -> object:
    """The baseline."""
    return await database.fetchval(ONE_ROW, product_id=random.choice(products))


async def encoded(answer: Awaitable[object]) -> bytes:
    """Encode an answer as the kernel does."""
    return encode(await answer)


async def sell(database: Database, offers: list[UUID]) -> None:
    """Sell 200 a second until cancelled."""
    while True:
        await asyncio.gather(
            *(database.execute(SELL_SOME, offer_id=random.choice(offers)) for _ in range(4))
        )
        await asyncio.sleep(0.02)


class _Reading:
    """A context for queries that only read."""

    def __init__(self, database: Database) -> None:
        self.db = database

    async def product(self, products: list[UUID]) -> object:
        query = GetProduct(product_id=to_wire("product", random.choice(products)))
        return await queries.get_product(query, self)  # type: ignore[arg-type]  # it reads only

    async def quote(self, offers: list[UUID]) -> object:
        chosen = tuple(to_wire("offer", offer) for offer in random.sample(offers, 2))
        return await queries.quote_offers(QuoteOffers(offer_ids=chosen), self)  # type: ignore[arg-type]  # it reads only


async def rate(name: str, call: Callable[[], Awaitable[object]], *, seconds: float = 1.5) -> None:
    """Call from eight tasks for a while and print the rate."""
    ends = time.perf_counter() + seconds
    counts = await asyncio.gather(*(_repeat(call, ends) for _ in range(8)))
    print(f"  {name:<58} {sum(counts) / seconds:>9,.0f}/s")


async def _repeat(call: Callable[[], Awaitable[object]], ends: float) -> int:
    done = 0
    while time.perf_counter() < ends:
        await call()
        await asyncio.sleep(0)
        done += 1
    return done


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
