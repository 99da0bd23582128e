"""The problems that operations may answer, as OpenAPI documents them."""

import importlib.util
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from bus import errors as bus_errors
from bus.errors import ServiceError
from gateway import errors as gateway_errors
from gateway.examples import Schema
from gateway.problems import INTERNAL_CODE, TYPE_PREFIX, Problem
from kernel import errors as kernel_errors
from kernel.http import API_PREFIX
from kernel.plugin import Plugin
from kernel.runtime import PermissionDeniedError
from kernel.unit_of_work import IdentityMismatchError

PROBLEM_MEDIA: Final = "application/problem+json"
PROBLEM_REF: Final = f"#/components/schemas/{Problem.__name__}"


def problem_classes(plugin: Plugin) -> list[type[ServiceError]]:
    """Return the error classes of a plugin's ``errors`` module."""
    name = f"{plugin.package}.errors"
    if importlib.util.find_spec(name) is None:
        return []
    return _own_errors(import_module(name))


def refusals(plugin: Plugin) -> Schema:
    """Return the refusals of a plugin's operations, as references."""
    statuses = {str(kind.status) for kind in problem_classes(plugin)}
    statuses |= {str(kind.status) for kind in _common_problems()}
    return {
        status: {"$ref": f"#/components/responses/{_response_name(plugin, status)}"}
        for status in sorted(statuses)
    }


def _response_name(plugin: Plugin, status: str) -> str:
    return f"{plugin.name}.{status}"


def problem_responses(plugins: Iterable[Plugin]) -> Schema:
    """Return what the references refer to: per plugin and status, the codes there are."""
    responses: Schema = {}
    for plugin in plugins:
        by_status: dict[str, list[type[ServiceError]]] = defaultdict(list)
        for kind in (*problem_classes(plugin), *_common_problems()):
            by_status[str(kind.status)].append(kind)
        for status, kinds in by_status.items():
            responses[_response_name(plugin, status)] = _problem_response(kinds)
    return dict(sorted(responses.items()))


def _problem_response(kinds: Sequence[type[ServiceError]]) -> Schema:
    first = kinds[0]
    code = INTERNAL_CODE if first.status == 500 else first.code
    lines = [f"- `{kind.code}`: {kind.title}" for kind in kinds]
    codes = sorted({INTERNAL_CODE if kind.status == 500 else kind.code for kind in kinds})
    example = {
        "type": TYPE_PREFIX + code,
        "title": first.title,
        "status": first.status,
        "detail": first.title,
        "code": code,
        "instance": f"{API_PREFIX}/orders",
        "correlation_id": "01999b3e-7c00-7abc-8def-0123456789ab",
        "errors": [],
    }
    schema: Schema = {
        "allOf": [
            {"$ref": PROBLEM_REF},
            {"properties": {"code": {"enum": codes}}},
        ]
    }
    return {
        "description": "\n".join(lines),
        "content": {PROBLEM_MEDIA: {"schema": schema, "example": example}},
    }


def _common_problems() -> list[type[ServiceError]]:
    """What any route may answer: the gateway's own refusals, and the bus's failures."""
    return [
        *_own_errors(gateway_errors),
        PermissionDeniedError,
        kernel_errors.Invalid,
        IdentityMismatchError,
        kernel_errors.NotFound,
        kernel_errors.Conflict,
        kernel_errors.RateLimited,
        bus_errors.NoResponderError,
        bus_errors.OverloadedError,
        bus_errors.DisconnectedError,
        bus_errors.MessageTooLargeError,
        bus_errors.DeadlineError,
        bus_errors.InternalError,
    ]


def _own_errors(module: Any) -> list[type[ServiceError]]:
    found: Mapping[str, Any] = vars(module)
    return [
        kind
        for kind in found.values()
        if isinstance(kind, type)
        and issubclass(kind, ServiceError)
        and kind.__module__ == module.__name__
    ]
