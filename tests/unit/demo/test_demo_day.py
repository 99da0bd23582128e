"""The plan of a day: telling orders first, only what can be delivered, equal for equal seeds."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.geo import Place
from kernel.money import Money
from kernel.quantity import Quantity, StockLevel
from plugins.catalog.contract import OwnOffer
from plugins.demo.day import (
    SITES,
    Fate,
    NothingToBuyError,
    Plan,
    Stall,
    buyers_of,
    plan_day,
)

CITY = Place(17.41, 78.47)
DELHI = Place(28.61, 77.21)


def an_id(prefix: str, number: int) -> str:
    return f"{prefix}_01m7wan8pce7t94awaz1r{number:05}"


def an_offer(number: int, *, product: int, vendor: int, **overrides: object) -> OwnOffer:
    fields: dict[str, object] = {
        "offer_id": an_id("offer", number),
        "product_id": an_id("product", product),
        "product_name": "OPC 53 grade cement",
        "vendor_id": an_id("vendor", vendor),
        "sku": f"SKU-{number}",
        "price": Money(38_000),
        "min_quantity": Quantity.of(10),
        "on_hand": StockLevel.of(500),
        "reserved": StockLevel(0),
        "available": StockLevel.of(500),
        "paused": False,
        "version": 1,
    }
    return OwnOffer(**{**fields, **overrides})  # type: ignore[arg-type]  # a builder's fields


def stalls() -> list[Stall]:
    return [
        Stall(CITY, 40, tuple(an_offer(n, product=n, vendor=1) for n in range(8))),
        Stall(
            CITY, 40, tuple(an_offer(100 + n, product=n, vendor=2, price=Money(37_000)) for n in range(4))
        ),
        Stall(DELHI, 10, (an_offer(200, product=9, vendor=3),)),
    ]  # fmt: skip


def a_day(seed: int = 1, *, orders: int = 30, has_provider: bool = True) -> list[Plan]:
    return plan_day(stalls(), orders=orders, chance=Random(seed), has_provider=has_provider)


def test_the_first_three_orders_are_the_telling_ones() -> None:
    plans = a_day()

    assert [plan.fate for plan in plans[:3]] == [Fate.REJECTED, Fate.CANCELLED, Fate.DECLINED]
    assert plans[2].payment_method == "razorpay"


def test_equal_seeds_make_equal_days_and_others_do_not() -> None:
    assert a_day(5) == a_day(5)
    assert a_day(5) != a_day(6)


def test_without_a_provider_everybody_pays_in_cash_and_nothing_is_declined() -> None:
    plans = a_day(has_provider=False)

    assert {plan.payment_method for plan in plans} == {"cod"}
    assert Fate.DECLINED not in {plan.fate for plan in plans}


def test_what_is_rejected_could_be_delivered_by_another_vendor_for_no_more() -> None:
    line = a_day()[0].lines[0]

    assert line.offer_id in {an_id("offer", number) for number in range(4)}


def test_nobody_orders_from_a_vendor_out_of_reach() -> None:
    lines = [line for plan in a_day(orders=200) for line in plan.lines]

    assert an_id("offer", 200) not in {line.offer_id for line in lines}
    assert an_id("product", 9) not in {line.product_id for line in lines}


@given(seed=st.integers(), stock=st.integers(10_000, 60_000))
def test_a_basket_names_every_product_once_and_no_more_than_is_there(seed: int, stock: int) -> None:
    offers = tuple(
        an_offer(n, product=n, vendor=1, available=StockLevel(stock)) for n in range(6)
    )  # fmt: skip

    plans = plan_day([Stall(CITY, 40, offers)], orders=6, chance=Random(seed), has_provider=True)

    lines = [plan.lines for plan in plans]
    assert all(1 <= len(basket) <= 4 for basket in lines)
    assert all(10_000 <= line.quantity.thousandths <= stock for b in lines for line in b)
    assert all((line.offer_id is None) != (line.product_id is None) for b in lines for line in b)


def test_an_empty_market_is_said_to_be_empty() -> None:
    sold_out = an_offer(1, product=1, vendor=1, available=StockLevel.of(9))

    with pytest.raises(NothingToBuyError):
        plan_day([Stall(CITY, 40, (sold_out,))], orders=1, chance=Random(1), has_provider=False)


def test_an_order_and_its_quote_ask_for_the_same() -> None:
    plan = a_day()[3]

    assert plan.command().lines == plan.question().lines == plan.lines
    assert plan.command().delivery_address == plan.question().delivery_address


@pytest.mark.parametrize(("orders", "buyers"), [(1, 1), (3, 1), (4, 2), (40, 14)])
def test_three_orders_make_a_buyer(orders: int, buyers: int) -> None:
    assert buyers_of(orders) == buyers


def test_every_site_lies_in_hyderabad() -> None:
    assert all(site.place.distance_km(CITY) < 25 for site in SITES)
    assert all(site.pincode.startswith("500") for site in SITES)
