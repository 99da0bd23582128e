"""Dead letters: copies for people of what could not be handled, stored before the original is let go."""

import traceback
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from bus.connection import Connection
from bus.envelope import CE_ID
from bus.errors import ServiceError
from bus.jetstream import publish

REASON: Final = "realserv-reason"
FAILURES: Final = "realserv-failures"
ORIGIN: Final = "realserv-origin"
MAX_REASON: Final = 600


async def store_dead_letter(
    connection: Connection,
    subject: str,
    payload: bytes,
    headers: Mapping[str, str],
    *,
    origin: str,
    reason: str,
    sequence: int,
) -> None:
    """Publish a copy and wait until it is stored; raises when it is not, so that nothing is lost.

    ``sequence`` is the original's place in its stream: a redelivery makes no second copy, a message
    that was released and failed again does.
    """
    identity = headers.get(CE_ID, "")
    await publish(
        connection,
        subject,
        payload,
        dead_letter_headers(headers, origin=origin, reason=reason)
        | {"Nats-Msg-Id": f"dead-{subject}-{identity}-{sequence}"},
    )


def dead_letter_headers(headers: Mapping[str, str], *, origin: str, reason: str) -> dict[str, str]:
    """Return the original's headers, without what belonged to its publication, and the cause."""
    kept = {
        name: value
        for name, value in headers.items()
        if not name.startswith("Nats-") and name not in (REASON, ORIGIN)
    }
    return {**kept, ORIGIN: origin, REASON: one_line(reason)}


def reason_of(error: BaseException) -> str:
    """Say in one line what went wrong and where, without the data that was handled."""
    if isinstance(error, ServiceError):
        return one_line(f"{error.to_wire().code}: {error.message}")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return one_line(f"{type(error).__name__}{place}")


def failures_of(headers: Mapping[str, str]) -> int:
    """Return how many later tries have failed; none when nobody counted."""
    counted = headers.get(FAILURES, "")
    return int(counted) if counted.isascii() and counted.isdigit() and len(counted) < 4 else 0


def one_line(text: str) -> str:
    """Return a text that a header can carry."""
    return " ".join(text.split())[:MAX_REASON]


def identity_of(headers: Mapping[str, str]) -> UUID | None:
    """Return the message's identity, or None when it has none that can be read."""
    try:
        return UUID(headers.get(CE_ID, ""))
    except ValueError:
        return None
