"""The canary test: personal data planted in every input is found in no stream and in no log.

What a message carries is watched from the moment the system serves, so that work messages, which
vanish when they are done, are read as well; then every stream is read from its beginning. Names of
firms are planted like those of people, for many a firm is a person. Only the pin code of a delivery
is no canary: it stands in the facts by design.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec
import nats
from nats.aio.client import Client

from kernel.testing.market import PASSWORD, Market, Person, Shop, an_address, an_order, until
from kernel.testing.system import System

MARK: Final = f"canary{uuid4().hex[:10]}"
PHONE: Final = f"+9198{uuid4().int % 10**8:08}"
LATITUDE: Final = 17.4435271828
WATCHED: Final = ("evt.>", "work.>", "dlq.>", "audit.>")
LETTERS: Final = 8
"""Letters at the least that this journey causes; when they are out, all is said."""


def planted(what: str) -> str:
    """Return a value that stands nowhere else."""
    return f"{MARK}-{what}"


CANARIES: Final = (MARK.encode(), PHONE.encode(), PHONE[1:].encode(), str(LATITUDE).encode())


@asynccontextmanager
async def plain_client(system: System) -> AsyncIterator[Client]:
    """Yield a client under the operators' credential."""
    bus = system.supervisor.configuration.data["bus"]
    client = await nats.connect(bus["servers"], nkeys_seed=str(Path(bus["keys_dir"]) / "cli.nk"))
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def overheard(client: Client) -> AsyncIterator[list[bytes]]:
    """Note every durable message that is published meanwhile."""
    heard: list[bytes] = []

    async def note(message: Any) -> None:
        heard.append(whole(message.subject, message.headers, message.data))

    subscriptions = [await client.subscribe(subject, cb=note) for subject in WATCHED]
    await client.flush()
    yield heard
    for subscription in subscriptions:
        await subscription.unsubscribe()


def whole(subject: str, headers: dict[str, str] | None, data: bytes) -> bytes:
    """Return a message with its subject and headers as one text to be searched."""
    return b" ".join((subject.encode(), repr(headers or {}).encode(), data))


async def everything_stored(client: Client) -> list[bytes]:
    """Read every stream from its beginning."""
    names = msgspec.json.decode((await client.request("$JS.API.STREAM.NAMES", b"{}")).data)
    return [message for name in names["streams"] for message in await stored_in(client, name)]


async def stored_in(client: Client, stream: str) -> list[bytes]:
    jetstream = client.jetstream()
    state = (await jetstream.stream_info(stream)).state
    found: list[bytes] = []
    sequence = state.first_seq
    while sequence <= state.last_seq and state.messages:
        try:
            message = await jetstream.get_msg(stream, sequence)
        except nats.js.errors.NotFoundError:
            sequence += 1
            continue
        found.append(whole(message.subject or "", message.headers, message.data or b""))
        sequence = (message.seq or sequence) + 1
    return found


def with_canaries(texts: Iterable[bytes]) -> list[bytes]:
    """Return the texts in which a canary sings."""
    return [text[:400] for text in texts if any(canary in text for canary in CANARIES)]


