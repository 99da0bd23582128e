"""The demonstration catalogue: products of the trade, invented vendors of Hyderabad and their offers."""

import tomllib
from importlib.resources import files
from typing import Annotated

from msgspec import Meta, Struct

from bus.codec import convert
from kernel.geo import Place
from kernel.money import Money
from kernel.quantity import Quantity, StockLevel
from kernel.text import Email, Line, Paragraph
from plugins.catalog.contract import Category, CreateOffer, CreateProduct, Hsn, Kind, Sku, Unit
from plugins.vendor.contract import OrdersPerDay, RadiusKm, RegisterVendor

Key = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class DemoProduct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product; ``key`` is how offers name it."""

    key: Key
    name: Line
    category: Category
    kind: Kind
    unit: Unit
    hsn: Hsn
    description: Paragraph
    brand: Line | None = None

    def command(self) -> CreateProduct:
        """Return the command that creates it."""
        return CreateProduct(
            name=self.name,
            category=self.category,
            kind=self.kind,
            unit=self.unit,
            hsn=self.hsn,
            description=self.description,
            brand=self.brand,
        )


class DemoOffer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An offer; the price is in paise per unit."""

    product: Key
    sku: Sku
    price: Annotated[int, Meta(gt=0)]
    min_quantity: Quantity
    stock: StockLevel

    def command(self, *, product_id: str, vendor_id: str) -> CreateOffer:
        """Return the command that publishes it."""
        return CreateOffer(
            product_id=product_id,
            vendor_id=vendor_id,
            sku=self.sku,
            price=Money(self.price),
            min_quantity=self.min_quantity,
            stock=self.stock,
        )


class DemoVendor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An invented vendor, with the name and e-mail under which its owner registers."""

    key: Key
    name: Line
    place: Line
    owner: Line
    email: Email
    location: Place
    service_radius_km: RadiusKm
    orders_per_day: OrdersPerDay
    offers: tuple[DemoOffer, ...]

    def command(self) -> RegisterVendor:
        """Return the command by which the owner registers it."""
        return RegisterVendor(
            name=self.name,
            location=self.location,
            service_radius_km=self.service_radius_km,
            orders_per_day=self.orders_per_day,
        )


class DemoCatalogue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    products: tuple[DemoProduct, ...]
    vendors: tuple[DemoVendor, ...]


def demo_catalogue() -> DemoCatalogue:
    """Read the data; raises UndecodableError with the field that is wrong."""
    text = (files("plugins.demo") / "catalogue.toml").read_text(encoding="utf-8")
    found: DemoCatalogue = convert(tomllib.loads(text), DemoCatalogue)
    return found
