"""The one codec: plain JSON of a Struct. Types of our own cross it by ``__from_wire__`` and ``__to_wire__``."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

import msgspec

from bus.errors import FieldFault, MessageTooLargeError, UndecodableError

MAX_PAYLOAD: Final = 1024 * 1024


class WireValue(Protocol):
    """A value with a JSON form of its own, such as a quantity."""

    @classmethod
    def __from_wire__(cls, value: object) -> "WireValue":
        """Check and build from plain JSON; raises ValueError with the reason."""

    def __to_wire__(self) -> object:
        """Return the plain JSON form."""

    @classmethod
    def __wire_schema__(cls) -> dict[str, Any]:
        """Return the JSON schema of the plain form."""


def _dec_hook(kind: type, value: object) -> object:
    if hasattr(kind, "__from_wire__"):
        return kind.__from_wire__(value)
    raise NotImplementedError(f"{kind.__name__} has no place in a message")


def _enc_hook(value: Any) -> object:
    if hasattr(value, "__to_wire__"):  # a runtime-checked Protocol costs 3 µs a value
        return value.__to_wire__()
    raise NotImplementedError(f"{type(value).__name__} has no place in a message")


def schema_hook(kind: type) -> dict[str, Any]:
    """Return the JSON schema of a type of our own, for OpenAPI and AsyncAPI."""
    if hasattr(kind, "__wire_schema__"):
        schema: dict[str, Any] = kind.__wire_schema__()
        return schema
    raise NotImplementedError(f"{kind.__name__} has no place in a message")


_encoder: Final = msgspec.json.Encoder(enc_hook=_enc_hook)
_plain: Final = msgspec.json.Decoder()


def encode(value: object) -> bytes:
    """Encode a message; raises MessageTooLargeError above 1 MiB."""
    payload = _encoder.encode(value)
    if len(payload) > MAX_PAYLOAD:
        raise MessageTooLargeError(f"{len(payload)} bytes; at most {MAX_PAYLOAD} are carried")
    return payload


@cache
def decoder(kind: Any) -> Callable[[bytes], Any]:
    """Return the decoder of a type. It raises UndecodableError with the field that is wrong."""
    decode = msgspec.json.Decoder(kind, dec_hook=_dec_hook).decode

    def decode_payload(payload: bytes) -> Any:
        try:
            return decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise unreadable(error) from error

    return decode_payload


def plain(payload: bytes) -> object:
    """Decode any JSON; raises UndecodableError."""
    try:
        return _plain.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise unreadable(error) from error


def convert(value: object, kind: Any, *, strict: bool = True) -> Any:
    """Turn plain JSON data into a type; ``strict=False`` reads numbers and booleans from strings."""
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=_dec_hook)
    except (msgspec.ValidationError, RecursionError) as error:
        raise unreadable(error) from error


def to_plain(value: object) -> Any:
    """Turn a message into plain JSON data."""
    return msgspec.to_builtins(value, enc_hook=_enc_hook)


def unreadable(error: Exception) -> UndecodableError:
    """Translate a decoder's complaint, ``Expected `int` - at `$.lines[0].quantity```, into a field fault."""
    if isinstance(error, RecursionError):
        return UndecodableError("The input is nested too deeply")
    text = str(error)
    message, _, path = text.partition(" - at `$")
    if not path:
        return UndecodableError(text)
    field = path.rstrip("`").lstrip(".")
    return UndecodableError(text, errors=(FieldFault(field, message),))
