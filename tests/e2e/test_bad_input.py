"""Bad input: each with its problem code, and nothing stored."""

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.actor import Actor
from kernel.ids import new_uuid7, to_uuid, to_wire
from kernel.testing.market import PASSWORD, Market, Person, Shop, an_address, an_order, new_email
from kernel.testing.system import System
from kernel.tokens import TokenMint

Rows = Callable[..., Awaitable[list[Any]]]

ADDRESS: Final = json.dumps(an_address()).encode()
LINE: Final = b'{"offer_id":"%(offer)s","quantity":%(quantity)s}'
ORDER: Final = b'{"lines":[%s],"delivery_address":%s,"payment_method":"cod"}'
MANY: Final = 10_000


def with_quantity(quantity: bytes) -> bytes:
    """Return an order's body with a quantity as it stands here."""
    line = LINE.replace(b"%(quantity)s", quantity)
    return ORDER % (line, ADDRESS)


class Case(NamedTuple):
    """A body that is refused, and how."""

    body: bytes
    status: int
    code: str


BAD_ORDERS: Final = {
    "malformed json": Case(b'{"lines": [', 400, "gateway.malformed_json"),
    "no json at all": Case(b"lines=1", 400, "gateway.malformed_json"),
    "an array": Case(b"[]", 422, "kernel.invalid"),
    "nothing": Case(b"", 422, "kernel.invalid"),
    "a wrong type": Case(with_quantity(b'"ten"'), 422, "kernel.invalid"),
    "a boolean quantity": Case(with_quantity(b"true"), 422, "kernel.invalid"),
    "quantity 0": Case(with_quantity(b"0"), 422, "kernel.invalid"),
    "quantity -1": Case(with_quantity(b"-1"), 422, "kernel.invalid"),
    "quantity 1e12": Case(with_quantity(b"1e12"), 422, "kernel.invalid"),
    "quantity NaN": Case(with_quantity(b"NaN"), 400, "gateway.malformed_json"),
    "quantity Infinity": Case(with_quantity(b"Infinity"), 400, "gateway.malformed_json"),
    "quantity NaN as text": Case(with_quantity(b'"NaN"'), 422, "kernel.invalid"),
    "quantity 1e400000000": Case(with_quantity(b"1e400000000"), 422, "kernel.invalid"),
    "quantity with four decimals": Case(with_quantity(b"1.0001"), 422, "kernel.invalid"),
    "10 000 lines": Case(
        ORDER % (b",".join([LINE.replace(b"%(quantity)s", b"1")] * MANY), ADDRESS),
        422,
        "kernel.invalid",
    ),
    "no lines": Case(ORDER % (b"", ADDRESS), 422, "kernel.invalid"),
    "a text with NUL": Case(
        with_quantity(b"1").replace(b"12 Main Road", b"12 Main\\u0000Road"), 422, "kernel.invalid"
    ),
    "a raw NUL": Case(
        with_quantity(b"1").replace(b"12 Main Road", b"12 Main\x00Road"),
        400,
        "gateway.malformed_json",
    ),
    "broken UTF-8": Case(
        with_quantity(b"1").replace(b"12 Main Road", b"12 \xff Road"), 400, "gateway.malformed_json"
    ),
    "10 000 nested arrays": Case(b"[" * MANY + b"]" * MANY, 400, "gateway.malformed_json"),
    "10 000 nested arrays in a field": Case(
        b'{"lines":' + b"[" * MANY + b"]" * MANY + b"}", 400, "gateway.malformed_json"
    ),
    "a body of 20 MB": Case(
        b'{"lines":"' + b"x" * 20_000_000 + b'"}', 413, "gateway.body_too_large"
    ),
    "an unknown payment method": Case(
        with_quantity(b"1").replace(b'"cod"', b'"barter"'), 422, "kernel.invalid"
    ),
    "a latitude of 91": Case(with_quantity(b"1").replace(b"17.4435", b"91"), 422, "kernel.invalid"),
}


