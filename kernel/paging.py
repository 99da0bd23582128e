"""Pages by cursor: a cursor is the sort key of the last row, sealed as an opaque text."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kernel.errors import invalid_field

Limit = Annotated[int, Meta(ge=1, le=100)]
Cursor = Annotated[str, Meta(min_length=1, max_length=512)]


def seal_cursor(*key: str | float) -> str:
    """Return the cursor that continues after a row with this sort key."""
    return urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def open_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """Return the sort key in a cursor; raises Invalid when it is none of ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key: tuple[Any, ...] = msgspec.json.decode(urlsafe_b64decode(padded), type=tuple[types])  # type: ignore[valid-type]  # built at run time
        return tuple(_in_utc(part) if isinstance(part, datetime) else part for part in key)
    except (msgspec.DecodeError, Base64Error, ValueError, OverflowError) as error:
        raise invalid_field("cursor", "is not a cursor that this list gave") from error


def _in_utc(moment: datetime) -> datetime:
    """Return the moment as the database takes it; raises OverflowError beyond the calendar."""
    return moment.astimezone(UTC)
