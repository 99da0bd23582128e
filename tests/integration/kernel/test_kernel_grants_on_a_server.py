"""The real server holds every credential to its grant, and we say clearly when it does."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bus.connection import Connection, connect
from bus.envelope import Envelope, Reply
from bus.errors import NoResponderError, NotGrantedError
from bus.jetstream import JetStreamError, publish
from bus.jetstream import request as jetstream_request
from bus.provenance import forgery_of
from bus.requests import Endpoint, NatsCaller, RequestServer
from bus.streams import apply, plugin_streams, worker_consumer
from kernel.embedded.nats import NatsServer
from kernel.embedded.ports import free_port
from kernel.grants import GATEWAY, grants_of
from kernel.graph import find_plugins
from tests.sample_plugin.stage import eventually

PLUGINS = find_plugins()
REFUND = "cmd.payment.refund.v1"
CREATE = "work.payment.do.create_payment_v1"
OWN_QUERY = "qry.payment.get_payment.v1"
ASKED = "qry.identity.contacts_of.v1"


@pytest.fixture
async def wall(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server with the grants of all installed plugins."""
    server = NatsServer(
        tmp_path / "nats",
        port=free_port(),
        monitor_port=free_port(),
        users=(GATEWAY, *PLUGINS),
        permissions=grants_of(PLUGINS.values()),
        durable=False,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def entering(wall: NatsServer, credential: str) -> Connection:
    return await connect(
        wall.url, name=f"{credential}.test", seed_file=wall.keys.seed_file(credential)
    )


@pytest.fixture
async def notification(wall: NatsServer) -> AsyncIterator[Connection]:
    """A connection under the credential of notification."""
    connection = await entering(wall, "notification")
    yield connection
    await connection.close()


@pytest.fixture
async def admin(wall: NatsServer) -> AsyncIterator[Connection]:
    """A connection that may do everything."""
    connection = await entering(wall, "admin")
    yield connection
    await connection.close()


async def overhearing(connection: Connection, subject: str) -> list[Any]:
    heard: list[Any] = []

    async def note(message: Any) -> None:
        heard.append(message)

    await connection.client.subscribe(subject, cb=note)
    await connection.flush()
    await connection.flush()
    return heard


async def headers_of(connection: Connection, subject: str) -> dict[str, str] | None:
    """Return the headers of the last message on a subject of the work queue of payment, as stored."""
    try:
        answer = await jetstream_request(
            connection, "STREAM.MSG.GET.WORK_PAYMENT", {"last_by_subj": subject}
        )
    except JetStreamError:
        return None
    lines = b64decode(answer["message"]["hdrs"]).decode().split("\r\n")
    return dict(line.split(": ", 1) for line in lines if ": " in line)


async def test_a_command_that_is_not_declared_does_not_get_past_the_server(
    notification: Connection, admin: Connection
) -> None:
    heard = await overhearing(admin, "cmd.>")

    with capture_logs() as logs:
        await notification.client.publish(REFUND, b"{}")
        await notification.require_heard(())
    await admin.flush()

    assert heard == []
    assert [(line["event"], line["act"], line["subject"], line["credential"]) for line in logs] == [
        ("bus_permission_denied", "publish", REFUND, "notification")
    ]


async def test_who_asks_what_it_may_not_hears_it_at_once(notification: Connection) -> None:
    caller = NatsCaller(notification)

    async with asyncio.timeout(2):
        with pytest.raises(NotGrantedError, match=f"notification may not publish to {REFUND}"):
            await caller.request(REFUND, b"{}", {}, 10)


async def test_what_is_declared_gets_past(notification: Connection) -> None:
    with pytest.raises(NoResponderError):
        await NatsCaller(notification).request(ASKED, b"{}", {}, 5)


async def test_work_for_others_that_is_not_declared_is_not_stored(
    notification: Connection, admin: Connection
) -> None:
    await apply(admin, plugin_streams("payment"), [])

    with pytest.raises(NotGrantedError, match=CREATE):
        await publish(notification, CREATE, b"{}", {}, timeout=0.5)


async def test_a_fact_in_anothers_name_is_refused(
    notification: Connection, admin: Connection
) -> None:
    await apply(admin, plugin_streams("payment"), [])

    with pytest.raises(NotGrantedError):
        await publish(notification, "evt.payment.payment_captured.v1.0.x", b"{}", {}, timeout=0.5)


async def test_answering_for_another_is_refused(notification: Connection) -> None:
    async def handle(payload: bytes, envelope: Envelope) -> Reply:
        return Reply(b"{}", {})

    server = RequestServer(notification, "notification", [Endpoint("refund", REFUND, handle)])

    with pytest.raises(NotGrantedError, match=f"may not subscribe to {REFUND}"):
        await server.start()


async def test_the_answers_to_another_cannot_be_overheard(
    wall: NatsServer, notification: Connection
) -> None:
    order = await entering(wall, "order")

    with capture_logs() as logs:
        heard = await overhearing(notification, "_INBOX_order.>")
    await order.client.publish("wake.order", b"")
    await order.close()

    assert heard == []
    assert [line["subject"] for line in logs] == ["_inbox_order.>"]


async def test_the_gateway_cannot_say_what_is_spoken_between_plugins(wall: NatsServer) -> None:
    gateway = await entering(wall, GATEWAY)

    with pytest.raises(NotGrantedError):
        await NatsCaller(gateway).request("qry.identity.contacts_of.v1", b"{}", {}, 5)

    await gateway.close()


async def test_a_request_is_answered_by_who_may_answer_nothing_else(wall: NatsServer) -> None:
    async def handle(payload: bytes, envelope: Envelope) -> Reply:
        return Reply(b'"here"', {})

    identity, asker = await entering(wall, "identity"), await entering(wall, "notification")
    server = RequestServer(identity, "identity", [Endpoint("contacts_of", ASKED, handle)])
    await server.start()
    now = datetime.now(UTC)

    reply = await NatsCaller(asker).request(ASKED, b"{}", {"ce-time": now.isoformat()}, 5)
    with capture_logs() as logs:
        await identity.client.publish("_INBOX_payment.guessed", b"forged")
        await identity.require_heard(())
    await server.stop()
    await asyncio.gather(identity.close(), asker.close())

    assert reply.payload == b'"here"'
    assert [line["subject"] for line in logs] == ["_inbox_payment.guessed"]


async def test_an_answer_that_is_sent_to_a_command_is_no_request(
    wall: NatsServer, notification: Connection, admin: Connection
) -> None:
    done: list[bytes] = []

    async def handle(payload: bytes, envelope: Envelope) -> Reply:
        done.append(payload)
        return Reply(b"{}", {})

    await apply(admin, plugin_streams("notification"), [worker_consumer("notification")])
    payment = await entering(wall, "payment")
    server = RequestServer(payment, "payment", [Endpoint("get", OWN_QUERY, handle)])
    await server.start()
    await publish(notification, "evt.notification.x.v1.0.k", b"{}", {"ce-source": "order"})
    await publish(notification, "work.notification.do.send_email_v1", b"{}", {})

    async def two_lines() -> bool:
        return len(logs) >= 2

    with capture_logs() as logs:
        for request in (
            "$JS.API.DIRECT.GET.EVT_NOTIFICATION",
            "$JS.API.CONSUMER.MSG.NEXT.WORK_NOTIFICATION.worker",
        ):
            await notification.client.publish(request, b'{"seq": 1}', reply=OWN_QUERY)
        await eventually(two_lines)
    await server.stop()
    await payment.close()

    assert done == []
    assert {line["event"] for line in logs} == {"forged_request"}


async def test_work_that_a_stream_was_made_to_send_gives_itself_away(
    notification: Connection, admin: Connection
) -> None:
    await apply(admin, [*plugin_streams("notification"), *plugin_streams("payment")], [])
    await publish(notification, "evt.notification.x.v1.0.k", b"{}", {"ce-source": "order"})

    await notification.client.publish(
        "$JS.API.DIRECT.GET.EVT_NOTIFICATION", b'{"seq": 1}', reply=CREATE
    )

    headers = await eventually(lambda: headers_of(admin, CREATE))
    assert forgery_of(headers, "payment") == "forged: read out of EVT_NOTIFICATION"


async def test_work_that_a_schedule_of_others_set_off_gives_itself_away(
    wall: NatsServer, admin: Connection
) -> None:
    await apply(admin, plugin_streams("payment"), [])
    order = await entering(wall, "order")
    schedule = {
        "Nats-Schedule": "@at 2020-01-01T00:00:00Z",
        "Nats-Schedule-Target": "work.payment.do.refund_at_provider_v1",
    }

    await publish(order, CREATE, b"{}", schedule)

    headers = await eventually(lambda: headers_of(admin, "work.payment.do.refund_at_provider_v1"))
    await order.close()
    assert forgery_of(headers, "payment") == f"forged: a schedule in {CREATE}"


async def test_what_is_in_hand_when_the_server_reads_its_grants_anew_is_answered(
    wall: NatsServer,
) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def handle(payload: bytes, envelope: Envelope) -> Reply:
        is_asked.set()
        await may_answer.wait()
        return Reply(b'"here"', {})

    identity, asker = await entering(wall, "identity"), await entering(wall, "notification")
    server = RequestServer(identity, "identity", [Endpoint("contacts_of", ASKED, handle)])
    await server.start()

    asked = asyncio.create_task(NatsCaller(asker).request(ASKED, b"{}", {}, 2))
    await is_asked.wait()
    await wall.add_users(["newcomer"])
    may_answer.set()
    reply = await asked
    await server.stop()
    await asyncio.gather(identity.close(), asker.close())

    assert reply.payload == b'"here"'
