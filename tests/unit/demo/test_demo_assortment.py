"""Catalogues of any size: plausible, unique, and growing without change."""

from collections import Counter

import pytest

from bus.codec import convert, to_plain
from kernel.geo import Place
from plugins.catalog.contract import CreateProduct
from plugins.demo.assortment import assortment
from plugins.demo.catalogue import DemoCatalogue, DemoOffer, demo_catalogue


@pytest.fixture(scope="module")
def demo() -> DemoCatalogue:
    return demo_catalogue()


@pytest.fixture(scope="module")
def many(demo: DemoCatalogue) -> DemoCatalogue:
    return assortment(demo, 25_000)


def offers_of(catalogue: DemoCatalogue) -> list[DemoOffer]:
    return [offer for vendor in catalogue.vendors for offer in vendor.offers]


def test_it_has_so_many_products_and_each_is_there_once(many: DemoCatalogue) -> None:
    assert len(many.products) == 25_000
    assert len({product.key for product in many.products}) == 25_000
    assert len({(product.name, product.brand) for product in many.products}) == 25_000


def test_every_product_has_one_to_three_offers_by_different_vendors(many: DemoCatalogue) -> None:
    counted = Counter(offer.product for offer in offers_of(many))
    pairs = [(vendor.key, offer.product) for vendor in many.vendors for offer in vendor.offers]

    assert set(counted) == {product.key for product in many.products}
    assert set(counted.values()) == {1, 2, 3}
    assert len(pairs) == len(set(pairs))


def test_a_sku_stands_once(many: DemoCatalogue) -> None:
    skus = Counter(offer.sku for offer in offers_of(many))

    assert max(skus.values()) == 1


def test_prices_stay_near_the_usual_one(demo: DemoCatalogue, many: DemoCatalogue) -> None:
    usual = {offer.product: offer.price for offer in offers_of(demo)}
    steel = [offer for offer in offers_of(many) if offer.product.startswith("tmt-550d-12-")]

    assert all(0.8 < offer.price / usual["tmt-550d-12"] < 1.2 for offer in steel)


def test_a_larger_catalogue_holds_the_smaller_unchanged(demo: DemoCatalogue) -> None:
    small, large = assortment(demo, 100), assortment(demo, 300)

    assert large.products[:100] == small.products
    assert set(offers_of(small)) <= set(offers_of(large))


def test_it_keeps_to_the_catalogues_bounds(many: DemoCatalogue) -> None:
    last = many.products[-1].command()

    assert convert(to_plain(last), CreateProduct) == last
    assert all(vendor.location.distance_km(Place(17.4, 78.47)) < 40 for vendor in many.vendors)
