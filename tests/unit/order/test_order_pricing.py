"""Prices, taxes and zones: parts add up, halves are equal, rates go by the day."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import to_wire
from kernel.money import Money, total
from kernel.quantity import MAX_THOUSANDTHS, Quantity, StockLevel
from plugins.catalog.contract import QuotedOffer
from plugins.order.assignment import Pick
from plugins.order.contract import DeliveryAddress
from plugins.order.days import day_in_india
from plugins.order.errors import TotalTooLargeError
from plugins.order.pricing import add_up, price_line
from plugins.order.taxes import TaxRate, TaxTable, load_taxes, tax_on
from plugins.order.zones import Zone, ZoneRow, load_zones

TAXES = load_taxes()
ZONES = load_zones()
TODAY = date(2026, 1, 5)


def a_pick(*, price: int = 38_000, thousandths: int = 10_000, hsn: str = "2523") -> Pick:
    offer = QuotedOffer(
        offer_id=to_wire("offer", UUID(int=1)),
        product_id=to_wire("product", UUID(int=1)),
        vendor_id=to_wire("vendor", UUID(int=1)),
        kind="material",
        unit="bag",
        hsn=hsn,
        price=Money(price),
        min_quantity=Quantity(1),
        available=StockLevel(MAX_THOUSANDTHS),
    )
    return Pick(offer, Quantity(thousandths))


def an_address(**overrides: Any) -> DeliveryAddress:
    fields: dict[str, Any] = {
        "line1": "Plot 7",
        "city": "Hyderabad",
        "pincode": "500081",
        "lat": 17.4435,
        "lon": 78.3772,
    }
    return DeliveryAddress(**{**fields, **overrides})


def test_a_line_freezes_price_and_tax() -> None:
    line = price_line(a_pick(), TAXES, TODAY)

    assert (line.amount, line.tax_rate_bp, line.tax) == (Money(380_000), 1800, Money(68_400))


PICKS = st.builds(
    lambda price, thousandths, hsn: a_pick(price=price, thousandths=thousandths, hsn=hsn),
    st.integers(1, 10_000_000),
    st.integers(1, 1_000_000),
    st.sampled_from(["2523", "2505", "6901", "7214", "9954", "1234"]),
)


@given(picks=st.lists(PICKS, min_size=1, max_size=8), fee=st.integers(0, 100_000))
def test_the_parts_of_an_order_add_up(picks: list[Pick], fee: int) -> None:
    lines = [price_line(pick, TAXES, TODAY) for pick in picks]

    amounts = add_up(lines, [Money(fee)] * 3)

    assert amounts.subtotal == total([line.amount for line in lines])
    assert amounts.total == amounts.subtotal + amounts.tax + amounts.delivery - amounts.discount
    assert amounts.delivery == Money(3 * fee)


@given(amount=st.integers(0, 10**12), rate=st.sampled_from([0, 500, 1200, 1800, 2800]))
def test_tax_has_two_equal_halves_and_is_within_a_paisa(amount: int, rate: int) -> None:
    tax = tax_on(Money(amount), rate).amount

    assert tax % 2 == 0
    assert abs(tax * 10_000 - amount * rate) <= 10_000


@pytest.mark.parametrize(("amount", "tax"), [(5, 0), (6, 2), (100, 18), (105, 18), (106, 20)])
def test_half_a_paisa_of_each_half_is_rounded_up(amount: int, tax: int) -> None:
    assert tax_on(Money(amount), 1800) == Money(tax)


def test_an_order_above_the_limit_is_refused() -> None:
    line = price_line(a_pick(price=100_000_000_000, thousandths=1000), TAXES, TODAY)

    with pytest.raises(TotalTooLargeError):
        add_up([line], [])


@pytest.mark.parametrize(
    ("hsn", "day", "rate"),
    [
        ("2523", date(2025, 9, 21), 2800),
        ("2523", date(2025, 9, 22), 1800),
        ("25232940", date(2025, 9, 21), 2800),
        ("2505", TODAY, 500),
        ("72142090", TODAY, 1800),
        ("995411", TODAY, 1800),
        ("68101110", TODAY, 500),
        ("681019", TODAY, 1800),
        ("1234", TODAY, 1800),
    ],
)
def test_the_rate_goes_by_hsn_and_day(hsn: str, day: date, rate: int) -> None:
    assert TAXES.rate_bp(hsn, day) == rate


def test_there_is_no_rate_before_gst() -> None:
    with pytest.raises(LookupError):
        TAXES.rate_bp("2523", date(2017, 6, 30))


def test_a_rate_given_twice_is_refused() -> None:
    rate = TaxRate(prefix="", valid_from=TODAY, basis_points=1800)

    with pytest.raises(ValueError, match="two rates"):
        TaxTable([rate, rate])


def test_a_table_without_a_residual_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="residual"):
        TaxTable([TaxRate(prefix="25", valid_from=TODAY, basis_points=500)])


def test_the_day_of_supply_begins_at_midnight_in_india() -> None:
    late_evening = datetime(2025, 9, 21, 18, 29, tzinfo=UTC)
    midnight = datetime(2025, 9, 21, 18, 30, tzinfo=UTC)

    assert (day_in_india(late_evening), day_in_india(midnight)) == (
        date(2025, 9, 21),
        date(2025, 9, 22),
    )


@pytest.mark.parametrize(
    ("overrides", "zone_id"),
    [
        ({}, "hyderabad-city"),
        ({"lat": 17.3616, "lon": 78.4747, "pincode": "500002"}, "hyderabad-city"),
        ({"lat": 17.4399, "lon": 78.4983, "pincode": "500003"}, "hyderabad-city"),
        ({"lat": 17.2403, "lon": 78.4294, "pincode": "501218"}, "outer-ring"),
        ({"pincode": "501218"}, "outer-ring"),
    ],
    ids=["HITEC City", "Charminar", "Secunderabad", "Shamshabad", "city place, district pin"],
)
def test_addresses_of_hyderabad_have_a_zone(overrides: dict[str, Any], zone_id: str) -> None:
    zone = ZONES.zone_of(an_address(**overrides))

    assert zone is not None
    assert zone.zone_id == zone_id


@pytest.mark.parametrize(
    "overrides",
    [{"lat": 17.9689, "lon": 79.5941}, {"pincode": "400001"}, {"lat": 0.0, "lon": 0.0}],
    ids=["Warangal", "Mumbai's pin code", "the ocean"],
)
def test_addresses_elsewhere_are_not_served(overrides: dict[str, Any]) -> None:
    assert ZONES.zone_of(an_address(**overrides)) is None


def test_the_edge_of_a_zone_belongs_to_it() -> None:
    square = ((78.0, 17.0), (79.0, 17.0), (79.0, 18.0), (78.0, 18.0))
    zone = Zone(ZoneRow("square", "Square", 0, ("500",), square))

    assert zone.holds(an_address(lat=17.0, lon=78.5))


def test_an_outline_that_crosses_itself_is_refused() -> None:
    bow_tie = ((78.0, 17.0), (79.0, 18.0), (79.0, 17.0), (78.0, 18.0))

    with pytest.raises(ValueError, match="crosses itself"):
        Zone(ZoneRow("bow", "Bow tie", 0, ("500",), bow_tie))
