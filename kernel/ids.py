"""Ids: sortable, prefixed on the wire (``order_01j…``, TypeID over UUIDv7), native uuid in the database.

Every id that a handler makes is derived from its cause, so that a second run makes the same ids.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta
from typeid.codecs import base32

from bus.identity import new_uuid7, uuid7
from kernel.errors import Invalid
from kernel.text import END

__all__ = ["Id", "derived_uuid", "id_meta", "new_uuid7", "time_of", "to_uuid", "to_wire"]

_NO_TIME: Final = datetime(2020, 1, 1, tzinfo=UTC)
_LAST_MILLISECOND: Final = 253_402_300_799_999
SUFFIX: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"

Id = Annotated[str, Meta(pattern=rf"^[a-z]{{2,12}}_{SUFFIX}{END}")]
"""Any prefixed id. Contracts narrow it by ``id_type``."""


def id_meta(prefix: str) -> Meta:
    """Return the rule of one kind of id; contracts annotate a ``str`` with it."""
    return Meta(
        pattern=rf"^{prefix}_{SUFFIX}{END}", examples=[f"{prefix}_01k9z7x3c8e4m9r2t5v6w7y8z0"]
    )


def to_wire(prefix: str, value: UUID) -> str:
    """Return the prefixed form of a database id."""
    return f"{prefix}_{base32.encode(value.bytes)}"


def to_uuid(value: str) -> UUID:
    """Return the database form of a prefixed id; raises Invalid when it is none."""
    try:
        suffix = value.rpartition("_")[2]
        if suffix[:1] > "7":
            raise ValueError("more than 128 bits")  # noqa: TRY301  told below as any other fault
        return UUID(bytes=bytes(base32.decode(suffix)))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise Invalid(f"{value[:60]!r} is not an id") from error


def derived_uuid(at: datetime, *parts: str) -> UUID:
    """Return the UUIDv7 that these parts always make: the cause's time, and a hash of the rest."""
    digest = blake2b("\x1f".join(parts).encode(), digest_size=10).digest()
    return uuid7(int(at.timestamp() * 1000), digest)


def time_of(value: UUID) -> datetime:
    """Return the moment that a UUIDv7 carries, to the millisecond; the start of 2020 for any other."""
    milliseconds = value.int >> 80
    if value.version != 7 or milliseconds > _LAST_MILLISECOND:
        return _NO_TIME
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
