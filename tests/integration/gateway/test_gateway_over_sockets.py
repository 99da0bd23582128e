import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from bus.errors import NoResponderError
from gateway.part import GatewayPart
from gateway.serving import PortInUseError, check_port_free, serving
from gateway.testing.sample import THING, Change, Changes, FollowThing, GetThing
from gateway.testing.stage import HandMetrics, Stage, free_port
from kernel.errors import Denied, NotFound

THINGS = "/api/v1/things"
LIVE = f"{THINGS}/{THING}/live"
MADE = Change(version=1, name="made", text="it exists")
PRICED = Change(version=2, name="priced", text="380 rupees")
SOLD = Change(version=3, name="sold", text="to Asha")


@asynccontextmanager
async def served(stage: Stage, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
        serving(stage.app(), "127.0.0.1", port, stage.stop, **options),
    ):
        yield client


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with served(stage) as client:
        yield client


@asynccontextmanager
async def followed(
    stage: Stage, client: httpx.AsyncClient, **headers: str
) -> AsyncIterator["Follower"]:
    given = {**stage.authorization(), **headers}
    async with client.stream("GET", LIVE, headers=given) as answer:
        assert answer.status_code == 200
        yield Follower(answer)


class Follower:
    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._chunks = answer.aiter_text()
        self._text = ""

    async def block(self) -> str:
        async with asyncio.timeout(5):
            while "\n\n" not in self._text:
                self._text += await anext(self._chunks)
        block, _, self._text = self._text.partition("\n\n")
        return block

    async def event(self) -> tuple[str, str, Any]:
        fields = dict(line.split(": ", 1) for line in (await self.block()).splitlines())
        return fields.get("id", ""), fields["event"], json.loads(fields["data"])

    async def ends(self) -> bool:
        async with asyncio.timeout(5):
            return [chunk async for chunk in self._chunks] == []


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  the hands have no event to wait for
            await asyncio.sleep(0.01)


