"""How fresh the listings of a process are, and how often that is looked at."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from kernel.context import Row
from kernel.sql import Statement
from plugins.catalog.contract import ListProducts
from plugins.catalog.search.listings import CHANGES, LISTED, LISTED_AFTER, FreshListings, Pace
from plugins.catalog.settings import CatalogSettings

NOON = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


class Shelf:
    """A reader whose products and notes are lists."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.notes: list[tuple[int, int, UUID]] = []
        self.horizon = 1
        self.asked: list[Statement] = []

    def put(self, number: int, name: str, *, tx: int) -> None:
        self.names[UUID(int=number)] = name
        self.notes.append((len(self.notes), tx, UUID(int=number)))

    async def fetch(self, statement: Statement, **params: Any) -> Sequence[Row]:
        self.asked.append(statement)
        await asyncio.sleep(0)
        if statement is CHANGES:
            return self._changes(int(params["horizon"]))
        if statement is LISTED_AFTER:
            return [self._row(key) for key in sorted(self.names) if key > params["after"]]
        assert statement is LISTED
        return [self._row(key) for key in params["product_ids"]]

    async def fetchrow(self, statement: Statement, **params: Any) -> Row | None:
        raise NotImplementedError

    async def fetchval(self, statement: Statement, **params: Any) -> Any:
        raise NotImplementedError

    def _changes(self, horizon: int) -> Sequence[Row]:
        found: list[Row] = [
            {"horizon": str(self.horizon), "change_id": change, "product_id": product}
            for change, tx, product in self.notes
            if tx >= horizon
        ]
        return found or [{"horizon": str(self.horizon), "change_id": None, "product_id": None}]

    def _row(self, key: UUID) -> Mapping[str, Any]:
        return {
            "product_id": key,
            "name": self.names[key],
            "category": "cement",
            "kind": "material",
            "unit": "bag",
            "brand": None,
            "description": "",
            "created_at": NOON,
            "price": None,
            "available": 0,
            "offers": 0,
        }


def a_listing(clock: Clock, **settings: Any) -> FreshListings:
    return FreshListings(CatalogSettings(**settings), clock=clock)


async def names(listings: FreshListings, shelf: Shelf, *, must_be_fresh: bool = True) -> list[str]:
    page = await listings.search(ListProducts(sort="name"), shelf, must_be_fresh=must_be_fresh)
    return [item.name for item in page.items]


async def test_the_first_search_loads_all_products() -> None:
    shelf = Shelf()
    shelf.put(1, "P1", tx=0)
    shelf.put(2, "P2", tx=0)

    assert await names(a_listing(Clock()), shelf) == ["P1", "P2"]


async def test_a_later_search_reads_only_what_changed() -> None:
    shelf, listings = Shelf(), a_listing(Clock())
    await names(listings, shelf)
    shelf.put(3, "P3", tx=5)
    shelf.asked.clear()

    found = await names(listings, shelf)
    await names(listings, shelf)

    assert found == ["P3"]
    assert shelf.asked == [CHANGES, LISTED, CHANGES]


async def test_a_change_that_commits_late_is_not_passed_over() -> None:
    shelf, listings = Shelf(), a_listing(Clock())
    shelf.horizon = 5
    await names(listings, shelf)
    shelf.put(7, "P7", tx=7)
    await names(listings, shelf)
    shelf.put(5, "P5", tx=5)

    assert await names(listings, shelf) == ["P5", "P7"]


async def test_searches_at_one_time_share_one_look() -> None:
    shelf, listings = Shelf(), a_listing(Clock())
    await names(listings, shelf)
    shelf.asked.clear()

    await asyncio.gather(*(names(listings, shelf) for _ in range(20)))

    assert shelf.asked.count(CHANGES) <= 2


async def test_under_load_only_so_many_looks_are_taken() -> None:
    clock, shelf = Clock(), Shelf()
    listings = a_listing(clock, checks_per_second=10)
    await names(listings, shelf)
    shelf.asked.clear()

    [await names(listings, shelf, must_be_fresh=False) for _ in range(50)]
    stale = len(shelf.asked)
    clock.now += 0.2
    [await names(listings, shelf, must_be_fresh=False) for _ in range(50)]

    assert (stale, len(shelf.asked) - stale) == (9, 2)


async def test_who_must_see_own_changes_does_so_under_load() -> None:
    shelf, listings = Shelf(), a_listing(Clock(), checks_per_second=1)
    [await names(listings, shelf, must_be_fresh=False) for _ in range(5)]
    shelf.put(1, "P1", tx=9)

    assert await names(listings, shelf, must_be_fresh=False) == []
    assert await names(listings, shelf, must_be_fresh=True) == ["P1"]


async def test_a_process_that_looked_away_too_long_loads_all_anew() -> None:
    clock, shelf = Clock(), Shelf()
    listings = a_listing(clock)
    await names(listings, shelf)
    shelf.put(1, "P1", tx=2)
    shelf.notes.clear()
    clock.now += 1801

    assert await names(listings, shelf) == ["P1"]


def test_what_was_not_used_may_be_used_at_once_but_no_more() -> None:
    clock = Clock()
    pace = Pace(3, clock)
    clock.now += 60

    assert [pace.take() for _ in range(4)] == [True, True, True, False]
