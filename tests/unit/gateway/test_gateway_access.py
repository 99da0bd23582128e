import json
import time
from base64 import urlsafe_b64encode

import jwt
import pytest

from bus.errors import NoResponderError
from bus.message import describe
from gateway.access import AccessTokens
from gateway.errors import KeysUnavailableError, TokenExpiredError, TokenInvalidError
from gateway.keys import JwksQueryError, KeyRing, find_query
from gateway.testing.sample import GiveKeys, a_plugin
from gateway.testing.stage import HandBus, HandMint, Issuer


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def bus(issuer: Issuer) -> HandBus:
    bus = HandBus()
    bus.keys = issuer.jwks
    return bus


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(bus: HandBus, clock: Clock) -> KeyRing:
    return KeyRing(bus, describe(GiveKeys), refresh_seconds=600, clock=clock)


@pytest.fixture
def tokens(ring: KeyRing) -> AccessTokens:
    return AccessTokens(ring, issuer="realserv", size=2)


def bearer(token: str) -> bytes:
    return b"Bearer " + token.encode()


def unsigned(issuer: Issuer, algorithm: str) -> str:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    parts = [{"alg": algorithm, "typ": "JWT", "kid": issuer.kid}, claims]
    return (
        ".".join(
            urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
        )
        + "."
    )


async def test_a_good_token_names_its_caller(tokens: AccessTokens, issuer: Issuer) -> None:
    caller = await tokens.verify(bearer(issuer.token()))

    assert caller.actor.id == "user_01k9z7x3c8e4m9r2t5v6w7y8z0"
    assert caller.actor.may("things:write")


async def test_the_scheme_is_read_in_any_case(tokens: AccessTokens, issuer: Issuer) -> None:
    caller = await tokens.verify(b"bEARER " + issuer.token().encode())

    assert caller.actor.roles == ("buyer",)


async def test_a_token_is_verified_once(tokens: AccessTokens, issuer: Issuer, bus: HandBus) -> None:
    header = bearer(issuer.token())
    first = await tokens.verify(header)

    second = await tokens.verify(header)

    assert second is first
    assert tokens.knows(header)


async def test_only_so_many_tokens_are_remembered(tokens: AccessTokens, issuer: Issuer) -> None:
    headers = [bearer(issuer.token(sid=f"s{number}")) for number in range(3)]

    await tokens.verify(headers[0])
    await tokens.verify(headers[1])
    await tokens.verify(headers[2])

    assert [tokens.knows(header) for header in headers] == [False, True, True]


async def test_an_expired_token_says_so(tokens: AccessTokens, issuer: Issuer) -> None:
    with pytest.raises(TokenExpiredError):
        await tokens.verify(bearer(issuer.token(exp=int(time.time()) - 1)))


async def test_a_remembered_token_expires_too(ring: KeyRing, issuer: Issuer) -> None:
    clock = Clock(time.time())
    tokens = AccessTokens(ring, issuer="realserv", size=2, clock=clock)
    header = bearer(issuer.token())
    await tokens.verify(header)
    clock.now += 700

    with pytest.raises(TokenExpiredError):
        await tokens.verify(header)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "bus"},
        {"aud": ["api", "bus"]},
        {"iss": "somebody-else"},
        {"sub": None},
        {"sid": None},
        {"exp": None},
        {"roles": None},
        {"permissions": None},
        {"permissions": "things:write"},
        {"roles": [1]},
        {"nbf": 32_503_680_000},
    ],
    ids=str,
)
async def test_a_token_with_other_claims_is_invalid(
    tokens: AccessTokens, issuer: Issuer, claims: dict[str, object]
) -> None:
    with pytest.raises(TokenInvalidError):
        await tokens.verify(bearer(issuer.token(**claims)))


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "EdDSA"])
async def test_a_token_without_a_signature_is_invalid(
    tokens: AccessTokens, issuer: Issuer, algorithm: str
) -> None:
    with pytest.raises(TokenInvalidError):
        await tokens.verify(bearer(unsigned(issuer, algorithm)))


async def test_a_token_signed_with_the_public_key_as_a_secret_is_invalid(
    tokens: AccessTokens, issuer: Issuer
) -> None:
    secret = issuer.key.public_key().public_bytes_raw()
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    forged = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": issuer.kid})

    with pytest.raises(TokenInvalidError):
        await tokens.verify(bearer(forged))