def slow(seconds: float, entered: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def pause() -> None:
        entered.set()
        await asyncio.sleep(seconds)

    return pause


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b"x" * 65_536


async def test_a_request_is_answered_over_a_socket(stage: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{THINGS}/{THING}", headers=stage.authorization())

    assert answer.status_code == 200
    assert answer.json()["thing_id"] == THING


async def test_a_body_in_chunks_is_read(stage: Stage, client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"name":"Cement",'
        await asyncio.sleep(0.02)
        yield b'"quantity":1}'

    answer = await client.post(THINGS, content=chunks(), headers=stage.authorization())

    assert answer.status_code == 201
    assert stage.bus.last.fields["name"] == "Cement"


async def test_an_announced_body_of_20_mb_is_refused(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    answer = await client.post(THINGS, content=b"x" * 20_000_000, headers=stage.authorization())

    assert answer.status_code == 413
    assert answer.json()["code"] == "gateway.body_too_large"


async def test_a_body_of_20_mb_in_chunks_is_refused(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    answer = await client.post(THINGS, content=in_pieces(20_000_000), headers=stage.authorization())

    assert answer.status_code == 413
    assert stage.bus.calls == []


async def test_who_asks_before_sending_a_large_body_is_refused_at_once(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    token = stage.authorization()["Authorization"]
    head = (
        f"POST {THINGS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        "Content-Length: 20000000\r\nExpect: 100-continue\r\n\r\n"
    )

    writer.write(head.encode())
    async with asyncio.timeout(2):
        line = await reader.readline()

    writer.close()
    assert line == b"HTTP/1.1 413 Payload Too Large\r\n"


async def test_a_body_that_does_not_come_is_not_waited_for_longer_than_the_limit() -> None:
    stage = Stage(body_timeout=timedelta(seconds=0.2))

    async with served(stage) as client:
        host, port = client.base_url.host, client.base_url.port
        reader, writer = await asyncio.open_connection(host, port)
        token = stage.authorization()["Authorization"]
        writer.write(
            f"POST {THINGS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
            "Content-Length: 20\r\n\r\n{".encode()
        )
        async with asyncio.timeout(8):
            line = await reader.readline()
        writer.close()

    assert line == b"HTTP/1.1 408 Request Timeout\r\n"


async def test_a_caller_who_hangs_up_while_sending_leaves_nothing(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    host, port = client.base_url.host, client.base_url.port
    _, writer = await asyncio.open_connection(host, port)
    token = stage.authorization()["Authorization"]
    writer.write(
        f"POST {THINGS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        "Content-Length: 2000\r\n\r\n{".encode()
    )
    await writer.drain()
    writer.close()

    answer = await client.get(THINGS)

    assert answer.status_code == 200
    assert [call.message.name for call in stage.bus.calls] == ["list_things"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{THINGS}/%ff", 422),
        (f"{THINGS}/%00", 422),
        (f"{THINGS}/a%2Fb", 404),
        (f"{THINGS}?q=%00", 422),
        (f"{THINGS}?q=%ff", 400),
        ("/%00", 404),
        (f"/{'x' * 5000}", 404),
    ],
)
async def test_odd_paths_are_refused_as_problems(
    stage: Stage, client: httpx.AsyncClient, path: str, status: int
) -> None:
    url = client.base_url.copy_with(raw_path=path.encode())

    answer = await client.get(url, headers=stage.authorization())

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_stream_begins_with_what_has_happened(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    stage.bus.answers[FollowThing] = Changes(changes=(MADE, PRICED))

    async with followed(stage, client) as follower:
        retry = await follower.block()
        first, second = await follower.event(), await follower.event()

    assert follower.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert retry == "retry: 2000"
    assert first == ("1", "made", {"version": 1, "name": "made", "text": "it exists"})
    assert second[0] == "2"


async def test_a_bell_brings_what_is_new(stage: Stage, client: httpx.AsyncClient) -> None:
    stage.bus.answers[FollowThing] = Changes(changes=(MADE, PRICED))
    async with followed(stage, client) as follower:
        await follower.block()
        await follower.event()
        await follower.event()
        stage.bus.answers[FollowThing] = Changes(changes=(SOLD,))

        stage.bell.ring()

        assert (await follower.event())[:2] == ("3", "sold")
    assert stage.bus.last.fields == {"thing_id": THING, "after": 2}
    assert list(stage.bell.listening) == [f"evt.sample.*.*.11.{THING}"]


async def test_a_stream_goes_on_behind_the_last_event_that_was_seen(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    async with followed(stage, client, **{"Last-Event-ID": "2"}) as follower:
        await follower.block()

    assert stage.bus.calls[0].fields["after"] == 2


async def test_a_stream_shows_that_it_is_alive() -> None:
    stage = Stage(live_heartbeat=timedelta(seconds=0.05))

    async with served(stage) as client, followed(stage, client) as follower:
        await follower.block()

        assert await follower.block() == ": still here"


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "9" * 30])
async def test_a_last_event_that_is_no_version_is_refused(
    stage: Stage, client: httpx.AsyncClient, last: str
) -> None:
    headers = {**stage.authorization(), "Last-Event-ID": last}

    answer = await client.get(LIVE, headers=headers)

    assert answer.status_code == 422


@pytest.mark.parametrize("key", ["%0A", "%20", "a%20b", "%3E", "*", THING + "%0A"])
async def test_a_key_that_is_none_never_becomes_a_subject(
    stage: Stage, client: httpx.AsyncClient, key: str
) -> None:
    answer = await client.get(f"{THINGS}/{key}/live", headers=stage.authorization())

    assert (answer.status_code, answer.json()["code"]) == (422, "kernel.invalid")
    assert stage.bell.listening == {}


async def test_what_may_not_be_seen_is_refused_before_the_stream_opens(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    stage.bus.answers[FollowThing] = NotFound()

    missing = await client.get(LIVE, headers=stage.authorization())
    nobody = await client.get(LIVE)

    assert (missing.status_code, nobody.status_code) == (404, 401)
    assert stage.bell.listeners == 0


async def test_a_stream_ends_with_the_reason_when_it_may_no_longer_be_seen(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    async with followed(stage, client) as follower:
        await follower.block()
        stage.bus.answers[FollowThing] = Denied()
        stage.bell.ring()

        _, name, problem = await follower.event()

        assert (name, problem["status"]) == ("error", 403)
        assert await follower.ends()


async def test_a_stream_survives_that_its_plugin_is_away_for_a_while(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    async with followed(stage, client) as follower:
        await follower.block()
        stage.bus.answers[FollowThing] = NoResponderError()
        stage.bell.ring()
        await follower.block()
        stage.bus.answers[FollowThing] = Changes(changes=(MADE,))
        stage.bell.ring()

        assert (await follower.event())[1] == "made"


async def test_a_stream_ends_when_its_plugin_is_switched_off(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    async with followed(stage, client) as follower:
        await follower.block()
        stage.surface.off.add("sample")
        stage.bell.ring()

        _, name, problem = await follower.event()

        assert (name, problem["code"]) == ("error", "kernel.plugin_disabled")


async def test_a_stream_ends_when_its_callers_token_expires(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    headers = stage.authorization(exp=int(time.time()) + 2)

    async with client.stream("GET", LIVE, headers=headers) as answer:
        follower = Follower(answer)
        await follower.block()

        _, name, problem = await follower.event()

        assert (name, problem["code"]) == ("error", "gateway.token_expired")
        assert await follower.ends()


async def test_a_stream_that_breaks_is_closed(stage: Stage, client: httpx.AsyncClient) -> None:
    async with followed(stage, client) as follower:
        await follower.block()
        stage.bus.answers[FollowThing] = RuntimeError("broken")

        stage.bell.ring()

        assert await follower.ends()


async def test_a_reader_who_hangs_up_is_no_longer_listened_for(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    async with followed(stage, client) as follower:
        await follower.block()
        assert stage.bell.listeners == 1

    await eventually(lambda: stage.bell.listeners == 0)


async def test_only_so_many_streams_are_open_at_once() -> None:
    stage = Stage(live_streams=1)

    async with served(stage) as client, followed(stage, client) as follower:
        await follower.block()
        answer = await client.get(LIVE, headers=stage.authorization())

    assert answer.status_code == 503
    assert answer.json()["code"] == "gateway.too_many_streams"


async def test_head_of_a_stream_ends_at_once(stage: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.head(LIVE, headers=stage.authorization())

    assert answer.status_code == 200
    assert stage.bell.listeners == 0


async def test_stopping_ends_open_streams_and_idle_connections_within_a_second(
    stage: Stage,
) -> None:
    async with served(stage) as client:
        follower = await client.send(
            client.build_request("GET", LIVE, headers=stage.authorization()), stream=True
        )
        await client.get(THINGS)
        await eventually(lambda: stage.bell.listeners == 1)
        began = time.monotonic()

    assert time.monotonic() - began < 1
    assert stage.bell.listeners == 0
    await follower.aclose()


async def test_stopping_lets_a_request_in_flight_finish(stage: Stage) -> None:
    entered = asyncio.Event()
    stage.bus.before_answer = slow(0.3, entered)
    async with httpx.AsyncClient() as client:
        port = free_port()
        async with serving(stage.app(), "127.0.0.1", port, stage.stop):
            request = asyncio.create_task(client.get(f"http://127.0.0.1:{port}{THINGS}"))
            await entered.wait()

        assert (await request).status_code == 200


async def test_stopping_does_not_wait_for_ever(stage: Stage) -> None:
    entered = asyncio.Event()
    stage.bus.before_answer = slow(60, entered)
    async with httpx.AsyncClient() as client:
        port = free_port()
        async with serving(stage.app(), "127.0.0.1", port, stage.stop, stop_within=0.3):
            request = asyncio.create_task(client.get(f"http://127.0.0.1:{port}{THINGS}"))
            await entered.wait()
            began = time.monotonic()

        assert time.monotonic() - began < 3
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)


def test_a_port_that_another_program_holds_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(PortInUseError, match=f"127.0.0.1:{port}"):
            check_port_free("127.0.0.1", port)


def test_a_free_port_is_free() -> None:
    check_port_free("127.0.0.1", free_port())


async def test_a_gateway_does_not_start_on_a_port_that_another_program_holds(
    stage: Stage,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(PortInUseError):
            async with serving(stage.app(), "127.0.0.1", port, stage.stop):
                pass


async def test_two_gateways_share_a_port() -> None:
    first, second = Stage(), Stage()
    port = free_port()
    async with (
        serving(first.app(), "127.0.0.1", port, first.stop),
        serving(second.app(), "127.0.0.1", port, second.stop),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        answer = await client.get("/health")

    assert answer.status_code == 200


def a_part(stage: Stage) -> GatewayPart:
    return GatewayPart(
        stage.settings,
        surface=stage.surface,
        caller=stage.bus,
        mint=stage.mint,
        bell=stage.bell,
        health=stage.health,
        metrics=HandMetrics(),
    )


async def test_a_part_serves_both_listeners_until_it_is_stopped() -> None:
    stage = Stage(port=free_port(), internal_port=free_port())
    part = a_part(stage)
    await part.start()

    async with httpx.AsyncClient() as client:
        public = await client.get(f"http://127.0.0.1:{stage.settings.port}/ready")
        private = await client.get(f"http://127.0.0.1:{stage.settings.internal_port}/ready")
        metrics = await client.get(f"http://127.0.0.1:{stage.settings.port}/metrics")
    await part.stop()

    assert "parts" not in public.json()
    assert private.json()["parts"][0]["name"] == "redis"
    assert metrics.status_code == 404
    check_port_free("127.0.0.1", stage.settings.port)


async def test_a_part_that_cannot_start_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        stage = Stage(port=other.getsockname()[1], internal_port=free_port())
        part = a_part(stage)

        with pytest.raises(PortInUseError):
            await part.start()

    check_port_free("127.0.0.1", stage.settings.internal_port)
    await part.stop()


async def test_a_part_can_be_stopped_before_it_was_started() -> None:
    await a_part(Stage()).stop()


async def test_answers_keep_apart_when_many_ask_at_once(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    stage.bus.answers[GetThing] = NotFound()
    headers = stage.authorization()

    answers = await asyncio.gather(
        *(
            client.get(f"{THINGS}/{THING}", headers={**headers, "X-Correlation-ID": f"c-{number}"})
            for number in range(200)
        )
    )

    assert [answer.json()["correlation_id"] for answer in answers] == [
        f"c-{number}" for number in range(200)
    ]
