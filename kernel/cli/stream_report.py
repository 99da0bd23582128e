"""What the streams hold, who owns them, and how far their consumers are behind."""

from collections.abc import Iterable
from typing import Any

import msgspec

from bus.connection import Connection
from bus.jetstream import pages
from bus.streams import StreamSpec, plan


class ConsumerState(msgspec.Struct, frozen=True, kw_only=True):
    """One durable consumer."""

    name: str
    lag: int
    """Messages that it has not been given yet."""
    in_hand: int
    """Messages that were given and are not settled."""
    redelivered: int


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """One stream."""

    name: str
    owner: str
    """The owner that its metadata name; empty for a stream of somebody else."""
    is_declared: bool
    """Whether a declaration of today asks for it."""
    differences: tuple[str, ...]
    messages: int
    bytes: int
    first: int
    last: int
    consumers: tuple[ConsumerState, ...]


async def stream_states(bus: Connection, declared: Iterable[StreamSpec]) -> list[StreamState]:
    """Return all streams of the account by name."""
    specs = list(declared)
    changes = {change.asset: change.differences for change in await plan(bus, specs, [])}
    names = {spec.name for spec in specs}
    found = []
    for stream in await pages(bus, "STREAM.LIST", "streams"):
        config, state = stream["config"], stream["state"]
        consumers = await pages(bus, f"CONSUMER.LIST.{config['name']}", "consumers")
        found.append(
            StreamState(
                name=config["name"],
                owner=(config.get("metadata") or {}).get("owner", ""),
                is_declared=config["name"] in names,
                differences=changes.get(config["name"], ()),
                messages=state["messages"],
                bytes=state["bytes"],
                first=state["first_seq"],
                last=state["last_seq"],
                consumers=tuple(sorted(map(_consumer, consumers), key=lambda each: each.name)),
            )
        )
    return sorted(found, key=lambda stream: stream.name)


def _consumer(info: dict[str, Any]) -> ConsumerState:
    return ConsumerState(
        name=info["name"],
        lag=info["num_pending"],
        in_hand=info["num_ack_pending"],
        redelivered=info["num_redelivered"],
    )