@pytest.fixture(scope="session")
async def buyer(market: Market) -> Person:
    """A buyer who never gets an order through."""
    return await market.buyer()


@pytest.fixture(scope="session")
async def offer(shop: Shop) -> str:
    """An offer that nobody ever reserves."""
    return await shop.stocked()


async def nothing_stored(rows: Rows, buyer: Person, offer: str) -> bool:
    """Tell whether the buyer has no order and the offer no reservation."""
    orders = await rows("order", "SELECT 1 FROM orders WHERE buyer_id = $1", to_uuid(buyer.user_id))
    held = await rows(
        "catalog", "SELECT 1 FROM reservation_lines WHERE offer_id = $1", to_uuid(offer)
    )
    facts = await rows(
        "order", "SELECT 1 FROM kernel.outbox WHERE payload LIKE '%' || $1 || '%'", buyer.user_id
    )
    return not orders and not held and not facts


async def post_raw(person: Person, path: str, body: bytes) -> Any:
    return await person.http.post(
        path,
        content=body,
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {person.tokens['access_token']}",
        },
    )


@pytest.mark.parametrize("case", BAD_ORDERS.values(), ids=BAD_ORDERS.keys())
async def test_a_bad_order_is_refused_and_leaves_nothing(
    buyer: Person, offer: str, rows: Rows, case: Case
) -> None:
    body = case.body.replace(b"%(offer)s", offer.encode())

    answer = await post_raw(buyer, "/orders", body)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (case.status, case.code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() >= {"type", "title", "status", "detail", "code", "correlation_id"}
    assert await nothing_stored(rows, buyer, offer)


async def test_the_fields_at_fault_are_named(buyer: Person) -> None:
    body = an_order(
        lines=[{"offer_id": to_wire("offer", new_uuid7()), "quantity": -1}],
        delivery_address=an_address(pincode="12"),
        payment_method="barter",
    )

    answer = await buyer.request("POST", "/orders", body)

    fields = {fault["field"] for fault in answer.json()["errors"]}
    assert fields == {"lines[0].quantity", "delivery_address.pincode", "payment_method"}


async def test_an_offer_that_does_not_exist_is_refused(
    buyer: Person, offer: str, rows: Rows
) -> None:
    unknown = to_wire("offer", new_uuid7())

    answer = await buyer.request("POST", "/orders", an_order(offer, unknown))

    assert (answer.status_code, answer.json()["code"]) == (422, "order.offer_not_open")
    assert await nothing_stored(rows, buyer, offer)


@pytest.mark.parametrize("role", ["admin", "support", "finance", "viewer", "root"])
async def test_nobody_registers_as_staff(market: Market, rows: Rows, role: str) -> None:
    email = new_email("mallory")
    account = {"email": email, "password": PASSWORD, "name": "Mallory", "role": role}

    answer = await market.stranger.request("POST", "/identity/register", account)

    assert (answer.status_code, answer.json()["code"]) == (422, "kernel.invalid")
    assert await rows("identity", "SELECT 1 FROM users WHERE email_key = $1", email) == []


async def test_roles_sent_beside_a_registration_are_not_taken(market: Market) -> None:
    person = await market.buyer(roles=["admin"], permissions=["vendors:approve"])

    me = await person.get("/identity/me")

    assert me["roles"] == ["buyer"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/orders?limit=0", "kernel.invalid"),
        ("/orders?limit=1000000", "kernel.invalid"),
        ("/orders?cursor=nonsense", "kernel.invalid"),
        ("/orders?stat=placed", "gateway.unknown_parameter"),
        ("/orders?limit=1&limit=2", "gateway.field_given_twice"),
        ("/orders/order_nonsense", "kernel.invalid"),
    ],
)
async def test_a_bad_address_is_refused(buyer: Person, path: str, code: str) -> None:
    answer = await buyer.request("GET", path)

    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_path_that_is_not_served_is_a_problem_too(buyer: Person) -> None:
    answer = await buyer.request("GET", "/nowhere")

    assert (answer.status_code, answer.json()["code"]) == (404, "gateway.no_such_route")