async def live_among_canaries(system: System, market: Market) -> Person:
    """Plant personal data wherever a person can write, and break a few things on the way."""
    shop = await a_shop_of_canaries(market)
    other = await market.shop()
    product = await shop.describe(planted("product"), description=planted("description"))
    offer = await shop.offer(product)
    await other.offer(product)
    account = {
        "email": f"{planted('buyer')}@market.example",
        "password": PASSWORD,
        "name": planted("Asha Rao"),
        "phone": PHONE,
    }
    buyer = await market.buyer(**account)
    again = {**account, "role": "buyer"}
    await market.stranger.request("POST", "/identity/register", again)
    twins = {**again, "email": f"{planted('twins')}@market.example"}
    await asyncio.gather(
        *(market.stranger.request("POST", "/identity/register", twins) for _ in range(8))
    )
    guess = {"email": account["email"], "password": "wrong one"}
    await market.stranger.request("POST", "/identity/login", guess)
    address = an_address(line1=planted("12 Main Road"), city=planted("town"), lat=LATITUDE)
    kept = await buyer.post("/orders", an_order(offer, delivery_address=address))
    await buyer.request("POST", "/orders", an_order(offer, quantity=0, delivery_address=address))
    await shop.handle(kept, "accept", "dispatch", "deliver")
    dropped = await buyer.post("/orders", an_order(offer, delivery_address=address))
    await buyer.post(f"/orders/{dropped['order_id']}/cancel", {"reason": planted("reason")})
    lines = [{"product_id": product, "quantity": 1}]
    moved = await buyer.post("/orders", an_order(lines=lines, delivery_address=address))
    part = moved["sub_orders"][0]
    refuser = shop if part["vendor_id"] == shop.vendor_id else other
    path = f"/orders/{moved['order_id']}/sub-orders/{part['sub_order_id']}/reject"
    await refuser.owner.post(path, {"reason": planted("refusal")})
    await buyer.post(
        "/orders", an_order(offer, payment_method="razorpay", delivery_address=address)
    )
    await market.admin.post(f"/vendors/{shop.vendor_id}/suspend", {"reason": planted("fraud")})
    await a_webhook_of_canaries(system, market)
    await buyer.request("GET", "/catalog/products", params={"q": planted("search")})
    return buyer


async def a_shop_of_canaries(market: Market) -> Shop:
    owner = await market.register(
        "vendor",
        email=f"{planted('owner')}@market.example",
        name=planted("Lakshmi Devi"),
        phone=PHONE,
    )
    place = {"lat": LATITUDE, "lon": 78.38}
    firm = {
        "name": planted("Traders"),
        "location": place,
        "service_radius_km": 40,
        "orders_per_day": 99,
    }
    vendor_id = (await owner.post("/vendors", firm))["vendor_id"]
    await market.admin.post(f"/vendors/{vendor_id}/approve")
    return Shop(owner, vendor_id)


async def a_webhook_of_canaries(system: System, market: Market) -> None:
    """Send what the provider knows of a payer, signed as the provider signs."""
    payer = {"email": f"{planted('payer')}@market.example", "contact": PHONE}
    payment = {
        "id": "pay_canary00000001",
        "order_id": "order_canary0000001",
        "amount": 100,
        **payer,
    }
    body = msgspec.json.encode(
        {
            "entity": "event",
            "event": "payment.failed",
            "payload": {"payment": {"entity": payment}},
            "created_at": 1_790_000_000,
        }
    )
    secret = system.supervisor.configuration.plugin_section("payment")["webhook_secrets"][0]
    answer = await market.http.post(
        "/payments/webhooks/razorpay",
        content=body,
        headers={
            "X-Razorpay-Signature": hmac.new(secret.encode(), body, sha256).hexdigest(),
            "X-Razorpay-Event-Id": f"evt-{uuid4().hex[:12]}",
        },
    )
    assert answer.is_success, answer.text


async def test_no_personal_data_stands_in_any_stream_or_log(system: System, market: Market) -> None:
    async with plain_client(system) as client:
        async with overheard(client) as heard:
            buyer = await live_among_canaries(system, market)
            await until(
                lambda: buyer.get("/notifications", limit=100),
                lambda seen: len(seen["items"]) >= LETTERS,
            )
        stored = await everything_stored(client)
    logs = [path.read_bytes() for path in system.folder.rglob("*.log*") if path.is_file()]

    assert len(heard) > 20
    assert len(stored) > 20
    assert len(logs) > len(system.supervisor.layouts)
    assert with_canaries(heard) == []
    assert with_canaries(stored) == []
    assert [line for log in logs for line in with_canaries(log.splitlines())] == []


async def test_the_canaries_reached_those_who_may_know(system: System, market: Market) -> None:
    """The test above would pass as well if nothing had been planted."""
    email = f"{planted('second')}@market.example"
    buyer = await market.buyer(email=email, name=planted("Second Buyer"), phone=PHONE)

    me = await buyer.get("/identity/me")

    assert with_canaries([msgspec.json.encode(me)]) != []
    mails = system.mail_folder
    await until(lambda: letters_of(mails, email))


async def letters_of(folder: Path, email: str) -> list[Path]:
    return [path for path in folder.glob("[0-9]*.json") if email in path.read_text()]
