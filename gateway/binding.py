"""From path, query and body to one message: everything merged, checked once, every fault named."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from bus import codec
from bus.errors import UndecodableError
from bus.message import Message, MessageType
from gateway.errors import (
    FieldGivenTwiceError,
    MalformedJsonError,
    UnknownParameterError,
    UnsupportedMediaTypeError,
)
from kernel.errors import FieldFault, Invalid
from kernel.http import Route

MAX_FAULTS: Final = 50
ESCAPED_NUL: Final = b"\\u0000"
NUL_FAULT: Final = "a text holds the character NUL"


class UnreachableFieldError(TypeError):
    """A route's declaration does not fit its message."""


class _TextField:
    """A field that path or query carry as text."""

    __slots__ = ("_is_number_on_wire", "_type", "name")

    def __init__(self, field: msgspec.structs.FieldInfo) -> None:
        self.name = field.encode_name
        self._type = field.type
        self._is_number_on_wire = any(hasattr(t, "__from_wire__") for t in _members(field.type))

    def read(self, text: str) -> Any:
        """Return the value; raises UndecodableError."""
        if "\x00" in text:
            raise UndecodableError(NUL_FAULT)
        if self._is_number_on_wire:
            return codec.convert(_number_or_text(text), self._type)
        value = codec.convert(text, self._type, strict=False)
        if isinstance(value, float) and not math.isfinite(value):
            raise UndecodableError("expected a finite number")
        return value


