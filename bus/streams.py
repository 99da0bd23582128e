"""Streams and consumers as declarations: compared with what exists, changed by plan and apply."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec
import structlog

from bus.connection import Connection
from bus.jetstream import CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, JetStreamError, request
from bus.message import SLOTS, MessageType
from bus.puller import ACK_WAIT

log = structlog.get_logger("bus.streams")

PARTITIONS: Final = 4
"""Durables of an ordered subscription; each keeps 16 / 4 slots in order."""
DAY_NS: Final = 86_400 * 10**9
REACT: Final = "-react-"
BEGINNING: Final = ("deliver_policy", "opt_start_seq")
"""Where a consumer began. The server lets nobody change it, and it tells nothing about today."""
DLQ_STREAM: Final = "DLQ"
AUDIT_STREAM: Final = "AUDIT"


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as it must be."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "workqueue"] = "limits"
    max_age: int = 0
    deny_delete: bool = False
    deny_purge: bool = False
    allow_direct: bool = True
    allow_msg_schedules: bool = False
    allow_msg_ttl: bool = False
    duplicate_window: int = 120 * 10**9
    num_replicas: int = 1
    storage: Literal["file"] = "file"

    def config(self) -> dict[str, Any]:
        """Return the fields for the JetStream API."""
        return {**msgspec.to_builtins(self), "metadata": _owned(self)}


class ConsumerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A durable pull consumer as it must be."""

    stream: str
    name: str
    filter_subjects: tuple[str, ...]
    max_ack_pending: int
    ack_wait: int = int(ACK_WAIT * 1e9)
    max_deliver: int = -1
    max_waiting: int = 512
    start: int = 1
    """The first sequence to deliver when the consumer is made; no difference afterwards."""

    def config(self) -> dict[str, Any]:
        """Return the fields for the JetStream API: no server back-off, no limit of deliveries."""
        begin: dict[str, Any] = {"deliver_policy": "all"}
        if self.start > 1:
            begin = {"deliver_policy": "by_start_sequence", "opt_start_seq": self.start}
        return {
            **begin,
            "name": self.name,
            "durable_name": self.name,
            "filter_subjects": list(self.filter_subjects),
            "ack_policy": "explicit",
            "replay_policy": "instant",
            "max_ack_pending": self.max_ack_pending,
            "ack_wait": self.ack_wait,
            "max_deliver": self.max_deliver,
            "max_waiting": self.max_waiting,
            "metadata": _owned(self),
        }


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a plan."""

    verb: Literal["create", "update"]
    asset: str
    differences: tuple[str, ...] = ()


def event_stream(plugin: str) -> str:
    """Return the name of a plugin's stream of facts."""
    return f"EVT_{plugin.upper()}"


def work_stream(plugin: str) -> str:
    """Return the name of a plugin's work queue."""
    return f"WORK_{plugin.upper()}"


def plugin_streams(plugin: str, replicas: int = 1) -> list[StreamSpec]:
    """Return the two streams that a plugin owns."""
    return [
        StreamSpec(
            name=event_stream(plugin),
            subjects=(f"evt.{plugin}.>",),
            deny_delete=True,
            deny_purge=True,
            num_replicas=replicas,
        ),
        StreamSpec(
            name=work_stream(plugin),
            subjects=(f"work.{plugin}.>",),
            retention="workqueue",
            allow_msg_schedules=True,
            allow_msg_ttl=True,
            num_replicas=replicas,
        ),
    ]


def shared_streams(replicas: int = 1) -> list[StreamSpec]:
    """Return the streams that belong to nobody alone."""
    return [
        StreamSpec(
            name=DLQ_STREAM, subjects=("dlq.>",), max_age=30 * DAY_NS, num_replicas=replicas
        ),
        StreamSpec(
            name=AUDIT_STREAM,
            subjects=("audit.>",),
            deny_delete=True,
            deny_purge=True,
            num_replicas=replicas,
        ),
    ]


def worker_consumer(plugin: str) -> ConsumerSpec:
    """Return the consumer of a plugin's work queue. It must not see the timers' own subjects."""
    return ConsumerSpec(
        stream=work_stream(plugin),
        name="worker",
        filter_subjects=(f"work.{plugin}.do.>",),
        max_ack_pending=512,
    )


