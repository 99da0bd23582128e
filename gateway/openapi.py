"""OpenAPI 3.1, derived from the declarations alone."""

import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from bus.codec import schema_hook
from gateway.examples import Schema, example_of
from gateway.problem_docs import problem_responses, refusals
from gateway.problems import Problem
from kernel.http import API_PREFIX, Route
from kernel.plugin import Access, HandlerSpec, Plugin

REF: Final = "#/components/schemas/{name}"
VERSION: Final = "1.0.0"

IDEMPOTENCY_KEY: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes the command safe to repeat for 7 days: the first answer is given again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
NOT_MODIFIED: Final[Schema] = {"description": "Unchanged since the `ETag` in `If-None-Match`"}
LAST_EVENT_ID: Final[Schema] = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The last version seen; the stream goes on behind it.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}


class _Routed:
    """A handler with a route, whose message is known."""

    __slots__ = ("fields", "message", "plugin", "route", "spec")

    def __init__(self, plugin: Plugin, spec: HandlerSpec, route: Route) -> None:
        if spec.message is None:
            raise TypeError(f"{plugin.name}.{spec.name} has a route and no message")
        self.plugin = plugin
        self.spec = spec
        self.route = route
        self.message = spec.message
        self.fields = {f.encode_name: f for f in msgspec.structs.fields(spec.message.cls)}

    @property
    def takes_body(self) -> bool:
        return self.route.method in ("POST", "PUT", "PATCH") and not self.route.is_raw

    @property
    def parameter_fields(self) -> list[str]:
        """The fields that path or query carry; of a route with a body only the path's."""
        if self.takes_body or self.route.is_raw:
            return list(self.route.path_fields)
        others = [name for name in self.fields if name not in self.route.path_fields]
        return [*self.route.path_fields, *others]


def openapi_document(plugins: Sequence[Plugin]) -> Schema:
    """Return the OpenAPI document of these plugins' routes."""
    routed = list(_routed(plugins))
    schemas = _Schemas(routed)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in routed:
        paths[API_PREFIX + one.route.path][one.route.method.lower()] = _operation(one, schemas)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "RealServ",
            "version": VERSION,
            "description": "A marketplace for construction materials and labour. Errors are RFC 9457 "
            "problem details with a stable `code`; money is in paise; lists page by cursor.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This gateway"}],
        "tags": [{"name": plugin.name, "description": plugin.summary} for plugin in plugins],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.components,
            "responses": problem_responses(plugins),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token from `POST /api/v1/identity/login`.",
                }
            },
        },
    }
    plain: Schema = msgspec.json.decode(msgspec.json.encode(document))
    return plain


class _Schemas:
    """All schemas of messages and views, and where each type's stands."""

    def __init__(self, routed: Iterable[_Routed]) -> None:
        types: list[Any] = [Problem]
        self._index: dict[Any, int] = {}
        for one in routed:
            for kind in (one.message.reply, one.message.cls):
                self._note(kind, types)
            for name in one.parameter_fields:
                self._note(one.fields[name].type, types)
        found, self.components = msgspec.json.schema_components(
            types, schema_hook=schema_hook, ref_template=REF
        )
        self._found = list(found)

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type, a reference where it has a name."""
        return dict(self._found[self._index[kind]])

    def resolve(self, schema: Schema) -> Schema:
        """Return what a reference refers to."""
        if "$ref" not in schema:
            return schema
        found: Schema = self.components[schema["$ref"].rpartition("/")[2]]
        return found

    def _note(self, kind: Any, types: list[Any]) -> None:
        if kind not in self._index:
            self._index[kind] = len(types)
            types.append(kind)

    def body_of(self, one: _Routed) -> Schema:
        """Return the schema of a message without the fields that its path carries."""
        whole = self.resolve(self.of(one.message.cls))
        if not one.route.path_fields:
            return self.of(one.message.cls)
        left = {
            name: schema
            for name, schema in whole.get("properties", {}).items()
            if name not in one.route.path_fields
        }
        required = [name for name in whole.get("required", ()) if name in left]
        return {
            "type": "object",
            "properties": left,
            **({"required": required} if required else {}),
        }


def _routed(plugins: Iterable[Plugin]) -> Iterator[_Routed]:
    for plugin in plugins:
        for spec in plugin.of_kind("command", "query"):
            if spec.http is not None:
                yield _Routed(plugin, spec, spec.http)


def _operation(one: _Routed, schemas: _Schemas) -> Schema:
    spec = one.spec
    text = inspect.getdoc(one.message.cls) or ""
    operation: Schema = {
        "operationId": one.message.full_name,
        "tags": [one.plugin.name],
        "summary": spec.summary,
        "description": text,
        "parameters": [*_parameters(one, schemas), *_header_parameters(one)],
        "responses": {**_success(one, schemas), **refusals(one.plugin)},
    }
    body = _request_body(one, schemas)
    if body is not None:
        operation["requestBody"] = body
    if spec.allow is not Access.PUBLIC:
        operation["security"] = [{"bearer": []}]
    else:
        operation["security"] = [{}, {"bearer": []}]
    if isinstance(spec.allow, str):
        operation["x-permission"] = spec.allow
    return operation


def _parameters(one: _Routed, schemas: _Schemas) -> Iterator[Schema]:
    for name in one.parameter_fields:
        field = one.fields[name]
        schema = schemas.of(field.type)
        if not field.required and isinstance(field.default, str | int | float | bool):
            schema = {**schema, "default": field.default}
        is_in_path = name in one.route.path_fields
        yield {
            "name": name,
            "in": "path" if is_in_path else "query",
            "required": is_in_path or field.required,
            "schema": schema,
        }


def _header_parameters(one: _Routed) -> Iterator[Schema]:
    for header in one.route.raw:
        field = one.fields[header.replace("-", "_")]
        yield {
            "name": header,
            "in": "header",
            "required": field.required,
            "schema": {"type": "string"},
        }
    if one.spec.kind == "command" and not one.route.is_raw:
        yield IDEMPOTENCY_KEY
    if one.route.is_live:
        yield LAST_EVENT_ID


def _request_body(one: _Routed, schemas: _Schemas) -> Schema | None:
    if one.route.is_raw:
        return {
            "required": True,
            "description": "Taken byte for byte, for its signature.",
            "content": {"application/octet-stream": {}},
        }
    if not one.takes_body:
        return None
    schema = schemas.body_of(one)
    resolved = schemas.resolve(schema)
    if not resolved.get("properties"):
        return None
    return {
        "required": bool(resolved.get("required")),
        "content": {
            "application/json": {
                "schema": schema,
                "example": example_of(schema, schemas.components),
            }
        },
    }


def _success(one: _Routed, schemas: _Schemas) -> Schema:
    route = one.route
    if route.is_redirect:
        location = {"description": "Where it is", "schema": {"type": "string"}}
        return {"303": {"description": "See there", "headers": {"Location": location}}}
    if route.is_download:
        return {"200": {"description": "The file", "content": {"application/octet-stream": {}}}}
    if route.is_live:
        return {
            "200": {
                "description": "Server-sent events: `id` is the version, `data` one of `changes`",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        }
    if route.status == 204:
        return {"204": {"description": "Done"}}
    schema = schemas.of(one.message.reply)
    media = {"schema": schema, "example": example_of(schema, schemas.components)}
    text = inspect.getdoc(one.message.reply) or "Done"
    shown = {"description": text.partition("\n")[0], "content": {"application/json": media}}
    if route.method == "GET" and "version" in one.message.reply.__struct_fields__:
        return {str(route.status): shown, "304": NOT_MODIFIED}
    return {str(route.status): shown}
