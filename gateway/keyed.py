"""The identity of a command that came with an Idempotency-Key."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from kernel.ids import derived_uuid

KEYED_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""A key carries no time, and the same key must make the same identity: all get this one."""


def keyed_uuid(actor: str, command: str, key: str) -> UUID:
    """Return the identity that this actor, command and key always make."""
    return derived_uuid(KEYED_EPOCH, "http", actor, command, key)
