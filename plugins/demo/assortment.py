"""A catalogue of any size, for measuring: the demonstration's products under many invented brands.

It is the same for the same size, and a larger one contains the smaller: loading 10 000 after 1 000 adds 9 000.
"""

from collections.abc import Iterator
from itertools import count, islice, product
from random import Random
from typing import Final

from msgspec.structs import replace

from plugins.demo.catalogue import DemoCatalogue, DemoOffer, DemoProduct, DemoVendor

FIRST: Final = (
    "Asaf", "Bhagya", "Charkaman", "Durgam", "Falaknuma", "Gandipet", "Himayat", "Kachiguda", "Lalbagh", "Manjeera",
    "Nizam", "Osman", "Pochampally", "Qutb", "Ramappa", "Singur", "Tank Bund", "Ujjaini", "Vikarabad", "Yadadri",
)  # fmt: skip
SECOND: Final = (
    "Build", "Core", "Gold", "Hill", "Kraft", "Lion", "Mark", "Plus", "Pride", "Rock", "Shield", "Star", "Steel", "Super",
    "Trade", "Ultra", "Union", "Vajra", "Works", "Zen",
)  # fmt: skip
VENDORS_EACH: Final = (1, 2, 2, 3)
CHEAPER: Final = 85
DEARER: Final = 115
STEP: Final = 10


def assortment(demo: DemoCatalogue, size: int) -> DemoCatalogue:
    """Return so many products, each offered by one to three of the demonstration's vendors."""
    prices = _usual_offers(demo)
    shelves: dict[str, list[DemoOffer]] = {vendor.key: [] for vendor in demo.vendors}
    products: list[DemoProduct] = []
    for number, (made, usual) in enumerate(islice(_products(demo, prices), size)):
        products.append(made)
        chance = Random(number)  # noqa: S311  plausible, not secret
        for vendor in chance.sample(demo.vendors, chance.choice(VENDORS_EACH)):
            shelves[vendor.key].append(_offer(made, usual, vendor, number, chance))
    return DemoCatalogue(
        products=tuple(products),
        vendors=tuple(
            replace(vendor, offers=tuple(shelves[vendor.key])) for vendor in demo.vendors
        ),
    )


def _products(
    demo: DemoCatalogue, usual: dict[str, DemoOffer]
) -> Iterator[tuple[DemoProduct, DemoOffer]]:
    """Yield products without end: every brand with every material, then the same as a second lot."""
    materials = {one.name: one for one in demo.products if one.kind == "material"}
    for lot in count(1):
        for first, second in product(FIRST, SECOND):
            brand = f"{first} {second}" if lot == 1 else f"{first} {second} {lot}"
            for one in materials.values():
                key = f"{one.key}-{brand.lower().replace(' ', '-')}"
                yield replace(one, key=key, brand=brand), usual[one.key]


def _usual_offers(demo: DemoCatalogue) -> dict[str, DemoOffer]:
    return {offer.product: offer for vendor in demo.vendors for offer in vendor.offers}


def _offer(
    made: DemoProduct, usual: DemoOffer, vendor: DemoVendor, number: int, chance: Random
) -> DemoOffer:
    price = usual.price * chance.randint(CHEAPER, DEARER) // 100
    return DemoOffer(
        product=made.key,
        sku=f"{vendor.key.upper()}-{number:06}",
        price=max(STEP, price - price % STEP),
        min_quantity=usual.min_quantity,
        stock=usual.stock,
    )