def reaction_consumers(
    subscriber: str, source: str, events: list[MessageType], older: Iterable[str] = ()
) -> list[ConsumerSpec]:
    """Return the durables of an ordered subscription: each delivers one message at a time.

    ``older`` are the stems of earlier versions that are read as well.
    """
    stems = [*(event.subject for event in events), *older]
    width = SLOTS // PARTITIONS
    return [
        ConsumerSpec(
            stream=event_stream(source),
            name=f"{subscriber}{REACT}{part}",
            filter_subjects=tuple(
                f"{stem}.{slot}.>"
                for stem in stems
                for slot in range(part * width, (part + 1) * width)
            ),
            max_ack_pending=1,
        )
        for part in range(PARTITIONS)
    ]


def reaction_part(consumer: str) -> tuple[str, int]:
    """Return the subscriber and the partition of a durable that ``reaction_consumers`` names."""
    subscriber, _, part = consumer.rpartition(REACT)
    return subscriber, int(part)


def part_of_slot(slot: int) -> int:
    """Return the partition in which a slot travels."""
    return slot // (SLOTS // PARTITIONS)


async def plan(
    connection: Connection, streams: list[StreamSpec], consumers: list[ConsumerSpec]
) -> list[Change]:
    """Compare with what exists; nothing is changed."""
    changes = []
    for stream in streams:
        found = await _find(connection, f"STREAM.INFO.{stream.name}", STREAM_NOT_FOUND)
        changes += _compare(stream.name, stream.config(), found)
    for consumer in consumers:
        path = f"CONSUMER.INFO.{consumer.stream}.{consumer.name}"
        found = await _find(connection, path, CONSUMER_NOT_FOUND, STREAM_NOT_FOUND)
        changes += _compare(f"{consumer.stream}/{consumer.name}", consumer.config(), found)
    return changes


async def apply(
    connection: Connection, streams: list[StreamSpec], consumers: list[ConsumerSpec]
) -> list[Change]:
    """Create what is missing and change what differs; returns what was done.

    What operators set on a stream beside that stays as it is.
    """
    done = await plan(connection, streams, consumers)
    by_name: dict[str, StreamSpec | ConsumerSpec] = {s.name: s for s in streams}
    by_name |= {f"{c.stream}/{c.name}": c for c in consumers}
    for change in done:
        spec = by_name[change.asset]
        if isinstance(spec, StreamSpec):
            kept = await _find(connection, f"STREAM.INFO.{spec.name}", STREAM_NOT_FOUND) or {}
            body = {**kept, **spec.config()}
            await request(connection, f"STREAM.{change.verb.upper()}.{spec.name}", body)
        else:
            config = spec.config()
            if change.verb == "update":
                path = f"CONSUMER.INFO.{spec.stream}.{spec.name}"
                found = await _find(connection, path, CONSUMER_NOT_FOUND) or {}
                config |= {name: found[name] for name in BEGINNING if name in found}
            body = {"stream_name": spec.stream, "config": config, "action": change.verb}
            await request(connection, f"CONSUMER.CREATE.{spec.stream}.{spec.name}", body)
        log.info("asset_changed", verb=change.verb, asset=change.asset)
    return done


async def delete_consumer(connection: Connection, stream: str, name: str) -> None:
    """Remove a consumer, if it is there."""
    try:
        await request(connection, f"CONSUMER.DELETE.{stream}.{name}")
    except JetStreamError as error:
        if error.code not in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
            raise
    else:
        log.info("asset_changed", verb="delete", asset=f"{stream}/{name}")


async def _find(connection: Connection, path: str, *missing: int) -> dict[str, Any] | None:
    try:
        answer = await request(connection, path)
    except JetStreamError as error:
        if error.code in missing:
            return None
        raise
    config: dict[str, Any] = answer["config"]
    return config


def _compare(asset: str, wanted: dict[str, Any], found: dict[str, Any] | None) -> list[Change]:
    if found is None:
        return [Change(verb="create", asset=asset)]
    differences = tuple(
        f"{name}: {_value(found, name, value)!r} -> {value!r}"
        for name, value in wanted.items()
        if name not in ("metadata", *BEGINNING) and _value(found, name, value) != value
    )
    return [Change(verb="update", asset=asset, differences=differences)] if differences else []


def _value(found: dict[str, Any], name: str, wanted: Any) -> Any:
    if name == "filter_subjects" and name not in found and "filter_subject" in found:
        return [found["filter_subject"]]
    value = found.get(name)
    if value is None and not wanted:
        return wanted
    if isinstance(wanted, list | tuple) and isinstance(value, list):
        return type(wanted)(value)
    return value


def _owned(spec: msgspec.Struct) -> dict[str, str]:
    digest = blake2b(msgspec.json.encode(spec), digest_size=8).hexdigest()
    return {"owner": "realserv", "spec": digest}
