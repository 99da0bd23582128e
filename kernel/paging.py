"""Pages by cursor: a cursor is the sort key of the last row, sealed as an opaque text."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
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
        key = msgspec.json.decode(urlsafe_b64decode(padded), type=tuple[types])  # type: ignore[valid-type]  # built at run time
    except (msgspec.DecodeError, Base64Error, ValueError, UnicodeError) as error:
        raise invalid_field("cursor", "is not a cursor that this list gave") from error
    return tuple(key)
