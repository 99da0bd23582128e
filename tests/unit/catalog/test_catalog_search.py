"""Words of the trade, and the index of listings: found, sorted, counted and paged."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Invalid
from kernel.ids import to_wire
from kernel.money import Money
from kernel.quantity import StockLevel
from plugins.catalog.contract import FacetValue, Listing, ListProducts, Sort
from plugins.catalog.search.bits import SlotSet, bits_of, slots_of
from plugins.catalog.search.index import CURSORS, ListedProduct, ListingIndex
from plugins.catalog.search.orders import MANY
from plugins.catalog.search.words import concepts_of, terms_of, words_of

NOON = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


def a_product(number: int = 1, *, description: str = "", **overrides: Any) -> ListedProduct:
    fields: dict[str, Any] = {
        "product_id": to_wire("product", UUID(int=number)),
        "name": f"Product {number}",
        "category": "cement",
        "kind": "material",
        "unit": "bag",
        "brand": None,
        "price": Money(1000 + number),
        "available": StockLevel.of(5),
        "offers": 1,
    }
    return ListedProduct(
        Listing(**(fields | overrides)), description, NOON + timedelta(seconds=number)
    )


def an_index(*products: ListedProduct) -> ListingIndex:
    index = ListingIndex(remembered=10)
    index.put(products)
    return index


def a_yard() -> ListingIndex:
    return an_index(
        a_product(1, name="OPC 53 grade cement", brand="Golconda", offers=3),
        a_product(2, name="PPC cement", brand="Musi", description="For masonry and plaster"),
        a_product(3, name="TMT bar Fe 550D 12 mm", category="steel", unit="kg"),
        a_product(4, name="TMT bar Fe 500D 8 mm", category="steel", unit="kg"),
        a_product(5, name="Manufactured sand (M-sand)", category="sand", unit="ton"),
        a_product(6, name="River sand, coarse", category="sand", unit="ton"),
        a_product(7, name="Crushed stone aggregate 20 mm", category="aggregate", unit="ton"),
        a_product(8, name="Clay brick, first class", category="bricks", unit="piece"),
        a_product(9, name="AAC block 600 x 200 x 150 mm", category="blocks", unit="piece"),
        a_product(10, name="Mason", category="masonry", kind="labour", unit="day"),
        a_product(11, name="Carpenter, shuttering", category="carpentry", kind="labour"),
        a_product(12, name="Electrician", category="electrical", kind="labour", unit="day"),
        a_product(13, name="Bar bender", category="steel-work", kind="labour", unit="day"),
    )


def found(index: ListingIndex, **query: Any) -> list[str]:
    return [item.name for item in index.search(ListProducts(**query)).items]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("12 mm TMT Bars", ("12mm", "tmt", "bar")),
        ("OPC53", ("opc", "53")),
        ("Fe-500D", ("fe", "500d")),
        ("M-Sand", ("m", "sand")),
        ("  ", ()),
        ("గోడ ఇటుక", ("గోడ", "ఇటుక")),
        ("2.5 sqmm wires", ("2.5sqmm", "wire")),
    ],
)
def test_a_text_falls_into_folded_words(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


def test_a_text_has_the_concepts_of_all_its_phrases() -> None:
    assert concepts_of(words_of("Manufactured sand")) == {"~msand", "~sand"}


def test_a_search_takes_the_longest_phrase_first() -> None:
    assert [term.concept for term in terms_of("bijli mistri")] == ["~electrician"]


@given(st.text(max_size=100))
def test_every_text_can_be_searched(text: str) -> None:
    a_yard().search(ListProducts(q=text))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sariya 12mm", "TMT bar Fe 550D 12 mm"),
        ("sariya 12", "TMT bar Fe 550D 12 mm"),
        ("sariya 550", "TMT bar Fe 550D 12 mm"),
        ("steel bars fe 500d", "TMT bar Fe 500D 8 mm"),
        ("msand", "Manufactured sand (M-sand)"),
        ("m sand", "Manufactured sand (M-sand)"),
        ("balu coarse", "River sand, coarse"),
        ("jelly", "Crushed stone aggregate 20 mm"),
        ("20 mm gitti", "Crushed stone aggregate 20 mm"),
        ("eent", "Clay brick, first class"),
        ("aac blocks", "AAC block 600 x 200 x 150 mm"),
        ("raj mistri", "Mason"),
        ("badhai", "Carpenter, shuttering"),
        ("bijli wala", "Electrician"),
        ("sariya mistri", "Bar bender"),
        ("ordinary portland cement 53", "OPC 53 grade cement"),
        ("ultratech", "OPC 53 grade cement"),
        ("golconda", "OPC 53 grade cement"),
    ],
)
def test_trade_words_find_what_the_trade_means(text: str, first: str) -> None:
    assert found(a_yard(), q=text)[0] == first


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("cemnet", "OPC 53 grade cement"),
        ("aggregat", "Crushed stone aggregate 20 mm"),
        ("electrisian", "Electrician"),
        ("carpentar", "Carpenter, shuttering"),
        ("sariyaa", "TMT bar Fe 500D 8 mm"),
        ("cem", "OPC 53 grade cement"),
    ],
)
def test_misspelt_and_begun_words_find_the_nearest(text: str, first: str) -> None:
    assert first in found(a_yard(), q=text)


def test_every_word_of_a_search_must_be_met() -> None:
    index = a_yard()

    assert found(index, q="cement 53") == ["OPC 53 grade cement"]
    assert found(index, q="cement zzzzqq") == []
    assert len(found(index, q="price of the")) == 13


def test_a_hit_in_the_name_comes_before_one_in_the_description() -> None:
    index = an_index(
        a_product(1, name="Wall putty", description="Goes with plaster", offers=9),
        a_product(2, name="Gypsum plaster"),
    )

    assert found(index, q="plaster") == ["Gypsum plaster", "Wall putty"]


def test_labour_is_found_by_its_kind_and_by_the_word() -> None:
    index = a_yard()

    assert found(index, q="labour", sort="name") == found(index, kind="labour", sort="name")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"category": "steel"}, [4, 3]),
        ({"category": "nothing"}, []),
        ({"min_price": 1012}, [13, 12]),
        ({"max_price": 1001}, [1]),
        ({"min_price": 1003, "max_price": 1004}, [4, 3]),
        ({"min_price": 2, "max_price": 1}, []),
        ({"max_price": 2**63}, [1, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]),
    ],
)
def test_filters_narrow_the_result(query: dict[str, Any], numbers: list[int]) -> None:
    items = a_yard().search(ListProducts(**query)).items

    assert [item.product_id for item in items] == [
        to_wire("product", UUID(int=number)) for number in numbers
    ]


def test_what_is_sold_out_is_told_apart() -> None:
    index = an_index(
        a_product(1, available=StockLevel(0)), a_product(2), a_product(3, price=None, offers=0)
    )

    assert found(index, available=False) == ["Product 1"]
    assert found(index, available=True, sort="name") == ["Product 2", "Product 3"]
    assert found(index, min_price=0, sort="name") == ["Product 1", "Product 2"]


def test_without_a_price_a_product_comes_last_either_way() -> None:
    index = an_index(a_product(1, price=None), a_product(2), a_product(3))

    assert found(index, sort="price") == ["Product 2", "Product 3", "Product 1"]
    assert found(index, sort="-price") == ["Product 3", "Product 2", "Product 1"]


def test_facets_count_the_whole_result() -> None:
    facets = a_yard().search(ListProducts(kind="material", limit=1)).facets

    assert facets.kind == (FacetValue(value="material", count=9),)
    assert facets.category[:3] == (
        FacetValue(value="cement", count=2),
        FacetValue(value="sand", count=2),
        FacetValue(value="steel", count=2),
    )
    assert facets.brand == (
        FacetValue(value="Golconda", count=1),
        FacetValue(value="Musi", count=1),
    )


def test_facets_of_many_are_those_of_few_added_up() -> None:
    products = [
        a_product(n, category="sand" if n % 3 else "steel", brand=f"B{n % 5}")
        for n in range(1, 301)
    ]

    facets = an_index(*products).search(ListProducts()).facets

    assert facets.category == (
        FacetValue(value="sand", count=200),
        FacetValue(value="steel", count=100),
    )
    assert [value.count for value in facets.brand] == [60] * 5


@pytest.mark.parametrize("sort", list(CURSORS))
@pytest.mark.parametrize("q", [None, "cement"])
@pytest.mark.parametrize("size", [7, MANY + 60])
def test_pages_give_every_product_once_in_order(sort: Sort, q: str | None, size: int) -> None:
    products = [
        a_product(
            n,
            name="Same name" if n % 2 else "Cement",
            description="cement" if n % 2 else "",
            price=Money(5 + n % 3) if n % 4 else None,
            offers=n % 3,
        )
        for n in range(1, size + 1)
    ]
    index = an_index(*products)
    whole = all_ids(index, q, sort, limit=100)

    paged = all_ids(index, q, sort, limit=3)

    assert paged == whole
    assert len(set(paged)) == size


def all_ids(index: ListingIndex, q: str | None, sort: Sort, *, limit: int) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = index.search(ListProducts(q=q, sort=sort, limit=limit, cursor=cursor))
        ids += [item.product_id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return ids


def test_a_page_goes_on_where_it_was_though_the_list_changed() -> None:
    index = an_index(*(a_product(n) for n in range(1, 6)))
    first = index.search(ListProducts(sort="price", limit=2))

    index.put([a_product(1, price=Money(5000)), a_product(9, price=Money(1))])
    second = index.search(ListProducts(sort="price", limit=2, cursor=first.next_cursor))

    assert [item.name for item in second.items] == ["Product 3", "Product 4"]


def test_a_cursor_of_another_order_is_refused() -> None:
    index = an_index(*(a_product(n) for n in range(1, 6)))
    cursor = index.search(ListProducts(sort="price", limit=2)).next_cursor

    with pytest.raises(Invalid) as refusal:
        index.search(ListProducts(sort="-price", cursor=cursor))

    assert [fault.field for fault in refusal.value.errors] == ["cursor"]


@pytest.mark.parametrize("cursor", ["x", "W10", "bnVsbA"])
def test_a_cursor_that_no_list_gave_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        a_yard().search(ListProducts(cursor=cursor))


def test_an_answer_is_remembered_until_a_listing_changes() -> None:
    index = a_yard()
    query = ListProducts(q="cement")
    first = index.search(query)

    again = index.search(query)
    index.put([a_product(1, name="OPC 53 grade cement", offers=3, price=Money(1))])
    changed = index.search(query)

    assert again is first
    assert changed.items[0].price == Money(1)


def test_an_unchanged_listing_changes_nothing() -> None:
    index = a_yard()
    first = index.search(ListProducts())

    index.put([a_product(2, name="PPC cement", brand="Musi")])

    assert index.search(ListProducts()) is first


def test_only_so_many_answers_are_remembered() -> None:
    index = an_index(a_product(1))
    first = index.search(ListProducts(limit=1))

    [index.search(ListProducts(limit=n)) for n in range(2, 13)]

    assert index.search(ListProducts(limit=1)) is not first


def test_many_changes_at_once_sort_like_single_ones() -> None:
    products = [a_product(n, price=Money(n * 7919 % 1009 + 1)) for n in range(1, 2 * MANY)]
    at_once = an_index(*products)
    one_by_one = ListingIndex(remembered=1)

    for product in products:
        one_by_one.put([product])

    assert found(at_once, sort="price", limit=100) == found(one_by_one, sort="price", limit=100)


@given(st.sets(st.integers(0, 500)))
def test_a_set_of_slots_as_bits_and_back(slots: set[int]) -> None:
    assert list(slots_of(bits_of(slots, 501))) == sorted(slots)


@given(st.lists(st.sets(st.integers(0, 300)), max_size=5))
def test_a_growing_set_is_its_sum(additions: Sequence[set[int]]) -> None:
    growing, known = SlotSet(), set[int]()

    for slots in additions:
        for slot in slots - known:
            growing.add(slot)
        known |= slots
        assert set(slots_of(growing.bits())) == known
