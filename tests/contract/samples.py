"""One sample of every message of every contract, built from the types alone, the same on every run."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from inspect import getmembers, isclass
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from bus.codec import encode
from bus.message import Command, Event, Message, Query, describe
from kernel.geo import Place
from kernel.graph import find_plugins
from kernel.money import Money
from kernel.quantity import Quantity

GOLDEN: Final = Path(__file__).parent / "golden"
NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASES: Final = (Message, Command, Query, Event)


class NoSampleError(TypeError):
    """No sample can be built of this type: teach it to this module."""


def contracts() -> Iterator[Any]:
    """Yield the contract module of every installed plugin."""
    for name, plugin in find_plugins().items():
        yield import_module(f"{plugin.package}.contract"), name


def message_classes() -> list[type[Message]]:
    """Return all message classes that the contracts define, by full name."""
    found = [
        member
        for module, _ in contracts()
        for _, member in getmembers(module, isclass)
        if issubclass(member, Message)
        and member not in BASES
        and member.__module__ == module.__name__
    ]
    return sorted(found, key=lambda cls: (describe(cls).kind, describe(cls).full_name))


def golden_file(cls: type[Message]) -> Path:
    """Return where the sample of a message lies."""
    described = describe(cls)
    return GOLDEN / f"{described.kind}.{described.full_name}.json"


def sample_of(cls: type[Message]) -> bytes:
    """Return the sample of a message as it stands on the bus, indented for people."""
    value = _value(types.type_info(cls), cls.__name__)
    return msgspec.json.format(encode(value), indent=2) + b"\n"


def write_missing() -> list[Path]:
    """Add the samples that are not there yet; those that are there are never touched."""
    GOLDEN.mkdir(exist_ok=True)
    added = []
    for cls in message_classes():
        path = golden_file(cls)
        if not path.exists():
            path.write_bytes(sample_of(cls))
            added.append(path)
    return added


def _value(kind: types.Type, field: str) -> Any:  # noqa: C901  one line for each kind of type
    match kind:
        case types.Metadata(type=inner, extra_json_schema=extra):
            examples = (extra or {}).get("examples")
            return examples[0] if examples else _value(inner, field)
        case types.BoolType():
            return True
        case types.IntType(ge=low, gt=above):
            return low if low is not None else (above + 1 if above is not None else 1)
        case types.FloatType(ge=low):
            return float(low) if low is not None else 1.5
        case types.StrType():
            return _text(kind, field)
        case types.BytesType():
            return b"bytes"
        case types.DateTimeType():
            return NOON
        case types.DateType():
            return NOON.date()
        case types.LiteralType(values=values):
            return values[0]
        case types.EnumType(cls=cls):
            return next(iter(cls))
        case types.NoneType():
            return None
        case types.UnionType(types=members):
            return _value(next(m for m in members if not isinstance(m, types.NoneType)), field)
        case types.VarTupleType(item_type=item) | types.ListType(item_type=item):
            return (_value(item, field),)
        case types.TupleType(item_types=items):
            return tuple(_value(item, field) for item in items)
        case types.FrozenSetType(item_type=item) | types.SetType(item_type=item):
            return frozenset({_value(item, field)})
        case types.DictType(key_type=key, value_type=value):
            return {_value(key, field): _value(value, field)}
        case types.StructType(cls=cls) if cls is Money:
            return Money(38_000)
        case types.StructType(cls=cls) if cls is Place:
            return Place(17.4435, 78.3772)
        case types.StructType(cls=cls, fields=fields):
            return cls(**{f.name: _value(f.type, f.name) for f in fields})
        case types.CustomType(cls=cls) if issubclass(cls, Quantity):
            return cls(1_500)
        case types.UUIDType():
            return "01999b3e-7c00-7abc-8def-0123456789ab"
    raise NoSampleError(f"{field}: {kind}")


TEXTS: Final = (
    "x",
    "sample",
    "Sample text",
    "500081",
    "asha@buyer.example",
    "+919876543210",
    "36ABCDE1234F1Z5",
    "ABCDE1234F",
    "1234",
    "12345678",
    "123456789012",
    "SBIN0001234",
    "https://example.com/x",
    "2026-11-20",
    "a" * 32,
    "0" * 64,
    "order_Sample0000001",
    "pay_Sample00000001",
    "rfnd_Sample0000001",
)


def _text(kind: types.StrType, field: str) -> str:
    shortest, longest = kind.min_length or 0, kind.max_length or 10_000
    if kind.pattern is None:
        return field[:longest].ljust(shortest, "x")
    prefixed = re.match(r"^\^([a-z]+)_\[0-7\]", kind.pattern)
    texts = (f"{prefixed[1]}_01k9z7x3c8e4m9r2t5v6w7y8z0",) if prefixed else TEXTS
    for text in texts:
        if re.search(kind.pattern, text) and shortest <= len(text) <= longest:
            return text
    raise NoSampleError(f"{field}: no text fits {kind.pattern}")


if __name__ == "__main__":
    for path in write_missing():
        print(path.name)  # noqa: T201  tells what was added
