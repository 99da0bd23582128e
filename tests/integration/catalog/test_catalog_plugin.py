"""Catalog on a real database: products, offers, prices, stock, reservations and the list."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from bus.actor import Actor
from bus.errors import ServiceError
from bus.message import Command, Event, Message, describe
from kernel.ids import new_uuid7, to_uuid, to_wire
from kernel.migrator import downgrade, migrate, migration_states, plugin_migrations
from kernel.money import Money
from kernel.quantity import Quantity, QuantityChange, StockLevel
from kernel.runtime import PermissionDeniedError
from kernel.sql import statement
from kernel.testing import PluginHarness, an_actor
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
    Reservation,
    ReserveStock,
    StockCommitted,
    StockKept,
    StockLine,
    StockLow,
    StockMoved,
    StockReleased,
    StockReserved,
    StockShort,
)
from plugins.catalog.errors import (
    BelowMinimum,
    OfferIsStale,
    OfferNotFound,
    OfferNotOpen,
    ProductNotFound,
    ReservationNotFound,
    SkuTaken,
    StockIsShort,
    StockTooLarge,
    VendorNotApproved,
    VendorNotFound,
)
from plugins.catalog.fold import StockFold
from plugins.catalog.plugin import plugin
from plugins.catalog.tables import metadata
from plugins.vendor.contract import (
    Standing,
    StandingOf,
    VendorApproved,
    VendorStatus,
    VendorSuspended,
)

NOON = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
OWNER = to_wire("user", UUID(int=1))
STRANGER = to_wire("user", UUID(int=2))
VENDOR = to_wire("vendor", UUID(int=3))
OTHER_VENDOR = to_wire("vendor", UUID(int=4))
ORDER = to_wire("order", UUID(int=5))
OTHER_ORDER = to_wire("order", UUID(int=6))

MOVED = statement(
    """
    SELECT s.offer_id, s.on_hand, s.reserved,
        coalesce(sum(m.on_hand_change), 0)::bigint AS moved,
        coalesce(sum(m.reserved_change), 0)::bigint AS held
    FROM stocks s LEFT JOIN stock_movements m USING (offer_id)
    GROUP BY s.offer_id
    """
)
LINE_STATES = statement("SELECT state FROM reservation_lines ORDER BY state")
COLUMNS = statement(
    """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version'
    """
)
RENAMED = statement(
    """
    WITH renamed AS (UPDATE products SET name = :name WHERE product_id = :product_id)
    INSERT INTO listing_changes (product_id, changed_at)
    VALUES (:product_id, now())
    """
)
NOTES = statement("SELECT count(*) FROM listing_changes")


def a_seller(user_id: str = OWNER) -> Actor:
    return an_actor(user_id, "products:create", "offers:manage", roles=("vendor",))


def a_standing(vendor_id: str, status: VendorStatus = "approved") -> Standing:
    return Standing(
        vendor_id=vendor_id,
        owner_id=OWNER if vendor_id == VENDOR else STRANGER,
        name="Charminar Traders",
        status=status,
        state_code="36",
    )


def a_product(**overrides: Any) -> CreateProduct:
    fields: dict[str, Any] = {
        "name": "OPC 53 cement",
        "category": "cement",
        "kind": "material",
        "unit": "bag",
        "hsn": "2523",
        "brand": "Golconda",
    }
    return CreateProduct(**(fields | overrides))


@pytest.fixture
async def market(database: str) -> AsyncIterator["Market"]:
    answers: dict[type[Message], Any] = {StandingOf: lambda query: a_standing(query.vendor_id)}
    async with PluginHarness.open(plugin, database, answers=answers) as harness:
        yield Market(harness)


class Market:
    """The harness with the few phrases that these tests repeat."""

    def __init__(self, harness: PluginHarness) -> None:
        self.harness = harness

    async def product(self, **overrides: Any) -> str:
        created = await self.harness.ask(a_product(**overrides), actor=a_seller())
        return created.product_id

    async def offer(
        self, *, stock: float = 25, actor: Actor | None = None, **overrides: Any
    ) -> str:
        fields: dict[str, Any] = {
            "product_id": overrides.get("product_id") or await self.product(),
            "vendor_id": VENDOR,
            "sku": f"SKU-{new_uuid7().hex[-8:]}",
            "price": Money(38_000),
            "min_quantity": Quantity.of(1),
            "stock": StockLevel.of(stock),
        }
        command = CreateOffer(**(fields | overrides))
        return (await self.harness.ask(command, actor=actor or a_seller())).offer_id

    async def reserve(self, **lines: float) -> Reservation:
        return await self.harness.ask(ReserveStock(lines=stock_lines(**lines)), key=new_uuid7().hex)

    async def available(self, offer_id: str) -> tuple[int, int]:
        page = await self.harness.ask(ListOwnOffers(limit=100), actor=a_seller())
        offer = next(item for item in page.items if item.offer_id == offer_id)
        return offer.on_hand.thousandths, offer.reserved.thousandths

    async def names(self, **filters: Any) -> list[str]:
        page = await self.harness.ask(ListProducts(**filters))
        return [item.name for item in page.items]

    async def facts(self) -> list[Event]:
        kinds = (
            OfferPublished,
            StockMoved,
            StockReserved,
            StockKept,
            StockCommitted,
            StockReleased,
            StockShort,
        )
        by_name = {row_name(kind): kind for kind in kinds}
        rows = await self.harness.spoken()
        return [
            row.read(by_name[row.headers["ce-type"]])
            for row in rows
            if row.headers.get("ce-type") in by_name
        ]

    async def check_history(self) -> None:
        rows = await self.harness.runtime.database.fetch(MOVED)
        assert [(r["on_hand"], r["reserved"]) for r in rows] == [
            (r["moved"], r["held"]) for r in rows
        ]


def row_name(kind: type[Event]) -> str:
    return describe(kind).full_name


def stock_lines(**lines: float) -> tuple[StockLine, ...]:
    return tuple(
        StockLine(offer_id=offer_id, quantity=Quantity.of(number))
        for offer_id, number in lines.items()
    )


async def test_a_new_offer_is_seen_in_the_list_and_on_its_product(market: Market) -> None:
    product_id = await market.product()
    offer_id = await market.offer(product_id=product_id)

    listed = await market.harness.ask(ListProducts(q="simint"))
    product = await market.harness.ask(GetProduct(product_id=product_id))

    assert [(i.product_id, i.price, i.available, i.offers) for i in listed.items] == [
        (product_id, Money(38_000), StockLevel.of(25), 1)
    ]
    assert [(o.offer_id, o.vendor.name) for o in product.offers] == [
        (offer_id, "Charminar Traders")
    ]
    [published] = await market.harness.said(OfferPublished)
    assert published.stock == StockLevel.of(25)


async def test_an_unknown_product_is_not_found_nor_offered(market: Market) -> None:
    nowhere = to_wire("product", UUID(int=99))

    with pytest.raises(ProductNotFound):
        await market.harness.ask(GetProduct(product_id=nowhere))
    with pytest.raises(ProductNotFound):
        await market.offer(product_id=nowhere)


async def test_only_the_owner_of_the_vendor_may_offer(market: Market) -> None:
    product_id = await market.product()

    with pytest.raises(VendorNotFound):
        await market.offer(product_id=product_id, actor=a_seller(STRANGER))

    assert await market.harness.said(OfferPublished) == []


async def test_a_vendor_that_is_not_approved_may_not_offer(market: Market) -> None:
    market.harness.neighbours.answers[StandingOf] = lambda q: a_standing(q.vendor_id, "pending")

    with pytest.raises(VendorNotApproved):
        await market.offer()


async def test_a_sku_is_used_once_per_vendor(market: Market) -> None:
    await market.offer(sku="OPC-1")

    with pytest.raises(SkuTaken):
        await market.offer(sku="OPC-1")


@pytest.mark.parametrize("amount", [0, -1, 10**11 + 1])
async def test_a_price_out_of_bounds_is_refused(market: Market, amount: int) -> None:
    with pytest.raises(ServiceError) as refusal:
        await market.offer(price=Money(amount))

    assert [fault.field for fault in refusal.value.errors] == ["price"]


@pytest.mark.parametrize(
    "command",
    [
        a_product(),
        ListOwnOffers(),
        ChangeOffer(offer_id=to_wire("offer", UUID(int=1))),
        MoveStock(
            offer_id=to_wire("offer", UUID(int=1)), delta=QuantityChange(1), reason="received"
        ),
        PriceHistory(offer_id=to_wire("offer", UUID(int=1))),
    ],
)
async def test_a_buyer_may_not_sell(market: Market, command: Command[Any]) -> None:
    with pytest.raises(PermissionDeniedError):
        await market.harness.ask(command, actor=an_actor(STRANGER, "orders:create"))


async def test_a_repeated_request_makes_one_offer(market: Market) -> None:
    product_id = await market.product()
    command = CreateOffer(
        product_id=product_id,
        vendor_id=VENDOR,
        sku="OPC-1",
        price=Money(1),
        min_quantity=Quantity(1),
        stock=StockLevel(0),
    )

    first = await market.harness.ask(command, actor=a_seller(), key="k")
    second = await market.harness.ask(command, actor=a_seller(), key="k")

    assert first == second
    assert len(await market.harness.said(OfferPublished)) == 1


async def test_a_price_changes_with_its_history(market: Market) -> None:
    offer_id = await market.offer(price=Money(38_000))

    changed = await market.harness.ask(
        ChangeOffer(offer_id=offer_id, price=Money(36_500)), actor=a_seller()
    )
    history = await market.harness.ask(PriceHistory(offer_id=offer_id), actor=a_seller())

    assert (changed.price, changed.version) == (Money(36_500), 2)
    assert [point.price for point in history.prices] == [Money(36_500), Money(38_000)]
    [fact] = await market.harness.said(PriceChanged)
    assert (fact.old_price, fact.new_price) == (Money(38_000), Money(36_500))


async def test_of_two_changes_at_once_the_later_is_refused(market: Market) -> None:
    offer_id = await market.offer()
    change = ChangeOffer(offer_id=offer_id, price=Money(1))

    async with market.harness.runtime.database.connection() as other:
        await other.execute("BEGIN")
        await other.execute("UPDATE offers SET version = version + 1")
        later = asyncio.create_task(market.harness.ask(change, actor=a_seller()))
        await asyncio.sleep(0.3)
        await other.execute("COMMIT")

    with pytest.raises(OfferIsStale):
        await later


async def test_an_unchanged_offer_says_nothing(market: Market) -> None:
    offer_id = await market.offer(price=Money(38_000))

    same = await market.harness.ask(
        ChangeOffer(offer_id=offer_id, price=Money(38_000), paused=False), actor=a_seller()
    )

    assert same.version == 1
    assert await market.harness.said(PriceChanged) == []


@pytest.mark.parametrize(
    "message",
    [
        lambda offer: ChangeOffer(offer_id=offer, price=Money(1)),
        lambda offer: MoveStock(offer_id=offer, delta=QuantityChange(1), reason="received"),
        lambda offer: PriceHistory(offer_id=offer),
    ],
)
async def test_another_vendors_offer_is_not_found(market: Market, message: Any) -> None:
    offer_id = await market.offer()

    with pytest.raises(OfferNotFound):
        await market.harness.ask(message(offer_id), actor=a_seller(STRANGER))


async def test_a_paused_offer_is_neither_shown_nor_quoted_nor_reserved(market: Market) -> None:
    product_id = await market.product()
    offer_id = await market.offer(product_id=product_id)

    await market.harness.ask(ChangeOffer(offer_id=offer_id, paused=True), actor=a_seller())

    product = await market.harness.ask(GetProduct(product_id=product_id))
    quoted = await market.harness.ask(QuoteOffers(offer_ids=(offer_id,)))
    assert (product.offers, quoted.offers) == ((), ())
    with pytest.raises(OfferNotOpen):
        await market.reserve(**{offer_id: 1})
    assert len(await market.harness.said(OfferChanged)) == 1


async def test_a_suspended_vendors_offers_close_and_open_again(market: Market) -> None:
    offer_id = await market.offer()
    suspended = VendorSuspended(vendor_id=VENDOR, owner_id=OWNER)
    approved = VendorApproved(vendor_id=VENDOR, owner_id=OWNER)

    await market.harness.deliver(suspended, times=2)
    closed = await market.harness.ask(ListProducts(available=True))
    await market.harness.deliver(approved, times=2)
    opened = await market.harness.ask(ListProducts(available=True))

    assert (len(closed.items), len(opened.items)) == (0, 1)
    assert (await market.harness.ask(QuoteOffers(offer_ids=(offer_id,)))).offers != ()


async def test_an_answer_older_than_the_suspension_does_not_open_a_vendor(market: Market) -> None:
    await market.harness.deliver(VendorSuspended(vendor_id=VENDOR, owner_id=OWNER))

    offer_id = await market.offer()

    assert (await market.harness.ask(QuoteOffers(offer_ids=(offer_id,)))).offers == ()


async def test_offers_are_quoted_by_id_and_by_product_cheapest_first(market: Market) -> None:
    product_id = await market.product()
    dear = await market.offer(product_id=product_id, price=Money(500))
    cheap = await market.offer(product_id=product_id, price=Money(400))
    other = await market.offer(price=Money(450), min_quantity=Quantity.of(2))

    quoted = await market.harness.ask(QuoteOffers(offer_ids=(other,), product_ids=(product_id,)))

    assert [offer.offer_id for offer in quoted.offers] == [cheap, other, dear]
    assert quoted.offers[1].min_quantity == Quantity.of(2)
    assert quoted.offers[0].hsn == "2523"


async def test_own_offers_come_page_by_page(market: Market) -> None:
    made = [await market.offer() for _ in range(3)]

    first = await market.harness.ask(ListOwnOffers(limit=2), actor=a_seller())
    second = await market.harness.ask(
        ListOwnOffers(limit=2, cursor=first.next_cursor), actor=a_seller()
    )

    assert {o.offer_id for o in (*first.items, *second.items)} == set(made)
    assert second.next_cursor is None
    assert (await market.harness.ask(ListOwnOffers(), actor=a_seller(STRANGER))).items == ()


async def test_stock_comes_and_goes_with_reason(market: Market) -> None:
    offer_id = await market.offer(stock=10)

    await market.harness.ask(
        MoveStock(offer_id=offer_id, delta=QuantityChange(5_000), reason="received"),
        actor=a_seller(),
    )
    left = await market.harness.ask(
        MoveStock(offer_id=offer_id, delta=QuantityChange(-2_500), reason="damaged"),
        actor=a_seller(),
    )

    assert left.on_hand == StockLevel.of(12.5)
    assert [fact.on_hand for fact in await market.harness.said(StockMoved)] == [
        StockLevel.of(15),
        StockLevel.of(12.5),
    ]
    await market.check_history()


async def test_what_is_reserved_cannot_be_taken_away(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    await market.reserve(**{offer_id: 8})

    with pytest.raises(StockIsShort):
        await market.harness.ask(
            MoveStock(offer_id=offer_id, delta=QuantityChange(-3_000), reason="lost"),
            actor=a_seller(),
        )


async def test_an_offer_holds_at_most_a_million(market: Market) -> None:
    offer_id = await market.offer(stock=1)

    with pytest.raises(StockTooLarge):
        await market.harness.ask(
            MoveStock(offer_id=offer_id, delta=QuantityChange(1_000_000_000), reason="received"),
            actor=a_seller(),
        )


async def test_all_lines_are_reserved_or_none(market: Market) -> None:
    plenty = await market.offer(stock=100)
    few = await market.offer(stock=3)

    with pytest.raises(StockIsShort) as refusal:
        await market.reserve(**{plenty: 10, few: 4})

    assert [fault.field for fault in refusal.value.errors] == ["lines[1].offer_id"]
    assert await market.available(plenty) == (100_000, 0)
    await market.check_history()


async def test_two_lines_of_one_offer_are_added_up(market: Market) -> None:
    offer_id = await market.offer(stock=5)
    line = StockLine(offer_id=offer_id, quantity=Quantity.of(3))

    with pytest.raises(StockIsShort) as refusal:
        await market.harness.ask(ReserveStock(lines=(line, line)), key="k")

    assert len(refusal.value.errors) == 2


async def test_an_unknown_offer_is_not_open(market: Market) -> None:
    with pytest.raises(OfferNotOpen):
        await market.reserve(**{to_wire("offer", UUID(int=77)): 1})


async def test_less_than_the_least_quantity_is_refused(market: Market) -> None:
    offer_id = await market.offer(min_quantity=Quantity.of(10))

    with pytest.raises(BelowMinimum):
        await market.reserve(**{offer_id: 9.999})


async def test_a_repeated_reservation_holds_once(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    command = ReserveStock(lines=stock_lines(**{offer_id: 4}))

    replies = await asyncio.gather(*(market.harness.ask(command, key="same") for _ in range(8)))

    assert len({reply.reservation_id for reply in replies}) == 1
    assert await market.available(offer_id) == (10_000, 4_000)


async def test_sixty_buyers_race_for_twenty_five_bags(market: Market) -> None:
    offer_id = await market.offer(stock=25)

    outcomes = await asyncio.gather(
        *(market.reserve(**{offer_id: 1}) for _ in range(60)), return_exceptions=True
    )

    held = [outcome for outcome in outcomes if isinstance(outcome, Reservation)]
    short = [outcome for outcome in outcomes if isinstance(outcome, StockIsShort)]
    assert (len(held), len(short)) == (25, 35)
    assert await market.available(offer_id) == (25_000, 25_000)
    assert len(await market.harness.said(StockLow)) == 1
    await market.check_history()


async def test_crossed_lines_do_not_deadlock(market: Market) -> None:
    one, two = await market.offer(stock=1000), await market.offer(stock=1000)
    forth = ReserveStock(lines=stock_lines(**{one: 1, two: 1}))
    back = ReserveStock(lines=stock_lines(**{two: 1, one: 1}))

    await asyncio.gather(
        *(market.harness.ask(command, key=f"{n}") for n, command in enumerate([forth, back] * 30))
    )

    assert await market.available(one) == (1_000_000, 60_000)


async def test_a_committed_reservation_is_deducted_once(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    held = await market.reserve(**{offer_id: 4})
    command = CommitStock(
        reservation_id=held.reservation_id, order_id=ORDER, lines=stock_lines(**{offer_id: 4})
    )

    await market.harness.tell(command, times=2)
    await market.harness.tell(command)

    assert await market.available(offer_id) == (6_000, 0)
    assert len(await market.harness.said(StockCommitted)) == 1
    await market.check_history()


async def test_a_reservation_lapses_when_its_time_is_over(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    held = await market.reserve(**{offer_id: 4})
    timer = LapseReservation(reservation_id=held.reservation_id)

    await market.harness.tell(timer)
    early = await market.available(offer_id)
    market.harness.clock_offset = timedelta(minutes=3)
    await market.harness.tell(timer, times=2)
    await market.harness.tell(timer)

    assert early == (10_000, 4_000)
    assert await market.available(offer_id) == (10_000, 0)
    [fact] = await market.harness.said(StockReleased)
    assert (fact.order_id, fact.was_committed) == (None, False)
    await market.check_history()


async def test_what_is_kept_lapses_later(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    held = await market.reserve(**{offer_id: 4})
    until = datetime.now(UTC) + timedelta(minutes=20)
    keep = KeepStock(reservation_id=held.reservation_id, order_id=ORDER, until=until)

    await market.harness.tell(keep, times=2)
    await market.harness.tell(keep)
    market.harness.clock_offset = timedelta(minutes=3)
    await market.harness.tell(LapseReservation(reservation_id=held.reservation_id))

    assert await market.available(offer_id) == (10_000, 4_000)
    assert [fact.order_id for fact in await market.harness.said(StockKept)] == [ORDER]
    await market.check_history()


async def test_what_lapsed_is_taken_anew_when_it_is_kept_late(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    held = await lapsed(market, offer_id)

    await market.harness.tell(
        KeepStock(
            reservation_id=held.reservation_id,
            order_id=ORDER,
            until=datetime.now(UTC) + timedelta(minutes=20),
        ),
        times=2,
    )

    assert await market.available(offer_id) == (10_000, 4_000)
    assert len(await market.harness.said(StockReserved)) == 2
    await market.check_history()


async def test_what_lapsed_and_went_to_others_is_short_for_good(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    held = await lapsed(market, offer_id)
    rival = await market.reserve(**{offer_id: 8})
    until = datetime.now(UTC) + timedelta(minutes=20)

    await market.harness.tell(
        KeepStock(reservation_id=held.reservation_id, order_id=ORDER, until=until)
    )
    await market.harness.tell(
        ReleaseStock(
            reservation_id=rival.reservation_id, order_id=OTHER_ORDER, offer_ids=(offer_id,)
        )
    )
    await market.harness.tell(
        CommitStock(
            reservation_id=held.reservation_id, order_id=ORDER, lines=stock_lines(**{offer_id: 4})
        )
    )

    assert [fact.offer_ids for fact in await market.harness.said(StockShort)] == [(offer_id,)] * 2
    assert await market.harness.said(StockCommitted) == []
    assert await market.available(offer_id) == (10_000, 0)
    await market.check_history()


async def test_what_lapsed_is_committed_anew_if_it_is_there(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    held = await lapsed(market, offer_id)

    await market.harness.tell(
        CommitStock(
            reservation_id=held.reservation_id, order_id=ORDER, lines=stock_lines(**{offer_id: 4})
        ),
        times=2,
    )

    assert await market.available(offer_id) == (6_000, 0)
    await market.check_history()


async def test_a_release_restores_what_was_deducted_once(market: Market) -> None:
    kept, returned = await market.offer(stock=10), await market.offer(stock=10)
    held = await market.reserve(**{kept: 4, returned: 5})
    lines = stock_lines(**{kept: 4, returned: 5})
    release = ReleaseStock(
        reservation_id=held.reservation_id, order_id=ORDER, offer_ids=(returned,)
    )
    await market.harness.tell(
        CommitStock(reservation_id=held.reservation_id, order_id=ORDER, lines=lines)
    )

    await market.harness.tell(release, times=2)
    await market.harness.tell(release)

    assert await market.available(returned) == (10_000, 0)
    assert await market.available(kept) == (6_000, 0)
    assert [fact.was_committed for fact in await market.harness.said(StockReleased)] == [True]
    await market.check_history()


async def test_a_commit_after_the_release_is_short(market: Market) -> None:
    offer_id = await market.offer(stock=10)
    held = await market.reserve(**{offer_id: 4})
    await market.harness.tell(
        ReleaseStock(reservation_id=held.reservation_id, order_id=ORDER, offer_ids=(offer_id,))
    )

    await market.harness.tell(
        CommitStock(
            reservation_id=held.reservation_id, order_id=ORDER, lines=stock_lines(**{offer_id: 4})
        )
    )

    assert [fact.order_id for fact in await market.harness.said(StockShort)] == [ORDER]
    assert await market.available(offer_id) == (10_000, 0)


async def test_an_unknown_reservation_is_not_found(market: Market) -> None:
    with pytest.raises(ReservationNotFound):
        await market.harness.tell(
            LapseReservation(reservation_id=to_wire("reservation", UUID(int=9)))
        )


async def test_the_facts_fold_to_the_stock(market: Market) -> None:
    offer_id = await market.offer(stock=100)
    first = await market.reserve(**{offer_id: 10})
    second = await market.reserve(**{offer_id: 20})
    third = await lapsed(market, offer_id)
    await market.harness.ask(
        MoveStock(offer_id=offer_id, delta=QuantityChange(-7_000), reason="lost"), actor=a_seller()
    )
    await commit(market, first, offer_id, 10)
    await commit(market, third, offer_id, 4)
    await market.harness.tell(
        ReleaseStock(reservation_id=first.reservation_id, order_id=ORDER, offer_ids=(offer_id,))
    )
    fold = StockFold()

    [*map(fold.apply, await market.facts())]

    assert (fold.on_hand[offer_id], fold.reserved[offer_id]) == await market.available(offer_id)
    assert fold.reservations[second.reservation_id].offers_in("held") == (offer_id,)


async def test_the_list_follows_stock_and_price(market: Market) -> None:
    product_id = await market.product()
    offer_id = await market.offer(product_id=product_id, stock=5)
    await market.names()
    await market.reserve(**{offer_id: 5})
    await market.harness.ask(ChangeOffer(offer_id=offer_id, price=Money(99)), actor=a_seller())

    page = await market.harness.ask(ListProducts())

    assert [(i.price, i.available.thousandths) for i in page.items] == [(Money(99), 0)]
    assert await market.names(available=True) == []
    assert await market.names(available=False) == ["OPC 53 cement"]


async def test_a_change_that_commits_late_is_seen(market: Market) -> None:
    product_id = await market.product(name="Slow cement")
    database = market.harness.runtime.database
    await market.names()

    async with database.connection() as slow:
        await slow.execute("BEGIN")
        await slow.execute(
            RENAMED.sql, *RENAMED.arguments({"name": "Renamed", "product_id": to_uuid(product_id)})
        )
        await market.product(name="Quick cement")
        before = await market.names(sort="name")
        await slow.execute("COMMIT")
    after = await market.names(sort="name")

    assert before == ["Quick cement", "Slow cement"]
    assert after == ["Quick cement", "Renamed"]


async def test_late_commits_and_reservations_in_crossed_order_do_not_deadlock(
    market: Market,
) -> None:
    one, two = sorted([await market.offer(stock=1000), await market.offer(stock=1000)])
    late = [await lapsed(market, two) for _ in range(10)]

    await asyncio.gather(
        *(commit(market, held, two, 4) for held in late),
        *(market.reserve(**{two: 1, one: 1}) for _ in range(20)),
    )

    assert await market.available(two) == (960_000, 20_000)
    await market.check_history()


async def test_the_tables_are_those_of_the_migration(market: Market) -> None:
    rows = await market.harness.runtime.database.fetch(COLUMNS)

    assert {(row["table_name"], row["column_name"]) for row in rows} == {
        (table.name, column.name) for table in metadata.sorted_tables for column in table.columns
    }


async def test_the_migration_can_be_undone_and_done_again(database: str) -> None:
    migrations = plugin_migrations("catalog", "plugins.catalog")
    await migrate(database, migrations)

    await downgrade(database, migrations, "base")
    await migrate(database, migrations)

    assert [state.is_current for state in await migration_states(database, migrations)] == [True]


async def test_notes_of_changed_listings_are_forgotten(market: Market) -> None:
    await market.offer()
    market.harness.clock_offset = timedelta(hours=2)

    await market.harness.run_job("forget_listing_changes")

    assert await market.harness.runtime.database.fetchval(NOTES) == 0


async def lapsed(market: Market, offer_id: str) -> Reservation:
    held = await market.reserve(**{offer_id: 4})
    market.harness.clock_offset += timedelta(minutes=3)
    await market.harness.tell(LapseReservation(reservation_id=held.reservation_id))
    market.harness.clock_offset -= timedelta(minutes=3)
    return held


async def commit(market: Market, held: Reservation, offer_id: str, number: float) -> None:
    lines = stock_lines(**{offer_id: number})
    await market.harness.tell(
        CommitStock(reservation_id=held.reservation_id, order_id=ORDER, lines=lines)
    )
