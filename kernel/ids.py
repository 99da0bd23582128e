"""Ids: sortable, prefixed on the wire (``order_01j…``, TypeID over UUIDv7), native uuid in the database.

Every id that a handler makes is derived from its cause, so that a second run makes the same ids.
"""

import os
import time
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta
from typeid.codecs import base32

from kernel.errors import Invalid

SUFFIX: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"

Id = Annotated[str, Meta(pattern=rf"^[a-z]{{2,12}}_{SUFFIX}$")]
"""Any prefixed id. Contracts narrow it by ``id_type``."""


def id_meta(prefix: str) -> Meta:
    """Return the rule of one kind of id; contracts annotate a ``str`` with it."""
    return Meta(pattern=rf"^{prefix}_{SUFFIX}$", examples=[f"{prefix}_01k9z7x3c8e4m9r2t5v6w7y8z0"])


def to_wire(prefix: str, value: UUID) -> str:
    """Return the prefixed form of a database id."""
    return f"{prefix}_{base32.encode(value.bytes)}"


def to_uuid(value: str) -> UUID:
    """Return the database form of a prefixed id; raises Invalid when it is none."""
    try:
        return UUID(bytes=bytes(base32.decode(value.rpartition("_")[2])))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise Invalid(f"{value[:60]!r} is not an id") from error


def new_uuid7() -> UUID:
    """Return a random UUIDv7, for what has no cause inside the system."""
    return _uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def derived_uuid(at: datetime, *parts: str) -> UUID:
    """Return the UUIDv7 that these parts always make: the cause's time, and a hash of the rest."""
    digest = blake2b("\x1f".join(parts).encode(), digest_size=10).digest()
    return _uuid7(int(at.timestamp() * 1000), digest)


def time_of(value: UUID) -> datetime:
    """Return the moment that a UUIDv7 carries, to the millisecond."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def _uuid7(milliseconds: int, tail: bytes) -> UUID:
    number = (milliseconds << 80) | int.from_bytes(tail, "big")
    number = number & ~(0xF << 76) | (0x7 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=number)