Forge = Callable[[Ed25519PrivateKey, Mapping[str, Any], str], str]


def signed(key: Ed25519PrivateKey, claims: Mapping[str, Any], kid: str) -> str:
    return jwt.encode(dict(claims), key, "EdDSA", headers={"kid": kid})


def expired(key: Ed25519PrivateKey, claims: Mapping[str, Any], kid: str) -> str:
    past = datetime.now(UTC) - timedelta(seconds=5)
    return signed(key, {**claims, "exp": past}, kid)


def of_other_audience(key: Ed25519PrivateKey, claims: Mapping[str, Any], kid: str) -> str:
    return signed(key, {**claims, "aud": "bus"}, kid)


def of_other_issuer(key: Ed25519PrivateKey, claims: Mapping[str, Any], kid: str) -> str:
    return signed(key, {**claims, "iss": "elsewhere"}, kid)


def of_other_key(_: Ed25519PrivateKey, claims: Mapping[str, Any], kid: str) -> str:
    return signed(Ed25519PrivateKey.generate(), claims, kid)


def of_unknown_key(_: Ed25519PrivateKey, claims: Mapping[str, Any], __: str) -> str:
    return signed(Ed25519PrivateKey.generate(), claims, "unknown")


def of_no_algorithm(_: Ed25519PrivateKey, claims: Mapping[str, Any], kid: str) -> str:
    return jwt.encode(dict(claims), "", "none", headers={"kid": kid})


def of_shared_secret(key: Ed25519PrivateKey, claims: Mapping[str, Any], kid: str) -> str:
    public = urlsafe_b64encode(key.public_key().public_bytes_raw())
    return jwt.encode(dict(claims), public, "HS256", headers={"kid": kid})


def of_the_bus(_: Ed25519PrivateKey, claims: Mapping[str, Any], __: str) -> str:
    return TokenMint().mint(Actor(kind="user", id=claims["sub"], roles=("admin",)))


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (expired, "gateway.token_expired"),
        (of_other_audience, "gateway.token_invalid"),
        (of_other_issuer, "gateway.token_invalid"),
        (of_other_key, "gateway.token_invalid"),
        (of_unknown_key, "gateway.token_invalid"),
        (of_no_algorithm, "gateway.token_invalid"),
        (of_shared_secret, "gateway.token_invalid"),
        (of_the_bus, "gateway.token_invalid"),
    ],
)
async def test_a_token_that_does_not_hold_is_refused(
    system: System, buyer: Person, offer: str, rows: Rows, forge: Forge, code: str
) -> None:
    genuine = buyer.tokens["access_token"]
    seed = system.supervisor.configuration.plugin_section("identity")["signing_key"]
    key = Ed25519PrivateKey.from_private_bytes(b64decode(seed))
    claims = jwt.decode(genuine, options={"verify_signature": False})
    forged = forge(key, claims, jwt.get_unverified_header(genuine)["kid"])

    answer = await buyer.http.post(
        "/orders", json=an_order(offer), headers={"Authorization": f"Bearer {forged}"}
    )

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert await nothing_stored(rows, buyer, offer)


async def test_the_means_of_forging_would_pass_a_genuine_token(
    system: System, buyer: Person
) -> None:
    genuine = buyer.tokens["access_token"]
    seed = system.supervisor.configuration.plugin_section("identity")["signing_key"]
    key = Ed25519PrivateKey.from_private_bytes(b64decode(seed))
    claims = jwt.decode(genuine, options={"verify_signature": False})
    again = signed(key, claims, jwt.get_unverified_header(genuine)["kid"])

    answer = await buyer.http.get("/identity/me", headers={"Authorization": f"Bearer {again}"})

    assert answer.status_code == 200
    assert isinstance(to_uuid(answer.json()["user_id"]), UUID)
