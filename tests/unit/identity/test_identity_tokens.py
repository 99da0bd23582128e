"""Access tokens and the settings that they are made with."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
import pytest

from bus.codec import convert
from bus.errors import UndecodableError
from plugins.identity.settings import IdentitySettings
from plugins.identity.tokens import AccessTokens, access_tokens, digest, token_source

SEED = bytes(range(32))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
USER = "user_01k9z7x3c8e4m9r2t5v6w7y8z0"
SESSION = "session_01k9z7x3c8e4m9r2t5v6w7y8z0"


def some_settings(**overrides: Any) -> IdentitySettings:
    settings: IdentitySettings = convert(
        {
            "signing_key": base64.b64encode(SEED).decode(),
            "admin_password": "seven bags of cement",
        }
        | overrides,
        IdentitySettings,
    )
    return settings


def a_signer(**overrides: Any) -> AccessTokens:
    fields: dict[str, Any] = {"seed": SEED, "issuer": "realserv", "lifetime": timedelta(hours=1)}
    return AccessTokens(**fields | overrides)


def a_token(signer: AccessTokens) -> str:
    return signer.issue(
        user_id=USER,
        session_id=SESSION,
        roles=("buyer",),
        permissions=("orders:create", "orders:read"),
        at=NOON,
    )


def read(token: str, signer: AccessTokens) -> dict[str, Any]:
    """Check a token by the published key alone, at any time."""
    key = jwt.PyJWK(msgspec.to_builtins(signer.public_key))
    claims: dict[str, Any] = jwt.decode(
        token, key, ["EdDSA"], audience="api", options={"verify_exp": False, "verify_iat": False}
    )
    return claims


def test_an_access_token_says_who_acts_in_which_session_and_what_they_may() -> None:
    signer = a_signer()

    claims = read(a_token(signer), signer)

    assert claims == {
        "iss": "realserv",
        "aud": "api",
        "sub": USER,
        "sid": SESSION,
        "roles": ["buyer"],
        "permissions": ["orders:create", "orders:read"],
        "iat": int(NOON.timestamp()),
        "exp": int((NOON + timedelta(hours=1)).timestamp()),
    }


def test_the_header_names_the_key_by_its_thumbprint() -> None:
    signer = a_signer()
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{signer.public_key.x}"}}'.encode()
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).decode().rstrip("=")

    header = jwt.get_unverified_header(a_token(signer))

    assert header == {"alg": "EdDSA", "typ": "JWT", "kid": thumbprint}


def test_the_thumbprint_is_that_of_the_standard() -> None:
    # RFC 8037, appendix A.1 and A.3
    d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="

    signer = a_signer(seed=base64.urlsafe_b64decode(d))

    assert signer.public_key.x == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert signer.public_key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_token_of_another_key_is_not_ours() -> None:
    forged = a_token(a_signer(seed=bytes(32)))

    with pytest.raises(jwt.InvalidSignatureError):
        read(forged, a_signer())


async def test_the_signer_follows_the_settings() -> None:
    settings = some_settings(issuer="staging", access_token_lifetime="PT5M")

    async with access_tokens(settings) as signer:
        claims = read(a_token(signer), signer)

    assert (claims["iss"], claims["exp"] - claims["iat"]) == ("staging", 300)


async def test_refresh_tokens_are_long_and_never_the_same() -> None:
    async with token_source(some_settings()) as source:
        drawn = {source.draw() for _ in range(100)}

    assert len(drawn) == 100
    assert {len(token) for token in drawn} == {43}


def test_what_is_stored_of_a_refresh_token_is_its_hash() -> None:
    assert digest("a refresh token") == hashlib.sha256(b"a refresh token").digest()


def test_staff_must_log_in_again_sooner() -> None:
    settings = some_settings()

    assert settings.session_lifetime_of(("buyer", "vendor")) == timedelta(days=30)
    assert settings.session_lifetime_of(("buyer", "support")) == timedelta(days=7)


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        ({"signing_key": "not base64!"}, "signing_key must be base64"),
        ({"signing_key": "c2hvcnQ="}, "signing_key must be 32 bytes"),
        ({"signing_key": ""}, "expected a secret text"),
        ({"admin_password": "short"}, "admin_password must have 10 to 200 characters"),
        ({"admin_email": "nobody"}, "matching regex"),
        ({"hash_workers": 0}, ">= 1"),
        ({"access_token_minutes": 5}, "unknown field"),
    ],
)
def test_wrong_settings_are_named(overrides: dict[str, Any], fault: str) -> None:
    with pytest.raises(UndecodableError, match=fault):
        some_settings(**overrides)


def test_secrets_do_not_print() -> None:
    text = repr(some_settings())

    assert "seven bags" not in text
    assert base64.b64encode(SEED).decode() not in text
