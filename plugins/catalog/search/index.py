"""The listings of all products in memory, searchable. No I/O: rows go in, pages come out.

Every product has a slot, a whole number; sets of products are sets of slots as bits. So a filter is
an ``&`` and a facet a count of bits, at ten thousand products as at ten.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from kernel.errors import invalid_field
from kernel.money import Money
from kernel.paging import open_cursor, seal_cursor
from kernel.quantity import StockLevel
from plugins.catalog.contract import (
    Facets,
    FacetValue,
    Kind,
    Listing,
    ListProducts,
    ProductList,
    Sort,
)
from plugins.catalog.search.bits import SlotSet, slots_of
from plugins.catalog.search.orders import MANY, Key, Order
from plugins.catalog.search.words import (
    CONCEPT_WORDS,
    KNOWN_FOR,
    Term,
    concepts_of,
    measures_of,
    terms_of,
    words_of,
)

NO_PRICE: Final = 2**62
"""Sorts behind every price."""

MOST_FACET_VALUES: Final = 50
SHORTEST_PREFIX: Final = 3
SHORTEST_MISSPELT: Final = 4
LONG_WORD: Final = 8
CURSORS: Final[Mapping[Sort, tuple[type, ...]]] = {
    "relevance": (str, int, int, int, str),
    "price": (str, int, str),
    "-price": (str, int, str),
    "name": (str, str, str),
    "newest": (str, int, str),
}


class ListedProduct(NamedTuple):
    """A product as its list shows it, with what is searched besides."""

    listing: Listing
    description: str
    created_at: datetime


class ListingIndex:
    """All listings, with the sets and orders by which they are found."""

    def __init__(self, *, remembered: int) -> None:
        self._slots: dict[str, int] = {}
        self._listings: list[Listing] = []
        self._heads: dict[str, SlotSet] = {}
        self._bodies: dict[str, SlotSet] = {}
        self._values: dict[str, dict[str, int]] = {"category": {}, "kind": {}, "brand": {}}
        self._available = 0
        self._orders: dict[Sort, Order] = {sort: Order() for sort in CURSORS}
        self._terms: OrderedDict[Term, tuple[int, int]] = OrderedDict()
        self._answers: OrderedDict[ListProducts, ProductList] = OrderedDict()
        self._remembered = remembered

    def put(self, products: Iterable[ListedProduct]) -> None:
        """Take products in, new or changed. The words of a known one are not looked at again."""
        keys: dict[Sort, dict[int, Key]] = {sort: {} for sort in CURSORS}
        for product in products:
            listing = product.listing
            slot = self._slots.get(listing.product_id)
            if slot is None:
                slot = self._add(product)
            elif self._listings[slot] == listing:
                continue
            self._listings[slot] = listing
            self._set_available(slot, is_available=listing.available.thousandths > 0)
            for sort, key in _keys(product, slot).items():
                keys[sort][slot] = key
        for sort, changed in keys.items():
            self._orders[sort].put(changed)
        if keys["name"]:
            self._answers.clear()

    def search(self, query: ListProducts) -> ProductList:
        """Answer a search, from memory when nothing changed since the same one."""
        found = self._answers.get(query)
        if found is not None:
            self._answers.move_to_end(query)
            return found
        answer = self._search(query)
        self._answers[query] = answer
        if len(self._answers) > self._remembered:
            self._answers.popitem(last=False)
        return answer

    def _search(self, query: ListProducts) -> ProductList:
        tiers = self._tiers(query)
        bits = 0
        for tier in tiers.values():
            bits |= tier
        page = list(islice(self._walk(query, tiers, bits), query.limit + 1))
        more = len(page) > query.limit
        page = page[: query.limit]
        return ProductList(
            items=tuple(self._listings[key[-1]] for key in page),
            next_cursor=seal_cursor(query.sort, *page[-1][:-1]) if more else None,
            facets=self._facets(bits),
        )

    def _tiers(self, query: ListProducts) -> dict[int, int]:
        """Return the sets of found products by how many terms only their description has."""
        allowed = self._filtered(query)
        tiers = {0: allowed}
        for term in terms_of(query.q or ""):
            head, body = self._sets_of(term)
            found: dict[int, int] = {}
            for misses, bits in tiers.items():
                found[misses] = found.get(misses, 0) | bits & head
                found[misses + 1] = found.get(misses + 1, 0) | bits & body & ~head
            tiers = {misses: bits for misses, bits in found.items() if bits}
        return tiers

    def _filtered(self, query: ListProducts) -> int:
        bits = (1 << len(self._listings)) - 1
        if query.category is not None:
            bits &= self._values["category"].get(query.category, 0)
        if query.kind is not None:
            bits &= self._values["kind"].get(query.kind, 0)
        if query.available is not None:
            bits &= self._available if query.available else ~self._available
        if query.min_price is not None or query.max_price is not None:
            high = NO_PRICE if query.max_price is None else min(query.max_price + 1, NO_PRICE)
            bits &= self._orders["price"].between((query.min_price or 0,), (high,))
        return bits

    def _walk(self, query: ListProducts, tiers: Mapping[int, int], bits: int) -> Iterator[Key]:
        order = self._orders[query.sort]
        after = _opened(query) if query.cursor else None
        if query.sort != "relevance":
            yield from order.walk(bits, after=after)
            return
        first = after[0] if after else 0
        for misses in sorted(tier for tier in tiers if tier >= first):
            behind = after[1:] if after and misses == first else None
            for key in order.walk(tiers[misses], after=behind):
                yield (misses, *key)

    def _facets(self, bits: int) -> Facets:
        if bits.bit_count() <= MANY:
            found = [self._listings[slot] for slot in slots_of(bits)]
            return Facets(
                category=_facet(Counter(listing.category for listing in found)),
                kind=_facet(Counter[str](listing.kind for listing in found)),
                brand=_facet(Counter(listing.brand for listing in found if listing.brand)),
            )
        counts = {
            name: {value: (bits & of_value).bit_count() for value, of_value in values.items()}
            for name, values in self._values.items()
        }
        return Facets(
            category=_facet(counts["category"]),
            kind=_facet(counts["kind"]),
            brand=_facet(counts["brand"]),
        )

    def _add(self, product: ListedProduct) -> int:
        listing, slot = product.listing, len(self._listings)
        self._slots[listing.product_id] = slot
        self._listings.append(listing)
        self._terms.clear()
        category = listing.category.replace("-", " ")
        named = words_of(f"{listing.name} {listing.brand or ''} {category} {listing.kind}")
        for word in {*named, *concepts_of(named)}:
            self._heads.setdefault(word, SlotSet()).add(slot)
        for word in set(words_of(product.description)):
            self._bodies.setdefault(word, SlotSet()).add(slot)
        for name, value in (
            ("category", listing.category),
            ("kind", listing.kind),
            ("brand", listing.brand),
        ):
            if value is not None:
                values = self._values[name]
                values[value] = values.get(value, 0) | 1 << slot
        return slot

    def _set_available(self, slot: int, *, is_available: bool) -> None:
        bit = 1 << slot
        self._available = self._available | bit if is_available else self._available & ~bit

    def _sets_of(self, term: Term) -> tuple[int, int]:
        found = self._terms.get(term)
        if found is None:
            head = body = 0
            for word in self._meant_by(term):
                head |= _bits(self._heads, word)
                body |= _bits(self._bodies, word)
            found = self._terms[term] = head, body
            if len(self._terms) > self._remembered:
                self._terms.popitem(last=False)
        return found

    def _meant_by(self, term: Term) -> Sequence[str]:
        """Return the words and concepts that a term may mean, the surest reading only."""
        if term.concept is not None:
            return (term.concept, *term.words) if len(term.words) == 1 else (term.concept,)
        word = term.words[0]
        measured = [known for known in measures_of(word) if known in self._heads]
        if measured:
            return (word, *measured)
        if word in self._heads or word in self._bodies:
            return (word,)
        if word in KNOWN_FOR:
            return (KNOWN_FOR[word],)
        longer = self._longer_than(word)
        return longer or self._nearest_to(word)

    def _longer_than(self, word: str) -> Sequence[str]:
        if len(word) < SHORTEST_PREFIX:
            return ()
        return tuple(known for known in self._heads if known.startswith(word))

    def _nearest_to(self, word: str) -> Sequence[str]:
        if len(word) < SHORTEST_MISSPELT or not word.isalpha():
            return ()
        farthest = 2 if len(word) >= LONG_WORD else 1
        near = extract(
            word,
            [*self._heads, *CONCEPT_WORDS],
            scorer=OSA.distance,
            score_cutoff=farthest,
            limit=5,
        )
        best = min((distance for _, distance, _ in near), default=0)
        return tuple(CONCEPT_WORDS.get(w, w) for w, distance, _ in near if distance == best)


def _bits(sets: Mapping[str, SlotSet], word: str) -> int:
    found = sets.get(word)
    return found.bits() if found is not None else 0


def _facet(counts: Mapping[str, int]) -> tuple[FacetValue, ...]:
    ranked = sorted((-count, value) for value, count in counts.items() if count)
    return tuple(
        FacetValue(value=value, count=-count) for count, value in ranked[:MOST_FACET_VALUES]
    )


def _keys(product: ListedProduct, slot: int) -> dict[Sort, Key]:
    listing = product.listing
    product_id = listing.product_id
    price = listing.price.amount if listing.price else None
    age = -int(product.created_at.timestamp() * 1_000_000)
    return {
        "relevance": (-listing.offers, age, product_id, slot),
        "price": (NO_PRICE if price is None else price, product_id, slot),
        "-price": (NO_PRICE if price is None else -price, product_id, slot),
        "name": (listing.name.casefold(), product_id, slot),
        "newest": (age, product_id, slot),
    }


def _opened(query: ListProducts) -> Key:
    """Return the sort key in the cursor; one of another order is refused."""
    sort, *key = open_cursor(query.cursor or "", *CURSORS[query.sort])
    if sort != query.sort:
        raise invalid_field("cursor", f"belongs to a list sorted by {sort[:20]}")
    return tuple(key)


def listed_product(row: Mapping[str, Any], product_id: str) -> ListedProduct:
    """Return a product from a row of ``LISTED``."""
    kind: Kind = row["kind"]
    return ListedProduct(
        Listing(
            product_id=product_id,
            name=row["name"],
            category=row["category"],
            kind=kind,
            unit=row["unit"],
            brand=row["brand"],
            price=None if row["price"] is None else Money(row["price"]),
            available=StockLevel(row["available"]),
            offers=row["offers"],
        ),
        row["description"],
        row["created_at"],
    )
