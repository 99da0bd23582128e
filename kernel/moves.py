"""Tables of legal moves: which state may follow which. State diagrams in READMEs come from them."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Generic, TypeVar

S = TypeVar("S", bound=str)


class Moves(Generic[S]):
    """An immutable table of legal moves."""

    def __init__(self, table: Mapping[S, AbstractSet[S]]) -> None:
        unknown = {end for ends in table.values() for end in ends} - set(table)
        if unknown:
            raise ValueError(f"states without a row of their own: {sorted(unknown)}")
        self._table = MappingProxyType({state: frozenset(ends) for state, ends in table.items()})

    def allows(self, start: S, end: S) -> bool:
        """Tell whether ``end`` may follow ``start``."""
        return end in self._table[start]

    @property
    def states(self) -> tuple[S, ...]:
        """All states, in the order of the declaration."""
        return tuple(self._table)

    def after(self, state: S) -> frozenset[S]:
        """The states that may follow this one; empty for an end state."""
        return self._table[state]

    def diagram(self) -> str:
        """Return the table as a Mermaid state diagram."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.states[0]}"]
        for state, ends in self._table.items():
            lines += [f"    {state} --> {end}" for end in sorted(ends)]
            if not ends:
                lines.append(f"    {state} --> [*]")
        return "\n".join(lines)


def legal_moves(table: Mapping[S, AbstractSet[S]]) -> Moves[S]:
    """Build a table of legal moves; every state must have a row, end states an empty one."""
    return Moves(table)
