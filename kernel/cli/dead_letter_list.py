"""Reads dead letters back from their stream."""

from collections import deque
from datetime import datetime

import msgspec

from bus.envelope import CE_ID, CE_TYPE
from bus.jetstream import BatchReader, JetStreamError, StoredMessage
from bus.streams import DLQ_STREAM
from kernel.cli.reach import open_bus
from kernel.config import Configuration
from kernel.dead_letters import FAILURES, ORIGIN, REASON
from kernel.errors import Unavailable


class StreamMissingError(Unavailable):
    """The stream of dead letters does not exist, or does not answer."""

    code = "kernel.dlq_missing"
    title = "The stream of dead letters does not answer"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter without its content."""

    sequence: int
    stored_at: datetime
    plugin: str
    handler: str
    message: str
    message_id: str
    origin: str
    failures: str
    reason: str


async def dead_letters(
    configuration: Configuration, plugin: str, handler: str, limit: int
) -> list[DeadLetter]:
    """Return the newest ``limit`` dead letters, oldest first; raises StreamMissingError."""
    newest: deque[StoredMessage] = deque(maxlen=limit)
    subject = f"dlq.{plugin or '*'}.{handler or '>'}"
    async with open_bus(configuration) as bus:
        reader = BatchReader(bus, DLQ_STREAM)
        first = 1
        try:
            while batch := await reader.read(first, subject=subject):
                newest.extend(batch)
                first = batch[-1].sequence + 1
        except JetStreamError as error:
            raise StreamMissingError(
                f"The stream {DLQ_STREAM} does not answer ({error}). Run: realserv migrate"
            ) from error
    return [letter_of(message) for message in newest]


def letter_of(message: StoredMessage) -> DeadLetter:
    """Read what the headers and the subject say."""
    _, plugin, handler = message.subject.split(".", 2)
    headers = message.headers
    return DeadLetter(
        sequence=message.sequence,
        stored_at=datetime.fromisoformat(headers["Nats-Time-Stamp"]),
        plugin=plugin,
        handler=handler,
        message=headers.get(CE_TYPE, ""),
        message_id=headers.get(CE_ID, ""),
        origin=headers.get(ORIGIN, ""),
        failures=headers.get(FAILURES, ""),
        reason=headers.get(REASON, ""),
    )
