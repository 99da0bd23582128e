"""Requests over a real NATS: deadlines, refusals, concurrency, graceful ends, discovery."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import nats.errors
import pytest

from bus.connection import Connection
from bus.discovery import ServiceAnnouncer
from bus.envelope import Envelope, Reply
from bus.errors import (
    DeadlineError,
    DisconnectedError,
    MessageTooLargeError,
    NoResponderError,
    OverloadedError,
    RemoteError,
)
from bus.message import describe
from bus.requests import Endpoint, NatsCaller, RequestServer
from kernel.calls import LocalFirstCaller, LocalRegistry
from kernel.embedded.nats import NatsServer
from kernel.errors import Conflict
from tests.sample_plugin.contract import AddToTally
from tests.sample_plugin.stage import an_envelope, eventually

ADD = describe(AddToTally)


class TakenError(Conflict):
    """It is taken."""

    code = "sample.taken"


async def echo(payload: bytes, envelope: Envelope) -> Reply:
    return Reply(payload, {"realserv-version": "7"})


@asynccontextmanager
async def serving(
    connection: Connection, handle: Any = echo, **options: Any
) -> AsyncIterator[RequestServer]:
    endpoint = Endpoint(name="add_to_tally_v1", subject=ADD.subject, handle=handle, **options)
    server = RequestServer(connection, "sample", [endpoint])
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(connection: Connection, *, timeout: float = 2.0, payload: bytes = b"{}") -> Reply:
    return await NatsCaller(connection).call(ADD, payload, an_envelope(AddToTally), timeout)


async def test_an_answer_comes_back_with_its_headers(bus: Connection) -> None:
    async with serving(bus):
        reply = await ask(bus, payload=b'{"a": 1}')

    assert (reply.payload, reply.headers["realserv-version"]) == (b'{"a": 1}', "7")


async def test_a_request_that_nobody_serves_fails_at_once(bus: Connection) -> None:
    started = time.monotonic()

    with pytest.raises(NoResponderError, match=r"cmd\.sample\.add_to_tally\.v1"):
        await ask(bus, timeout=5)

    assert time.monotonic() - started < 1


async def test_a_request_without_an_answer_in_time_says_so(bus: Connection) -> None:
    async def linger(payload: bytes, envelope: Envelope) -> Reply:
        await asyncio.sleep(0.5)
        return Reply(b"", {})

    async with serving(bus, linger):
        with pytest.raises(DeadlineError):
            await ask(bus, timeout=0.1)


async def test_a_refusal_keeps_its_code_status_and_text(bus: Connection) -> None:
    async def refuse(payload: bytes, envelope: Envelope) -> Reply:
        raise TakenError("somebody was faster", retry_after=3)

    async with serving(bus, refuse):
        with pytest.raises(RemoteError) as refused:
            await ask(bus)

    wire = refused.value.to_wire()
    assert (wire.code, wire.status, wire.message) == ("sample.taken", 409, "somebody was faster")
    assert wire.retry_after == 3


async def test_a_defect_tells_the_caller_nothing_of_its_inside(bus: Connection) -> None:
    async def break_down(payload: bytes, envelope: Envelope) -> Reply:
        raise KeyError("secret inside")

    async with serving(bus, break_down):
        with pytest.raises(RemoteError) as broken:
            await ask(bus)

    assert broken.value.to_wire().code == "bus.internal_error"
    assert "secret" not in str(broken.value.to_wire())


async def test_F25_requests_of_one_endpoint_are_handled_side_by_side(bus: Connection) -> None:
    together = asyncio.Barrier(10)

    async def meet(payload: bytes, envelope: Envelope) -> Reply:
        await together.wait()
        return Reply(b"met", {})

    async with serving(bus, meet):
        replies = await asyncio.gather(*(ask(bus) for _ in range(10)))

    assert {reply.payload for reply in replies} == {b"met"}


async def test_F26_what_is_too_much_is_refused_at_once_with_a_time_to_come_back(
    bus: Connection,
) -> None:
    free = asyncio.Event()

    async def wait(payload: bytes, envelope: Envelope) -> Reply:
        await free.wait()
        return Reply(b"done", {})

    async with serving(bus, wait, max_in_flight=2) as server:
        taken = [asyncio.create_task(ask(bus)) for _ in range(2)]
        await eventually(_in_hand(server, 2))
        with pytest.raises(RemoteError) as refused:
            await ask(bus)
        free.set()
        answers = await asyncio.gather(*taken)

    assert refused.value.to_wire().code == OverloadedError.code
    assert refused.value.to_wire().retry_after == 1
    assert [answer.payload for answer in answers] == [b"done", b"done"]


def _in_hand(server: RequestServer, count: int) -> Any:
    async def enough() -> bool:
        return server.in_flight == count

    return enough


async def test_F01_a_graceful_stop_answers_what_was_taken_and_takes_no_more(
    bus: Connection,
) -> None:
    async def work(payload: bytes, envelope: Envelope) -> Reply:
        await asyncio.sleep(0.2)
        return Reply(b"done", {})

    async with serving(bus, work) as server:
        taken = [asyncio.create_task(ask(bus)) for _ in range(5)]
        await eventually(_in_hand(server, 5))
    answers = await asyncio.gather(*taken)

    with pytest.raises(NoResponderError):
        await ask(bus)
    assert [answer.payload for answer in answers] == [b"done"] * 5


@pytest.mark.parametrize(
    "headers",
    [
        {"ce-id": "not a uuid"},
        {"ce-time": "yesterday"},
        {"ce-time": "0001-01-01T00:00:00+14:00"},
    ],
)
async def test_unreadable_headers_are_answered_by_a_refusal(
    bus: Connection, headers: dict[str, str]
) -> None:
    async with serving(bus):
        with pytest.raises(RemoteError) as refused:
            await NatsCaller(bus).request(ADD.subject, b"{}", headers, 2)

    assert refused.value.to_wire().code == "bus.undecodable"


@pytest.mark.parametrize("timeout", ["²", "-5", "9" * 6_000, "", "1e3"])
async def test_a_strange_timeout_is_taken_for_none(bus: Connection, timeout: str) -> None:
    seen: list[int | None] = []

    async def note(payload: bytes, envelope: Envelope) -> Reply:
        seen.append(envelope.timeout_ms)
        return Reply(b"", {})

    async with serving(bus, note):
        await NatsCaller(bus).request(ADD.subject, b"{}", {"realserv-timeout-ms": timeout}, 2)

    assert seen == [None]


async def test_a_request_by_any_client_without_headers_is_answered(bus: Connection) -> None:
    async with serving(bus):
        message = await bus.client.request(ADD.subject, b"hello", timeout=2)

    assert message.data == b"hello"


async def test_a_request_over_the_largest_payload_is_refused(bus: Connection) -> None:
    async with serving(bus):
        with pytest.raises(MessageTooLargeError):
            await ask(bus, payload=b"x" * (2 * 1024 * 1024))


async def test_a_message_sent_while_disconnected_fails_at_once_and_is_never_carried_out(
    own_nats: NatsServer, own_bus: Connection
) -> None:
    done: list[bytes] = []

    async def note(payload: bytes, envelope: Envelope) -> Reply:
        done.append(payload)
        return Reply(b"", {})

    async with serving(own_bus, note):
        assert own_nats.process is not None
        own_nats.process.send(signal.SIGKILL)
        await own_nats.process.wait()
        await eventually(_is_connected(own_bus, wanted=False))
        started = time.monotonic()
        with pytest.raises(DisconnectedError):
            await ask(own_bus, payload=b"ghost", timeout=5)
        took = time.monotonic() - started
        await own_nats.start()
        await eventually(_is_connected(own_bus, wanted=True))
        await ask(own_bus, payload=b"alive")

    assert took < 1
    assert done == [b"alive"]


def _is_connected(connection: Connection, *, wanted: bool) -> Any:
    async def is_so() -> bool:
        return connection.is_connected is wanted

    return is_so


async def test_F05_waits_before_a_reconnect_are_drawn_at_random_and_never_end(
    own_nats: NatsServer, own_bus: Connection
) -> None:
    heard: list[float] = []
    own_bus.on_reconnect(lambda: heard.append(own_bus.client.options["reconnect_time_wait"]))
    for _ in range(3):
        assert own_nats.process is not None
        own_nats.process.send(signal.SIGKILL)
        await own_nats.process.wait()
        await eventually(_is_connected(own_bus, wanted=False))
        await own_nats.start()
        await eventually(_is_connected(own_bus, wanted=True))
        await asyncio.sleep(0)

    assert len(set(heard)) >= 2
    assert own_bus.client.options["max_reconnect_attempts"] == -1


async def test_a_wrong_address_is_told_within_the_time_to_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bus.connection import connect

    monkeypatch.setattr("bus.connection.FIRST_CONNECT_SECONDS", 0.3)

    with pytest.raises(DisconnectedError, match="cannot be reached as nobody"):
        await connect("nats://127.0.0.1:1", name="nobody")


@pytest.mark.parametrize("way", ["local", "remote"])
async def test_F36_a_local_call_and_a_remote_one_copy_and_fail_alike(
    bus: Connection, way: str
) -> None:
    seen: list[int] = []

    async def refuse(payload: bytes, envelope: Envelope) -> Reply:
        seen.append(id(payload))
        raise TakenError("no")

    async with serving(bus, refuse) as server:
        registry = LocalRegistry()
        registry.add({ADD: server.endpoints[0]} if way == "local" else {})
        caller = LocalFirstCaller(registry, NatsCaller(bus))
        with pytest.raises(RemoteError) as refused:
            await caller.call(ADD, b"{}", an_envelope(AddToTally), 2.0)
        stats = server.endpoints[0].stats

    assert refused.value.to_wire().code == "sample.taken"
    assert (stats.requests, stats.errors, stats.last_error) == (1, 1, "sample.taken")


@asynccontextmanager
async def announced(
    connection: Connection, *, instance: str = "one", version: str = "1.2.3"
) -> AsyncIterator[RequestServer]:
    async with serving(connection) as server:
        announcer = ServiceAnnouncer(
            server,
            name="sample",
            instance=instance,
            version=version,
            description="Counts",
            metadata={"host": "here"},
            queue="sample",
        )
        await announcer.start()
        try:
            yield server
        finally:
            await announcer.stop()


async def discovered(connection: Connection, subject: str, payload: bytes = b"") -> dict[str, Any]:
    message = await connection.client.request(subject, payload, timeout=2)
    found: dict[str, Any] = msgspec.json.decode(message.data)
    return found


@pytest.mark.parametrize("level", ["", ".sample", ".sample.one"])
@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_discovery_answers_on_three_levels_with_all_that_the_tools_require(
    bus: Connection, verb: str, level: str
) -> None:
    required = {
        "PING": {"type", "name", "id", "version", "metadata"},
        "INFO": {"type", "name", "id", "version", "metadata", "description", "endpoints"},
        "STATS": {"type", "name", "id", "version", "metadata", "started", "endpoints"},
    }
    async with announced(bus):
        found = await discovered(bus, f"$SRV.{verb}{level}", b"{}")

    assert set(found) == required[verb]
    assert found["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    assert (found["name"], found["id"], found["version"]) == ("sample", "one", "1.2.3")


async def test_the_endpoints_subject_of_info_can_be_requested_and_is_counted_in_stats(
    bus: Connection,
) -> None:
    async with announced(bus):
        info = await discovered(bus, "$SRV.INFO.sample")
        await bus.client.request(info["endpoints"][0]["subject"], b"{}", timeout=2)
        stats = await discovered(bus, "$SRV.STATS.sample.one")

    endpoint = stats["endpoints"][0]
    assert set(endpoint) >= {
        "name",
        "subject",
        "num_requests",
        "num_errors",
        "last_error",
        "processing_time",
        "average_processing_time",
    }
    assert (endpoint["num_requests"], endpoint["num_errors"], endpoint["last_error"]) == (1, 0, "")
    assert isinstance(info["description"], str)
    assert all(isinstance(value, str) for value in info["endpoints"][0]["metadata"].values())


async def test_F24_a_service_that_stopped_is_gone_from_discovery(bus: Connection) -> None:
    async with announced(bus):
        await discovered(bus, "$SRV.PING.sample")

    with pytest.raises(nats.errors.NoRespondersError):
        await discovered(bus, "$SRV.PING.sample")
