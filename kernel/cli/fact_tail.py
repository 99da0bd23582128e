"""Facts read from their streams as they come, without a consumer."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from bus.connection import Connection
from bus.envelope import ACTOR, CAUSATION, CE_ID, CE_SOURCE, CE_TYPE, CORRELATION
from bus.jetstream import BatchReader, StoredMessage, last_sequence
from bus.streams import event_stream

POLL_SECONDS: Final = 1.0


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact as it stands in its stream."""

    stream: str
    sequence: int
    stored_at: str
    type: str
    id: str
    key: str
    source: str
    actor: str
    correlation_id: str
    causation_id: str
    data: Any


async def facts(
    bus: Connection,
    plugins: Sequence[str],
    *,
    first: int | None,
    last_few: int,
    is_following: bool,
) -> AsyncIterator[Fact]:
    """Yield facts from ``first`` on, else the ``last_few`` of each plugin, then those that come."""
    readers = {name: BatchReader(bus, event_stream(name)) for name in plugins}
    places = {}
    for name in plugins:
        newest = await last_sequence(bus, event_stream(name))
        places[name] = max(1, newest - last_few + 1) if first is None else first
    rung = asyncio.Event()

    async def ring(message: Any) -> None:
        rung.set()

    bells = [await bus.client.subscribe(f"evt.{name}.>", cb=ring) for name in plugins]
    try:
        while True:
            rung.clear()
            found = await _read_on(readers, places)
            for fact in found:
                yield fact
            if found:
                continue
            if not is_following:
                return
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await rung.wait()
            except TimeoutError:
                continue
    finally:
        for bell in bells:
            await bell.unsubscribe()


async def _read_on(readers: Mapping[str, BatchReader], places: dict[str, int]) -> list[Fact]:
    """Read the next facts of every stream and move the places past them; in the order of time."""
    found: list[Fact] = []
    for name, reader in readers.items():
        messages = await reader.read(places[name])
        if messages:
            places[name] = messages[-1].sequence + 1
        found += [fact_of(event_stream(name), message) for message in messages]
    return sorted(found, key=lambda fact: fact.stored_at)


def fact_of(stream: str, message: StoredMessage) -> Fact:
    """Read what a message says; content that is no JSON is shown as text."""
    headers = message.headers
    try:
        data = msgspec.json.decode(message.payload)
    except msgspec.DecodeError:
        data = message.payload.decode(errors="replace")
    return Fact(
        stream=stream,
        sequence=message.sequence,
        stored_at=headers.get("Nats-Time-Stamp", ""),
        type=headers.get(CE_TYPE, ""),
        id=headers.get(CE_ID, ""),
        key=message.subject.rpartition(".")[2],
        source=headers.get(CE_SOURCE, ""),
        actor=headers.get(ACTOR, ""),
        correlation_id=headers.get(CORRELATION, ""),
        causation_id=headers.get(CAUSATION, ""),
        data=data,
    )
