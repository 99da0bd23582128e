"""The metadata of a message: CloudEvents in binary mode, plus who acts and how long the caller waits."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import msgspec

from bus.errors import UndecodableError
from bus.identity import new_uuid7
from bus.message import MessageType

CE_ID = "ce-id"
CE_TYPE = "ce-type"
CE_SOURCE = "ce-source"
CE_TIME = "ce-time"
CE_SUBJECT = "ce-subject"
TRACEPARENT = "traceparent"
CORRELATION = "realserv-correlation-id"
CAUSATION = "realserv-causation-id"
ACTOR = "realserv-actor"
TOKEN = "realserv-token"  # noqa: S105  a header's name
TIMEOUT = "realserv-timeout-ms"
VERSION = "realserv-version"
KEYED = "realserv-keyed"
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a message but its payload. ``id`` is its identity for ever."""

    id: UUID
    type: str
    source: str
    time: datetime
    correlation_id: str
    subject: str = ""
    causation_id: str = ""
    traceparent: str = ""
    actor: str = ""
    token: str = ""
    timeout_ms: int | None = None
    version: int | None = None
    is_keyed: bool = False
    """Whether the sender may repeat this identity: it came with an Idempotency-Key or from a handler."""

    def to_headers(self) -> dict[str, str]:
        """Write as NATS headers."""
        headers = {
            CE_ID: str(self.id),
            "ce-specversion": "1.0",
            CE_TYPE: self.type,
            CE_SOURCE: self.source,
            CE_TIME: self.time.isoformat(),
            CORRELATION: self.correlation_id,
        }
        for name, value in (
            (CE_SUBJECT, self.subject),
            (CAUSATION, self.causation_id),
            (TRACEPARENT, self.traceparent),
            (ACTOR, self.actor),
            (TOKEN, self.token),
        ):
            if value:
                headers[name] = value  # noqa: PERF403  a comprehension would copy
        if self.timeout_ms is not None:
            headers[TIMEOUT] = str(self.timeout_ms)
        if self.version is not None:
            headers[VERSION] = str(self.version)
        if self.is_keyed:
            headers[KEYED] = "1"
        return headers


def read_envelope(headers: Mapping[str, str]) -> Envelope:
    """Read the headers of a durable message; raises UndecodableError when they are not ours."""
    try:
        return Envelope(
            id=UUID(headers[CE_ID]),
            type=headers[CE_TYPE],
            source=headers.get(CE_SOURCE, ""),
            time=_moment(headers[CE_TIME]),
            correlation_id=headers.get(CORRELATION, ""),
            subject=headers.get(CE_SUBJECT, ""),
            causation_id=headers.get(CAUSATION, ""),
            traceparent=headers.get(TRACEPARENT, ""),
            actor=headers.get(ACTOR, ""),
            token=headers.get(TOKEN, ""),
            timeout_ms=int(headers[TIMEOUT]) if TIMEOUT in headers else None,
            version=int(headers[VERSION]) if VERSION in headers else None,
            is_keyed=KEYED in headers,
        )
    except (KeyError, ValueError, OverflowError) as error:
        raise UndecodableError(f"the headers are not a message of ours: {error}") from error


def read_request(headers: Mapping[str, str]) -> Envelope:
    """Read the headers of a request, which anybody may send with any NATS client: all are optional."""
    timeout = headers.get(TIMEOUT, "")
    try:
        identity = UUID(headers[CE_ID]) if CE_ID in headers else new_uuid7()
        time = _moment(headers[CE_TIME]) if CE_TIME in headers else datetime.now(UTC)
    except (ValueError, OverflowError) as error:
        raise UndecodableError(f"the headers cannot be read: {error}") from error
    return Envelope(
        id=identity,
        type=headers.get(CE_TYPE, ""),
        source=headers.get(CE_SOURCE, ""),
        time=time,
        correlation_id=headers.get(CORRELATION) or str(identity),
        causation_id=headers.get(CAUSATION, ""),
        traceparent=headers.get(TRACEPARENT, ""),
        actor=headers.get(ACTOR, ""),
        token=headers.get(TOKEN, ""),
        timeout_ms=int(timeout) if _MILLISECONDS.fullmatch(timeout) else None,
        is_keyed=KEYED in headers,
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class Reply(NamedTuple):
    """An answer: JSON payload and headers."""

    payload: bytes
    headers: Mapping[str, str]


class Caller(Protocol):
    """Sends one request and waits for its answer: over NATS, or to a plugin in this process."""

    async def call(
        self, message: MessageType, payload: bytes, envelope: Envelope, timeout: float
    ) -> Reply:
        """Return the answer. Raises the answered error as RemoteError, or NoResponderError at once
        when nobody serves the subject, DeadlineError, OverloadedError, DisconnectedError.
        """
