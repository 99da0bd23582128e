"""SQL statements: written in SQLAlchemy Core, compiled once at import, run by asyncpg.

A statement is a named constant of ``store.py`` or ``queries.py``::

    ORDER_BY_ID = statement(select(orders).where(orders.c.order_id == bindparam("order_id")))
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql import ClauseElement

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


class Statement:
    """A compiled statement: its text with ``$n`` places, and the parameter name of each place."""

    __slots__ = ("defaults", "names", "sql")

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self.names: tuple[str, ...] = tuple(getattr(compiled, "positiontup", None) or ())
        self.defaults: dict[str, Any] = {
            name: value for name, value in (compiled.params or {}).items() if value is not None
        }

    def arguments(self, params: Mapping[str, Any]) -> list[Any]:
        """Put parameters in the order of their places; raises TypeError for a missing or unknown one."""
        if len(params) + len(self.defaults) != len(set(self.names)):
            self._check(params)
        defaults = self.defaults
        try:
            return [params[name] if name in params else defaults[name] for name in self.names]
        except KeyError as error:
            raise TypeError(f"the statement needs {error} ({self.sql[:80]})") from error

    def _check(self, params: Mapping[str, Any]) -> None:
        unknown = set(params) - set(self.names)
        if unknown:
            raise TypeError(f"the statement has no {sorted(unknown)} ({self.sql[:80]})")

    def __repr__(self) -> str:
        return f"Statement({self.sql!r})"


def statement(clause: ClauseElement | str) -> Statement:
    """Compile a Core construct, or plain SQL with ``:name`` places, for asyncpg."""
    return Statement(text(clause) if isinstance(clause, str) else clause)
