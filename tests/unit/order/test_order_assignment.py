"""The choice of offers and vendors."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import to_wire
from kernel.money import Money
from kernel.quantity import Quantity, StockLevel
from plugins.catalog.contract import QuotedOffer
from plugins.order.assignment import (
    Pick,
    Shelf,
    Wanted,
    pick_cheapest,
    pick_offers,
    replacements,
    require_open,
    wanted_of,
)
from plugins.order.contract import OfferLine, OrderedLine
from plugins.order.errors import (
    AmbiguousLineError,
    BelowMinQuantityError,
    NoVendorError,
    OfferNotOpenError,
    QuantityTooLargeError,
    VendorCannotDeliverError,
)


def an_id(prefix: str, number: int = 1) -> str:
    return to_wire(prefix, UUID(int=number))


def an_offer(number: int = 1, **overrides: Any) -> QuotedOffer:
    fields: dict[str, Any] = {
        "offer_id": an_id("offer", number),
        "product_id": an_id("product"),
        "vendor_id": an_id("vendor", number),
        "kind": "material",
        "unit": "bag",
        "hsn": "2523",
        "price": Money(38_000),
        "min_quantity": Quantity.of(1),
        "available": StockLevel.of(100),
    }
    return QuotedOffer(**{**fields, **overrides})


def by_offer(number: int = 1, quantity: float = 10) -> OfferLine:
    return OfferLine(offer_id=an_id("offer", number), quantity=Quantity.of(quantity))


def by_product(number: int = 1, quantity: float = 10) -> OfferLine:
    return OfferLine(product_id=an_id("product", number), quantity=Quantity.of(quantity))


def a_sold_line(**overrides: Any) -> OrderedLine:
    fields: dict[str, Any] = {
        "offer_id": an_id("offer", 1),
        "product_id": an_id("product"),
        "hsn": "2523",
        "unit": "bag",
        "quantity": Quantity.of(10),
        "unit_price": Money(38_000),
        "amount": Money(380_000),
        "tax_rate_bp": 1800,
        "tax": Money(68_400),
    }
    return OrderedLine(**{**fields, **overrides})


def offer_ids(picks: tuple[Pick, ...]) -> list[str]:
    return [pick.offer.offer_id for pick in picks]


def test_two_lines_of_one_offer_are_merged() -> None:
    wanted = wanted_of([by_offer(1, 2.5), by_offer(2, 1), by_offer(1, 3)])

    assert wanted == Wanted({an_id("offer", 1): 5500, an_id("offer", 2): 1000}, {})


@pytest.mark.parametrize(
    "line",
    [
        OfferLine(quantity=Quantity.of(1)),
        OfferLine(quantity=Quantity.of(1), offer_id=an_id("offer"), product_id=an_id("product")),
    ],
    ids=["neither", "both"],
)
def test_a_line_names_exactly_one_of_offer_and_product(line: OfferLine) -> None:
    with pytest.raises(AmbiguousLineError) as refused:
        wanted_of([by_offer(), line])

    assert [fault.field for fault in refused.value.errors] == ["lines[1]"]


def test_what_is_not_on_offer_is_named_by_its_lines() -> None:
    lines = [by_offer(1), by_offer(7), by_product(8)]

    with pytest.raises(OfferNotOpenError) as refused:
        require_open(wanted_of(lines), Shelf([an_offer(1)]), lines)

    assert [fault.field for fault in refused.value.errors] == [
        "lines[1].offer_id",
        "lines[2].product_id",
    ]


def test_the_nearest_vendor_is_chosen() -> None:
    shelf = Shelf([an_offer(1, price=Money(1)), an_offer(2)])
    reach = {an_id("vendor", 1): 9.0, an_id("vendor", 2): 2.0}

    picks = pick_offers(wanted_of([by_product()]), shelf, reach)

    assert offer_ids(picks) == [an_id("offer", 2)]


def test_of_equally_near_vendors_the_cheaper_is_chosen() -> None:
    shelf = Shelf([an_offer(1), an_offer(2, price=Money(37_000))])
    reach = {an_id("vendor", 1): 2.0, an_id("vendor", 2): 2.0}

    picks = pick_offers(wanted_of([by_product()]), shelf, reach)

    assert offer_ids(picks) == [an_id("offer", 2)]


def test_of_equal_offers_the_lower_id_is_chosen() -> None:
    shelf = Shelf([an_offer(2), an_offer(1)])
    reach = {an_id("vendor", 1): 2.0, an_id("vendor", 2): 2.0}

    picks = pick_offers(wanted_of([by_product()]), shelf, reach)

    assert offer_ids(picks) == [an_id("offer", 1)]


def test_a_near_vendor_without_enough_stock_is_passed_over() -> None:
    shelf = Shelf([an_offer(1, available=StockLevel.of(9)), an_offer(2)])
    reach = {an_id("vendor", 1): 1.0, an_id("vendor", 2): 2.0}

    picks = pick_offers(wanted_of([by_product()]), shelf, reach)

    assert offer_ids(picks) == [an_id("offer", 2)]


def test_a_product_line_adds_to_the_offer_that_another_line_names() -> None:
    shelf = Shelf([an_offer(1)])

    picks = pick_offers(
        wanted_of([by_offer(1, 10), by_product(1, 5)]), shelf, {an_id("vendor", 1): 1.0}
    )

    assert picks == (Pick(an_offer(1), Quantity.of(15)),)


def test_a_product_line_counts_what_other_lines_take_of_the_stock() -> None:
    shelf = Shelf([an_offer(1, available=StockLevel.of(12)), an_offer(2)])
    reach = {an_id("vendor", 1): 1.0, an_id("vendor", 2): 2.0}

    picks = pick_offers(wanted_of([by_offer(1, 10), by_product(1, 5)]), shelf, reach)

    assert offer_ids(picks) == [an_id("offer", 1), an_id("offer", 2)]


def test_a_product_that_nobody_near_has_is_refused() -> None:
    with pytest.raises(NoVendorError):
        pick_offers(wanted_of([by_product()]), Shelf([an_offer(1)]), {})


def test_a_chosen_offer_whose_vendor_is_out_of_reach_is_refused() -> None:
    shelf = Shelf([an_offer(1), an_offer(2)])

    with pytest.raises(VendorCannotDeliverError):
        pick_offers(wanted_of([by_offer(1)]), shelf, {an_id("vendor", 2): 1.0})


def test_less_than_the_least_quantity_is_refused() -> None:
    shelf = Shelf([an_offer(1, min_quantity=Quantity.of(20))])

    with pytest.raises(BelowMinQuantityError):
        pick_offers(wanted_of([by_offer(1, 19)]), shelf, {an_id("vendor", 1): 1.0})


def test_lines_that_add_up_beyond_a_quantity_are_refused() -> None:
    lines = [by_offer(1, 1_000_000), by_offer(1, 1)]

    with pytest.raises(QuantityTooLargeError):
        pick_cheapest(wanted_of(lines), Shelf([an_offer(1)]))


def test_a_price_is_found_even_where_nobody_has_stock() -> None:
    empty = StockLevel.of(0)
    shelf = Shelf([an_offer(1, available=empty), an_offer(2, available=empty, price=Money(5))])

    picks = pick_cheapest(wanted_of([by_product()]), shelf)

    assert offer_ids(picks) == [an_id("offer", 2)]


def test_a_replacement_has_every_line() -> None:
    other = an_offer(2, product_id=an_id("product", 2), vendor_id=an_id("vendor", 2))
    lines = [a_sold_line(), a_sold_line(product_id=an_id("product", 2))]
    shelf = Shelf([an_offer(3, vendor_id=an_id("vendor", 2)), other, an_offer(4)])

    found = replacements(lines, shelf, asked=())

    assert list(found) == [an_id("vendor", 2)]
    assert [offer.offer_id for offer in found[an_id("vendor", 2)].offers] == [
        an_id("offer", 3),
        an_id("offer", 2),
    ]


def test_a_vendor_that_was_asked_is_not_asked_again() -> None:
    found = replacements([a_sold_line()], Shelf([an_offer(1)]), asked=(an_id("vendor", 1),))

    assert found == {}


@pytest.mark.parametrize(
    "unfit",
    [
        {"price": Money(38_001)},
        {"available": StockLevel.of(9.999)},
        {"min_quantity": Quantity.of(10.001)},
    ],
    ids=["dearer", "too little", "too much at least"],
)
def test_an_offer_that_does_not_fit_the_sale_is_no_replacement(unfit: dict[str, Any]) -> None:
    found = replacements([a_sold_line()], Shelf([an_offer(2, **unfit)]), asked=())

    assert found == {}


OFFERS = st.lists(
    st.builds(
        lambda number, price, stock: an_offer(
            number, price=Money(price), available=StockLevel(stock * 1000)
        ),
        st.integers(1, 8),
        st.integers(1, 5),
        st.integers(0, 20),
    ),
    unique_by=lambda offer: offer.offer_id,
    min_size=1,
)


@given(offers=OFFERS, seed=st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order_of_the_offers(
    offers: list[QuotedOffer], seed: Any
) -> None:
    reach = {offer.vendor_id: float(offer.price.amount % 2) for offer in offers}
    wanted = wanted_of([by_product(1, 1)])
    shuffled = list(offers)
    seed.shuffle(shuffled)

    assert choice(wanted, offers, reach) == choice(wanted, shuffled, reach)


def choice(
    wanted: Wanted, offers: list[QuotedOffer], reach: dict[str, float]
) -> tuple[Pick, ...] | None:
    try:
        return pick_offers(wanted, Shelf(offers), reach)
    except NoVendorError:
        return None
