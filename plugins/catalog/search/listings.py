"""The listings of this process, kept as fresh as the database.

Before a search the database is asked whether anything changed. Under load that is done so many
times a second and no more: then a list may be as old as the pause between two checks.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from kernel.context import Context, Reader, Row
from kernel.ids import to_wire
from kernel.quantity import MAX_THOUSANDTHS
from kernel.sql import statement
from plugins.catalog.contract import ListProducts, ProductList
from plugins.catalog.search.index import ListedProduct, ListingIndex, listed_product
from plugins.catalog.settings import CatalogSettings

_LISTED: Final = """
    SELECT p.product_id, p.name, p.category, p.kind, p.unit, p.brand, p.description, p.created_at,
        min(o.price) AS price,
        least(coalesce(max(s.on_hand - s.reserved), 0), {most}) AS available,
        count(s.offer_id) AS offers
    FROM products p
    LEFT JOIN (
        offers o
        JOIN vendors v ON v.vendor_id = o.vendor_id AND v.status = 'approved'
        JOIN stocks s ON s.offer_id = o.offer_id
    ) ON o.product_id = p.product_id AND NOT o.paused
    WHERE {which}
    GROUP BY p.product_id
    ORDER BY p.product_id
    {limit}
"""
LISTED: Final = statement(
    _LISTED.format(
        most=MAX_THOUSANDTHS, which="p.product_id = ANY(CAST(:product_ids AS uuid[]))", limit=""
    )
)
LISTED_AFTER: Final = statement(
    _LISTED.format(
        most=MAX_THOUSANDTHS, which="p.product_id > CAST(:after AS uuid)", limit="LIMIT 1000"
    )
)
CHANGES: Final = statement(
    """
    SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS horizon,
        c.change_id, c.product_id
    FROM (VALUES (1)) AS always
    LEFT JOIN listing_changes c ON c.tx >= CAST(CAST(:horizon AS text) AS xid8)
    """
)
"""The notes of all transactions that were not over at ``horizon``, and the horizon to ask from next.

At least one row always comes; without notes its change is NULL.
"""

NOTHING_YET: Final = "18446744073709551615"
"""A horizon behind every transaction: no notes are wanted, only where to begin."""

FIRST: Final = UUID(int=0)
BATCH: Final = 1000


class Pace:
    """So many turns a second: what was not used lately may be used at once."""

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = float(per_second)
        self._counted_at = clock()

    def take(self) -> bool:
        """Take a turn, if there is one."""
        now = self._clock()
        earned = (now - self._counted_at) * self._per_second
        self._left = min(float(self._per_second), self._left + earned)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class FreshListings:
    """One index for the process; searches look for changes first."""

    def __init__(
        self, settings: CatalogSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._pace = Pace(settings.checks_per_second, clock)
        self._lock = asyncio.Lock()
        self._index = ListingIndex(remembered=settings.remembered_answers)
        self._horizon: str | None = None
        self._seen: frozenset[int] = frozenset()
        self._checked_at = float("-inf")

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: CatalogSettings) -> AsyncIterator["FreshListings"]:
        """Make the resource of a process; it is filled by the first ``refresh``."""
        yield cls(settings)

    async def search(
        self, query: ListProducts, reader: Reader, *, must_be_fresh: bool
    ) -> ProductList:
        """Answer a search; ``must_be_fresh`` looks for changes whatever the pace is."""
        if self._pace.take() or must_be_fresh or self._horizon is None:
            await self.refresh(reader)
        return self._index.search(query)

    async def refresh(self, reader: Reader) -> None:
        """Take in every change that was committed before this call."""
        asked_at = self._clock()
        async with self._lock:
            if self._checked_at > asked_at:
                return
            began_at = self._clock()
            if self._is_forgotten(began_at):
                await self._load(reader)
            else:
                await self._catch_up(reader)
            self._checked_at = began_at

    def _is_forgotten(self, now: float) -> bool:
        """Whether notes may have been deleted that this process has not read."""
        away = now - self._checked_at
        return self._horizon is None or away > self._settings.changes_kept.total_seconds() / 2

    async def _load(self, reader: Reader) -> None:
        start = await reader.fetch(CHANGES, horizon=NOTHING_YET)
        index = ListingIndex(remembered=self._settings.remembered_answers)
        after = FIRST
        while rows := await reader.fetch(LISTED_AFTER, after=after):
            index.put(_products(rows))
            after = rows[-1]["product_id"]
        self._index, self._horizon, self._seen = index, start[0]["horizon"], frozenset()

    async def _catch_up(self, reader: Reader) -> None:
        notes = await reader.fetch(CHANGES, horizon=self._horizon)
        changes = {n["change_id"]: n["product_id"] for n in notes if n["change_id"] is not None}
        new = sorted({changes[change] for change in changes.keys() - self._seen})
        for start in range(0, len(new), BATCH):
            rows = await reader.fetch(LISTED, product_ids=new[start : start + BATCH])
            self._index.put(_products(rows))
        self._horizon, self._seen = notes[0]["horizon"], frozenset(changes)


async def load_listings(ctx: Context) -> None:
    """Fill the index before the plugin is ready."""
    await ctx.use(FreshListings).refresh(ctx.db)


def _products(rows: Sequence[Row]) -> list[ListedProduct]:
    return [listed_product(row, to_wire("product", row["product_id"])) for row in rows]
