"""Orders of the listings: keys kept sorted, so that a page is a walk from the cursor on."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from plugins.catalog.search.bits import bits_of, slots_of

Key = tuple[Any, ...]
"""A sort key whose last but one part is the product's id, and whose last is its slot."""

MANY: Final = 128
"""So many changes at once are sorted anew; so few results are sorted by themselves."""


class Order:
    """All listings by one key."""

    def __init__(self) -> None:
        self._by_slot: list[Key] = []
        self._ranked: list[Key] = []

    def put(self, keys: Mapping[int, Key]) -> None:
        """Give slots new keys; a new slot must be the next one."""
        changed = {
            slot: key
            for slot, key in keys.items()
            if slot >= len(self._by_slot) or self._by_slot[slot] != key
        }
        for slot, key in changed.items():
            if slot >= len(self._by_slot):
                self._by_slot.append(key)
                old = None
            else:
                old, self._by_slot[slot] = self._by_slot[slot], key
            if len(changed) <= MANY:
                self._replace(old, key)
        if len(changed) > MANY:
            self._ranked = sorted(self._by_slot)

    def between(self, low: Key, high: Key) -> int:
        """Return the set of slots whose keys are at least ``low`` and below ``high``."""
        size = len(self._ranked)
        start, end = bisect_left(self._ranked, low), bisect_left(self._ranked, high)
        if 2 * (end - start) <= size:
            return self._slots(start, end)
        return (1 << size) - 1 & ~self._slots(0, start) & ~self._slots(end, size)

    def walk(self, bits: int, *, after: Key | None) -> Iterator[Key]:
        """Give the keys of a set of slots in order, from behind ``after`` on."""
        if bits.bit_count() <= MANY:
            few = sorted(self._by_slot[slot] for slot in slots_of(bits))
            yield from few[_place(few, after) :]
            return
        flags = bits.to_bytes(len(self._by_slot) // 8 + 1, "little")
        for key in islice(self._ranked, _place(self._ranked, after), None):
            slot = key[-1]
            if flags[slot >> 3] >> (slot & 7) & 1:
                yield key

    def _slots(self, start: int, end: int) -> int:
        keys = islice(self._ranked, start, end)
        return bits_of((key[-1] for key in keys), len(self._ranked)) if end > start else 0

    def _replace(self, old: Key | None, new: Key) -> None:
        if old is not None:
            del self._ranked[bisect_left(self._ranked, old)]
        insort(self._ranked, new)


def _place(ranked: Sequence[Key], after: Key | None) -> int:
    return 0 if after is None else bisect_right(ranked, (*after, float("inf")))
