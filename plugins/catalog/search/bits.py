"""Sets of slots as whole numbers: bit n stands for slot n. Python's own, and fast at ten thousand."""

from collections.abc import Iterable, Iterator


def bits_of(slots: Iterable[int], size: int) -> int:
    """Return the set of these slots; each must be below ``size``."""
    digits = bytearray(b"0") * (size + 1)
    for slot in slots:
        digits[-1 - slot] = 49
    return int(digits, 2)


def slots_of(bits: int) -> Iterator[int]:
    """Give the slots of a small set, lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class SlotSet:
    """A growing set of slots; as bits only when it is large, for most words are rare."""

    __slots__ = ("_bits", "_compiled", "_slots")

    LARGE = 64

    def __init__(self) -> None:
        self._slots: list[int] = []
        self._bits = 0
        self._compiled = 0

    def add(self, slot: int) -> None:
        """Add a slot that is not in it."""
        self._slots.append(slot)

    def bits(self) -> int:
        """Return the set as bits."""
        new = self._slots[self._compiled :]
        if not new:
            return self._bits
        found = self._bits | bits_of(new, max(new))
        if len(self._slots) > self.LARGE:
            self._bits, self._compiled = found, len(self._slots)
        return found
