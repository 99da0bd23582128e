"""Identities of messages: UUIDv7, sortable by the millisecond in which they were made."""

import os
import time
from uuid import UUID


def new_uuid7() -> UUID:
    """Return a random UUIDv7, for what has no cause inside the system."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def uuid7(milliseconds: int, tail: bytes) -> UUID:
    """Return the UUIDv7 of a moment and 10 bytes, of which version and variant take 6 bits."""
    number = (milliseconds << 80) | int.from_bytes(tail, "big")
    number = number & ~(0xF << 76) | (0x7 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=number)
