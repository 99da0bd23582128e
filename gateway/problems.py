"""Errors in the one shape that callers see: problem details, RFC 9457."""

from math import ceil
from typing import Final

import msgspec

from bus.errors import InternalError, ServiceError, WireError
from gateway.errors import MethodNotAllowedError
from gateway.exchange import Answer, Exchange
from kernel.errors import FieldFault, Unauthenticated

PROBLEM_JSON: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:realserv:problem:"
INTERNAL_CODE: Final = "kernel.internal_error"
_encode: Final = msgspec.json.Encoder().encode


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal or failure. ``code`` is stable; ``detail`` is for people and may change."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    correlation_id: str
    errors: tuple[FieldFault, ...] = ()


def problem_of(error: ServiceError, *, instance: str, correlation_id: str) -> Problem:
    """Return what a caller is told of an error; of a defect, nothing."""
    wire = error.to_wire()
    if wire.status == InternalError.status or not 400 <= wire.status <= 599:
        wire = WireError(
            code=INTERNAL_CODE,
            status=InternalError.status,
            title="An internal error happened",
            message="It is logged under the correlation id",
        )
    return Problem(
        type=TYPE_PREFIX + wire.code,
        title=wire.title,
        status=wire.status,
        detail=wire.message,
        code=wire.code,
        instance=instance,
        correlation_id=correlation_id,
        errors=wire.errors,
    )


def problem_answer(error: ServiceError, exchange: Exchange) -> Answer:
    """Return the HTTP answer to an error."""
    problem = problem_of(error, instance=exchange.path, correlation_id=exchange.correlation_id)
    headers: list[tuple[bytes, bytes]] = []
    retry_after = error.retry_after
    if retry_after is None and problem.status in (429, 503):
        retry_after = 1.0
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, ceil(retry_after))))
    if problem.status == Unauthenticated.status:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", error.allowed.encode()))
    return Answer(problem.status, _encode(problem), PROBLEM_JSON, tuple(headers))