async def test_a_token_signed_by_another_key_is_invalid(
    tokens: AccessTokens, issuer: Issuer
) -> None:
    with pytest.raises(TokenInvalidError):
        await tokens.verify(bearer(Issuer(kid=issuer.kid).token()))


async def test_a_token_of_an_unknown_key_is_invalid(tokens: AccessTokens) -> None:
    with pytest.raises(TokenInvalidError):
        await tokens.verify(bearer(Issuer(kid="nobody's").token()))


@pytest.mark.parametrize(
    "header",
    [b"", b"Bearer", b"Bearer ", b"Basic abc", b"Bearer a.b.c", b"Bearer \xff", b"Bearer a b c"],
)
async def test_what_is_no_bearer_token_is_invalid(tokens: AccessTokens, header: bytes) -> None:
    with pytest.raises(TokenInvalidError):
        await tokens.verify(header)


async def test_a_huge_token_is_invalid(tokens: AccessTokens) -> None:
    with pytest.raises(TokenInvalidError):
        await tokens.verify(b"Bearer " + b"x" * 20_000)


async def test_a_new_key_is_asked_for_once_it_is_seen(
    ring: KeyRing, bus: HandBus, clock: Clock
) -> None:
    await ring.find("key-1")
    rotated = Issuer(kid="key-2")
    bus.keys = {"keys": [*bus.keys["keys"], *rotated.jwks["keys"]]}
    clock.now += 1.5

    found = await ring.find("key-2")

    assert found == rotated.key.public_key()


async def test_unknown_keys_are_asked_for_once_a_second_at_most(
    ring: KeyRing, bus: HandBus, clock: Clock
) -> None:
    await ring.find("a")
    await ring.find("b")
    clock.now += 1.5

    await ring.find("c")

    assert bus.key_calls == 2


async def test_known_keys_serve_on_while_identity_is_away(
    ring: KeyRing, bus: HandBus, clock: Clock, issuer: Issuer
) -> None:
    await ring.find("key-1")
    bus.keys = NoResponderError()
    clock.now += 6000

    found = await ring.find("key-1")

    assert found == issuer.key.public_key()


async def test_without_any_key_nothing_can_be_verified_now(ring: KeyRing, bus: HandBus) -> None:
    bus.keys = NoResponderError()

    with pytest.raises(KeysUnavailableError):
        await ring.find("key-1")


@pytest.mark.parametrize(
    "answer",
    [
        {"keys": [{"kid": "key-1"}]},
        {"keys": [{"kid": "key-1", "kty": "OKP", "crv": "X25519", "x": "AAAA"}]},
        {"keys": [{"kid": "key-1", "kty": "RSA", "crv": "", "x": ""}]},
    ],
)
async def test_keys_of_another_kind_are_not_taken(
    ring: KeyRing, bus: HandBus, answer: object
) -> None:
    bus.keys = answer

    with pytest.raises(KeysUnavailableError):
        await ring.find("key-1")


async def test_a_removed_key_is_forgotten_at_the_next_refresh(
    ring: KeyRing, bus: HandBus, clock: Clock
) -> None:
    await ring.find("key-1")
    bus.keys = Issuer(kid="key-2").jwks
    clock.now += 601

    assert await ring.find("key-1") is None


def test_the_query_for_keys_is_found_among_the_declarations() -> None:
    assert find_query([a_plugin()], "sample.give_keys").cls is GiveKeys


def test_a_query_that_nobody_answers_is_a_fault_of_the_settings() -> None:
    with pytest.raises(JwksQueryError):
        find_query([a_plugin()], "identity.get_public_keys")


async def test_a_bus_token_serves_for_its_time_and_is_then_signed_anew(
    tokens: AccessTokens, issuer: Issuer
) -> None:
    mint = HandMint()
    caller = await tokens.verify(bearer(issuer.token()))

    signed = [caller.bus_token(mint, now, 60.0) for now in (100.0, 159.0, 160.0)]

    assert signed[0] == signed[1] != signed[2]
    assert mint.minted == [caller.actor, caller.actor]
