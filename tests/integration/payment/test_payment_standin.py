"""The stand-in itself: as strict as the provider, its webhooks as stubborn, its books as durable."""

import asyncio
import hmac
import sys
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from kernel.embedded.ports import free_port
from plugins.payment.standin.__main__ import read_options
from plugins.payment.standin.app import serving
from plugins.payment.standin.courier import Courier
from plugins.payment.standin.office import Options
from tests.integration.payment.conftest import OPTIONS, StandIn
from tests.integration.payment.market import eventually

ORDER: Mapping[str, Any] = {"amount": 50_000, "currency": "INR", "receipt": "payment_a"}


@pytest.fixture
async def api(standin: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key."""
    async with httpx.AsyncClient(
        base_url=standin.base_url, auth=(OPTIONS.key_id, OPTIONS.key_secret)
    ) as client:
        yield client


async def an_order(api: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    response = await api.post("/orders", json={**ORDER, **overrides})
    response.raise_for_status()
    order: dict[str, Any] = response.json()
    return order


MANUAL = {"payment": {"capture": "manual"}}


def capture_for(minutes: int | None, **options: int) -> dict[str, Any]:
    return {
        "payment": {
            "capture": "automatic",
            "capture_options": {"automatic_expiry_period": minutes, **options},
        }
    }


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"amount": 99}, "amount", "input_validation_failed"),
        ({"amount": "50000"}, "amount", "input_validation_failed"),
        ({"amount": 500.5}, "amount", "input_validation_failed"),
        ({"currency": "USD"}, "currency", "input_validation_failed"),
        ({"receipt": "x" * 41}, "receipt", "input_validation_failed"),
        ({"notes": ["a"]}, "notes", "input_validation_failed"),
        ({"notes": {str(n): "a" for n in range(16)}}, "notes", "input_validation_failed"),
        ({"coupon": "X"}, "coupon", "extra_field_sent"),
        (capture_for(11), "automatic_expiry_period", "input_validation_failed"),
        (capture_for(None), "automatic_expiry_period", "input_validation_failed"),
        (
            capture_for(30, manual_expiry_period=20),
            "manual_expiry_period",
            "input_validation_failed",
        ),
    ],
)
async def test_a_wrong_order_is_refused_by_field(
    api: httpx.AsyncClient, body: dict[str, Any], field: str, reason: str
) -> None:
    response = await api.post("/orders", json={**ORDER, **body})

    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["code"], error["field"], error["reason"]) == ("BAD_REQUEST_ERROR", field, reason)


async def test_a_missing_field_is_named(api: httpx.AsyncClient) -> None:
    response = await api.post("/orders", json={"currency": "INR"})

    assert response.json()["error"]["description"] == "The amount field is required."


async def test_what_is_no_json_is_refused(api: httpx.AsyncClient) -> None:
    assert (await api.post("/orders", content=b"{")).status_code == 400


@pytest.mark.parametrize(
    "authorization", [b"", b"basic cnpw", b"Bearer x", "Basic ä".encode("latin-1")]
)
async def test_without_the_key_nothing_is_answered(standin: StandIn, authorization: bytes) -> None:
    async with httpx.AsyncClient(base_url=standin.base_url) as client:
        response = await client.get("/orders", headers={b"authorization": authorization})

    assert response.status_code == 401


async def test_an_unknown_id_is_a_bad_request(api: httpx.AsyncClient) -> None:
    assert (await api.get("/payments/pay_00000000000000")).status_code == 400


async def test_an_unknown_address_is_a_bad_request(api: httpx.AsyncClient) -> None:
    assert (await api.get("/settlements")).status_code == 400


async def test_empty_notes_come_back_as_a_list(api: httpx.AsyncClient) -> None:
    assert (await an_order(api))["notes"] == []


async def test_a_receipt_alone_does_not_keep_a_second_order_away(api: httpx.AsyncClient) -> None:
    first = await an_order(api)

    second = await an_order(api)

    assert first["id"] != second["id"]


async def test_lists_come_in_pages_newest_first(api: httpx.AsyncClient) -> None:
    orders = [await an_order(api, receipt=str(number)) for number in range(3)]

    page = (await api.get("/orders", params={"count": 1, "skip": 1})).json()

    assert (page["entity"], page["count"]) == ("collection", 1)
    assert page["items"][0]["id"] == orders[1]["id"]


async def test_an_automatic_order_is_captured_by_the_provider(
    api: httpx.AsyncClient, standin: StandIn
) -> None:
    order = await an_order(api)

    paid = await standin.pay(order["id"])

    payment = (await api.get(f"/payments/{paid['razorpay_payment_id']}")).json()
    assert (paid["status"], payment["captured"]) == ("captured", True)


async def test_an_order_that_is_being_paid_takes_no_other_payment(
    api: httpx.AsyncClient, standin: StandIn
) -> None:
    order = await an_order(api, **MANUAL)
    await standin.pay(order["id"])

    response = await standin.control.post(f"/standin/orders/{order['id']}/pay", json={})

    assert response.status_code == 400


async def test_a_paid_order_takes_no_other_payment(
    api: httpx.AsyncClient, standin: StandIn
) -> None:
    order = await an_order(api)
    await standin.pay(order["id"])

    response = await standin.control.post(f"/standin/orders/{order['id']}/pay", json={})

    assert response.json()["error"]["description"] == "Order is already paid"


async def test_a_second_success_is_given_back_by_the_provider(
    api: httpx.AsyncClient, standin: StandIn
) -> None:
    order = await an_order(api)
    await standin.pay(order["id"])

    second = await standin.pay(order["id"], force=True)

    refunds = (await api.get(f"/payments/{second['razorpay_payment_id']}/refunds")).json()
    assert [refund["status"] for refund in refunds["items"]] == ["processed"]


async def test_a_failed_payment_may_succeed_late(api: httpx.AsyncClient, standin: StandIn) -> None:
    order = await an_order(api)
    paid = await standin.pay(order["id"], outcome="fail")

    payment = await standin.do(f"/standin/payments/{paid['razorpay_payment_id']}/authorize")

    assert (paid["razorpay_signature"], payment["status"]) == (None, "captured")


@pytest.mark.parametrize("key", ["short", "with spaces in it", "ümlaut-ümlaut"])
async def test_an_idempotency_key_of_another_shape_is_refused(
    api: httpx.AsyncClient, standin: StandIn, key: str
) -> None:
    paid = await standin.pay((await an_order(api))["id"])

    response = await api.post(
        f"/payments/{paid['razorpay_payment_id']}/refund",
        json={},
        headers={b"x-refund-idempotency": key.encode()},
    )

    assert response.status_code == 400


async def test_refunds_are_settled_after_a_while(api: httpx.AsyncClient, standin: StandIn) -> None:
    await standin.set("/standin/faults", refund_after=0.1)
    paid = await standin.pay((await an_order(api))["id"])
    refund = (await api.post(f"/payments/{paid['razorpay_payment_id']}/refund")).json()

    async def is_processed() -> bool:
        found = await api.get(f"/refunds/{refund['id']}")
        return bool(found.json()["status"] == "processed")

    await eventually(is_processed)
    assert refund["status"] == "pending"


async def test_a_failed_refund_gives_the_amount_free_again(
    api: httpx.AsyncClient, standin: StandIn
) -> None:
    await standin.set("/standin/faults", refund_after=-1)
    paid = await standin.pay((await an_order(api))["id"])
    refund = (await api.post(f"/payments/{paid['razorpay_payment_id']}/refund")).json()

    await standin.do(f"/standin/refunds/{refund['id']}/settle", outcome="failed")

    payment = (await api.get(f"/payments/{paid['razorpay_payment_id']}")).json()
    assert (payment["status"], payment["amount_refunded"]) == ("captured", 0)


async def test_all_lists_hold_what_happened(api: httpx.AsyncClient, standin: StandIn) -> None:
    order = await an_order(api)
    paid = await standin.pay(order["id"])
    name = paid["razorpay_payment_id"]
    refund = (await api.post(f"/payments/{name}/refund")).json()

    found = [
        (await api.get(f"/orders/{order['id']}")).json()["status"],
        (await api.get("/payments")).json()["items"][0]["id"],
        (await api.get("/refunds")).json()["items"][0]["id"],
        (await api.get(f"/payments/{name}/refunds/{refund['id']}")).json()["id"],
    ]

    assert found == ["paid", name, refund["id"], refund["id"]]


# Webhooks


class Mailbox:
    """Answers webhooks with the statuses that it is given, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.taken: list[tuple[Mapping[str, str], bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        self.taken.append((headers, body))
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def courier(webhook_port: int) -> AsyncIterator[Courier]:
    """A courier on its own."""
    opened = Courier(f"http://127.0.0.1:{webhook_port}", "new", old_secret="old")
    yield opened
    await opened.close()


async def test_an_event_is_delivered_until_it_is_answered(
    courier: Courier, webhook_port: int
) -> None:
    mailbox = Mailbox(500, 503, 200)
    async with await asyncio.start_server(mailbox.serve, "127.0.0.1", webhook_port):
        courier.announce("payment.failed", {"payment": {"id": "pay_1"}})

        async def is_done() -> bool:
            return courier.sent[0].is_done

        await eventually(is_done)

    assert courier.sent[0].answers == [500, 503, 200]
    assert len({headers["x-razorpay-event-id"] for headers, _ in mailbox.taken}) == 1
    assert len({body for _, body in mailbox.taken}) == 1


async def test_an_event_is_signed_over_the_very_bytes(courier: Courier, webhook_port: int) -> None:
    mailbox = Mailbox(200)
    async with await asyncio.start_server(mailbox.serve, "127.0.0.1", webhook_port):
        courier.announce("payment.failed", {"payment": {"id": "pay_1"}})

        async def is_taken() -> bool:
            return bool(mailbox.taken)

        await eventually(is_taken)

    headers, body = mailbox.taken[0]
    assert headers["x-razorpay-signature"] == hmac.new(b"new", body, sha256).hexdigest()


async def test_an_event_is_delivered_again_on_request(courier: Courier, webhook_port: int) -> None:
    mailbox = Mailbox(200)
    async with await asyncio.start_server(mailbox.serve, "127.0.0.1", webhook_port):
        courier.announce("payment.failed", {"payment": {"id": "pay_1"}})
        is_known = courier.deliver_again(courier.sent[0].event_id)

        async def is_taken_twice() -> bool:
            return len(mailbox.taken) == 2

        await eventually(is_taken_twice)

    assert (is_known, courier.deliver_again("evt_unknown")) == (True, False)


async def test_a_lost_event_is_never_delivered(courier: Courier) -> None:
    courier.road.is_dropped = True

    courier.announce("payment.failed", {"payment": {"id": "pay_1"}})

    assert (courier.sent[0].is_done, courier.sent[0].answers) == (True, [])


# Starting it


async def test_a_restart_keeps_the_books(tmp_path: Path) -> None:
    port = free_port()
    options = Options(
        key_id="k",
        key_secret="s",
        webhook_url="",
        webhook_secret="w",
        state=tmp_path / "books.json",
    )
    async with (
        serving(options, port) as url,
        httpx.AsyncClient(base_url=url, auth=("k", "s")) as api,
    ):
        order = await an_order(api)

    async with (
        serving(options, port) as url,
        httpx.AsyncClient(base_url=url, auth=("k", "s")) as api,
    ):
        found = await api.get(f"/orders/{order['id']}")

    assert found.json() == order


async def test_it_runs_as_a_process_of_its_own_and_stops_on_request() -> None:
    port = free_port()
    arguments = ["--port", str(port), "--key-id", "k", "--webhook-secret", "w"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "plugins.payment.standin",
        *arguments,
        env={"RAZORPAY_STANDIN_KEY_SECRET": "s"},
    )

    async def is_healthy() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{port}/standin/health")
        except httpx.ConnectError:
            return False
        return answer.status_code == 200

    await eventually(is_healthy)
    process.terminate()

    assert await asyncio.wait_for(process.wait(), 5) == 0


def test_secrets_may_come_from_the_environment() -> None:
    port, options = read_options(
        ["--port", "9099", "--key-id", "k"],
        {"RAZORPAY_STANDIN_KEY_SECRET": "s", "RAZORPAY_STANDIN_WEBHOOK_SECRET": "w"},
    )

    assert port == 9099
    assert (options.key_secret, options.webhook_secret, options.state) == ("s", "w", None)


def test_a_missing_secret_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_options(["--port", "9099", "--key-id", "k"], {})

    assert "--key-secret" in capsys.readouterr().err
