"""The demonstration catalogue is complete, consistent and of the trade."""

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import pytest

from kernel.geo import Place
from kernel.ids import to_wire
from kernel.money import Money, check_price
from kernel.quantity import StockLevel
from plugins.catalog.contract import CreateOffer, Listing, ListProducts
from plugins.catalog.search.index import ListedProduct, ListingIndex
from plugins.demo.catalogue import DemoCatalogue, DemoOffer, demo_catalogue

CHARMINAR = Place(17.3616, 78.4747)
HSN_OF = {
    "cement": {"2523"},
    "steel": {"7214", "7217"},
    "sand": {"2505"},
    "aggregate": {"2517"},
    "bricks": {"6904", "6815"},
    "blocks": {"6810"},
}


@pytest.fixture(scope="module")
def demo() -> DemoCatalogue:
    return demo_catalogue()


def offers_of(demo: DemoCatalogue) -> list[DemoOffer]:
    return [offer for vendor in demo.vendors for offer in vendor.offers]


def test_it_has_about_sixty_products_and_six_vendors(demo: DemoCatalogue) -> None:
    assert 55 <= len(demo.products) <= 70
    assert len(demo.vendors) == 6


def test_keys_names_and_skus_stand_once(demo: DemoCatalogue) -> None:
    keys = Counter(product.key for product in demo.products)
    names = Counter((product.name, product.brand) for product in demo.products)
    emails = Counter(vendor.email for vendor in demo.vendors)
    skus = Counter(offer.sku for offer in offers_of(demo))

    assert {count for counts in (keys, names, emails, skus) for count in counts.values()} == {1}


def test_every_product_is_offered_and_every_offer_names_a_product(demo: DemoCatalogue) -> None:
    assert {offer.product for offer in offers_of(demo)} == {p.key for p in demo.products}


def test_every_vendor_offers_each_product_once_and_fifteen_to_thirty(demo: DemoCatalogue) -> None:
    assert [
        len(vendor.offers) for vendor in demo.vendors if not 15 <= len(vendor.offers) <= 30
    ] == []
    assert [
        vendor.key
        for vendor in demo.vendors
        if len({offer.product for offer in vendor.offers}) != len(vendor.offers)
    ] == []


def test_an_order_of_cement_and_a_mason_can_come_from_two_vendors(demo: DemoCatalogue) -> None:
    sellers = Counter(offer.product for offer in offers_of(demo))

    assert min(sellers["opc-53"], sellers["ppc"], sellers["mason"], sellers["helper"]) >= 2


def test_prices_hold_and_stock_covers_the_least_quantity(demo: DemoCatalogue) -> None:
    assert [check_price(Money(offer.price)) for offer in offers_of(demo)]
    assert [
        offer.sku
        for offer in offers_of(demo)
        if offer.stock.thousandths < offer.min_quantity.thousandths * 5
    ] == []


def test_vendors_of_one_product_ask_much_the_same(demo: DemoCatalogue) -> None:
    prices: dict[str, list[int]] = {}
    for offer in offers_of(demo):
        prices.setdefault(offer.product, []).append(offer.price)

    assert {key: found for key, found in prices.items() if max(found) > 1.15 * min(found)} == {}


def test_vendors_lie_in_hyderabad(demo: DemoCatalogue) -> None:
    assert [v.key for v in demo.vendors if v.location.distance_km(CHARMINAR) > 30] == []


def test_labour_goes_by_the_day_under_a_service_code(demo: DemoCatalogue) -> None:
    labour = [product for product in demo.products if product.kind == "labour"]

    assert len(labour) >= 9
    assert {(product.unit, product.hsn[:2]) for product in labour} == {("day", "99")}


@pytest.mark.parametrize("category", list(HSN_OF))
def test_goods_stand_under_their_tariff_heading(demo: DemoCatalogue, category: str) -> None:
    found = {product.hsn for product in demo.products if product.category == category}

    assert found == HSN_OF[category]


def test_offers_and_vendors_become_commands(demo: DemoCatalogue) -> None:
    vendor = demo.vendors[0]
    product_id, vendor_id = to_wire("product", UUID(int=1)), to_wire("vendor", UUID(int=2))

    offer = vendor.offers[0].command(product_id=product_id, vendor_id=vendor_id)

    assert isinstance(offer, CreateOffer)
    assert vendor.command().location == vendor.location
    assert demo.products[0].command().hsn == "2523"


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("sariya 12 mm", "steel"),
        ("msand", "sand"),
        ("jelly 20mm", "aggregate"),
        ("eent", "bricks"),
        ("raj mistri", "masonry"),
        ("badhai", "carpentry"),
        ("bijli mistri", "electrical-work"),
        ("aac block", "blocks"),
        ("opc 53", "cement"),
        ("ppc", "cement"),
    ],
)
def test_trade_words_find_the_demonstration_products(
    demo: DemoCatalogue, text: str, category: str
) -> None:
    index = ListingIndex(remembered=0)
    index.put(
        ListedProduct(
            Listing(
                product_id=to_wire("product", UUID(int=number)),
                name=product.name,
                category=product.category,
                kind=product.kind,
                unit=product.unit,
                brand=product.brand,
                price=Money(1),
                available=StockLevel(1),
                offers=1,
            ),
            product.description,
            datetime(2026, 1, 1, tzinfo=UTC),
        )
        for number, product in enumerate(demo.products)
    )

    assert index.search(ListProducts(q=text)).items[0].category == category