class Binder:
    """Makes the payload of one route's message."""

    def __init__(self, message: MessageType, route: Route) -> None:
        self._cls: type[Message] = message.cls
        self._decode = message.decode
        fields = msgspec.structs.fields(message.cls)
        self._fields = {field.encode_name: field for field in fields}
        self._attributes = {field.encode_name: field.name for field in fields}
        self._required = frozenset(field.encode_name for field in fields if field.required)
        self._texts = {name: _TextField(field) for name, field in self._fields.items()}
        self._path_fields = route.path_fields
        self._headers = {name.replace("-", "_"): name.encode() for name in route.raw}
        self._check(route)

    def bind(self, path: Sequence[str], query: Iterable[tuple[str, str]], body: bytes) -> bytes:
        """Return the payload; raises Invalid with every fault, or MalformedJsonError."""
        texts = self._merge(path, query)
        if not body:
            return codec.encode(self._build(self._read_texts(texts)))
        _refuse_nul(body)
        if not texts:
            return codec.encode(self._decode_whole(body))
        given = _plain_object(body)
        twice = texts.keys() & given.keys()
        if twice:
            raise FieldGivenTwiceError(
                errors=tuple(FieldFault(name, "was given twice") for name in sorted(twice))
            )
        for name, value in self._read_texts(texts).items():
            given[name] = codec.to_plain(value)
        return codec.encode(self._convert(given))

    def bind_raw(self, path: Sequence[str], headers: Mapping[bytes, bytes], body: bytes) -> bytes:
        """Return the payload of a raw route: the body untouched, and the named headers."""
        texts = self._merge(path, ())
        for name, header in self._headers.items():
            if header in headers:
                texts[name] = headers[header].decode("latin-1")
        return codec.encode(self._build({**self._read_texts(texts), "body": body}))

    def _check(self, route: Route) -> None:
        named = {*route.path_fields, *self._headers, *({"body"} if route.is_raw else ())}
        unknown = sorted(named - self._fields.keys())
        if unknown:
            raise UnreachableFieldError(
                f"{route.method} {route.path} names {', '.join(unknown)}, "
                f"which {self._cls.__name__} has not"
            )

    def _merge(self, path: Sequence[str], query: Iterable[tuple[str, str]]) -> dict[str, str]:
        texts = dict(zip(self._path_fields, path, strict=True))
        for name, text in query:
            if name in texts:
                raise FieldGivenTwiceError(errors=(FieldFault(name, "was given twice"),))
            if name not in self._fields:
                raise UnknownParameterError(
                    f"{name[:60]} is not known here",
                    errors=(FieldFault(name[:60], "is not known here"),),
                )
            texts[name] = text
        return texts

    def _read_texts(self, texts: Mapping[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        faults: list[FieldFault] = []
        for name, text in texts.items():
            try:
                values[name] = self._texts[name].read(text)
            except UndecodableError as error:
                faults.append(FieldFault(name, error.message))
        if faults:
            raise refusal(faults)
        return values

    def _build(self, values: dict[str, Any]) -> Message:
        missing = self._required - values.keys()
        if missing:
            raise refusal([FieldFault(name, "is required") for name in sorted(missing)])
        try:
            return self._cls(**{self._attributes[name]: value for name, value in values.items()})
        except ValueError as error:
            raise Invalid(str(error)) from error

    def _decode_whole(self, body: bytes) -> Any:
        try:
            return self._decode(body)
        except UndecodableError as error:
            if not isinstance(error.__cause__, msgspec.ValidationError):
                raise MalformedJsonError(error.message) from error
            raise self._faults_of_body(body, error) from error

    def _faults_of_body(self, body: bytes, first: UndecodableError) -> Invalid:
        try:
            given = _plain_object(body)
        except Invalid:
            return Invalid(first.message, errors=first.errors)
        return self._all_faults(given, first)

    def _convert(self, given: dict[str, Any]) -> Any:
        try:
            return codec.convert(given, self._cls)
        except UndecodableError as error:
            raise self._all_faults(given, error) from error

    def _all_faults(self, given: Mapping[str, Any], first: UndecodableError) -> Invalid:
        """Return the refusal with one fault per field, for the decoder stops at the first."""
        faults = [FieldFault(name, "is required") for name in sorted(self._required - given.keys())]
        for name in self._fields.keys() & given.keys():
            try:
                codec.convert(given[name], self._fields[name].type)
            except UndecodableError as error:
                faults.append(_within(name, error))
        if not faults:
            return Invalid(first.message, errors=first.errors)
        return refusal(sorted(faults, key=lambda fault: fault.field))


def refusal(faults: Sequence[FieldFault]) -> Invalid:
    """Return the refusal of fields."""
    first = faults[0]
    return Invalid(f"{first.field}: {first.message}", errors=tuple(faults[:MAX_FAULTS]))


def require_json(content_type: str, content_encoding: str) -> None:
    """Refuse a body that does not say it is plain JSON. One that says nothing is taken for JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaTypeError(f"The body is {media_type[:80]}, not application/json")
    if content_encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError("Packed bodies are not read")


def _plain_object(body: bytes) -> dict[str, Any]:
    try:
        given = codec.plain(body)
    except UndecodableError as error:
        if isinstance(error.__cause__, msgspec.ValidationError):
            raise Invalid(error.message) from error
        raise MalformedJsonError(error.message) from error
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object")
    return given


def _refuse_nul(body: bytes) -> None:
    """Refuse NUL, which JSON can carry escaped and PostgreSQL cannot store."""
    if ESCAPED_NUL in body:
        field = _field_with_nul(_plain_object(body))
        if field is not None:
            raise refusal([FieldFault(field, NUL_FAULT)])


def _field_with_nul(given: object) -> str | None:
    waiting: list[tuple[str, object]] = [("", given)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str) and "\x00" in value:
            return path
        if isinstance(value, dict):
            if any("\x00" in name for name in value):
                return path or "$"
            waiting += [(f"{path}.{name}".lstrip("."), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
    return None


def _within(name: str, error: UndecodableError) -> FieldFault:
    if not error.errors:
        return FieldFault(name, error.message)
    inner = error.errors[0]
    joined = f"{name}{inner.field}" if inner.field.startswith("[") else f"{name}.{inner.field}"
    return FieldFault(joined, inner.message)


def _number_or_text(text: str) -> object:
    try:
        number = codec.plain(text.encode())
    except UndecodableError:
        return text
    return number if isinstance(number, int | float) else text


def _members(kind: Any) -> Sequence[Any]:
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    arguments = get_args(kind)
    if get_origin(kind) in (None, tuple, list, dict):
        return (kind,)
    return [member for argument in arguments for member in _members(argument)]
