"""Examples made from schemas: the first example that a field names, else the smallest legal value."""

from collections.abc import Mapping
from typing import Any, Final

MAX_DEPTH: Final = 12
BY_FORMAT: Final[Mapping[str, str]] = {
    "date-time": "2026-01-15T09:30:00Z",
    "date": "2026-01-15",
    "time": "09:30:00",
    "duration": "PT15M",
    "uuid": "01999b3e-7c00-7abc-8def-0123456789ab",
    "email": "buyer@example.com",
    "password": "correct horse battery",
}

Schema = dict[str, Any]


def example_of(schema: Schema, components: Mapping[str, Schema], depth: int = 0) -> Any:
    """Return a value that a schema admits, for people to start from."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return example_of(components[name], components, depth + 1)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("const", "default"):
        if schema.get(key) not in (None, "", [], ()):
            return schema[key]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example_of(_first_not_null(schema[key]), components, depth + 1)
    return _by_type(schema, components, depth)


def _first_not_null(options: list[Schema]) -> Schema:
    return next((option for option in options if option.get("type") != "null"), options[0])


def _by_type(schema: Schema, components: Mapping[str, Schema], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind == "object":
        return _object(schema, components, depth)
    if kind == "array":
        return _array(schema, components, depth)
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _number(schema)
    return {"boolean": True}.get(str(kind))


def _object(schema: Schema, components: Mapping[str, Schema], depth: int) -> Any:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    required = schema.get("required", ())
    shown = properties if depth < MAX_DEPTH else {name: properties[name] for name in required}
    given = {
        name: inner
        for name, inner in shown.items()
        if name in required or inner.get("default", "") is not None
    }
    return {
        name: example_of(inner, components, depth + 1) for name, inner in (given or shown).items()
    }


def _array(schema: Schema, components: Mapping[str, Schema], depth: int) -> list[Any]:
    if "prefixItems" in schema:
        return [example_of(inner, components, depth + 1) for inner in schema["prefixItems"]]
    items = schema.get("items")
    if not isinstance(items, dict) or depth >= MAX_DEPTH:
        return []
    return [example_of(items, components, depth + 1)] * max(1, schema.get("minItems", 1))


def _text(schema: Schema) -> str:
    text = BY_FORMAT.get(schema.get("format", ""), "text")
    shortest = schema.get("minLength", 0)
    return text.ljust(shortest, "x")[: schema.get("maxLength", len(text) + shortest)]


def _number(schema: Schema) -> float:
    low: float = schema.get("minimum", 0)
    above: float | None = schema.get("exclusiveMinimum")
    number = max(low, 1) if above is None else above + 1
    high: float = schema.get("maximum", number)
    return min(number, high)
