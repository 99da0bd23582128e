"""Identity on a real database: registration, log-in, renewal, log-out."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from bus.actor import Actor
from bus.errors import ServiceError
from kernel.sql import statement
from kernel.testing import PluginHarness, an_actor
from plugins.identity.contract import (
    ContactsOf,
    GetActor,
    GetMe,
    GetPublicKeys,
    LogIn,
    LogOut,
    RefreshSession,
    RegisteredUser,
    RegisterUser,
    SessionRevoked,
    Tokens,
    UserRegistered,
)
from plugins.identity.passwords import PasswordPool
from plugins.identity.plugin import plugin

SETTINGS = {
    "signing_key": base64.b64encode(bytes(range(32))).decode(),
    "admin_email": "admin@realserv.example",
    "admin_password": "sand, gravel and water",
    "argon2_time_cost": 1,
    "argon2_memory_kib": 8,
    "argon2_parallelism": 1,
    "hash_workers": 1,
}
PASSWORD = "seven bags of cement"
NOBODY = "user_01k9z7x3c8e4m9r2t5v6w7y8z0"

SUSPEND = statement("UPDATE users SET status = 'suspended' WHERE email_key = :email_key")
STORED_TOKENS = statement("SELECT token_hash, spent_at FROM refresh_tokens ORDER BY issued_at")
SESSION_STATUS = statement("SELECT status, revoked_for FROM sessions")
INBOX_ROWS = statement("SELECT count(*) FROM kernel.inbox")
COUNTS = statement(
    """
    SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM sessions) AS sessions,
           (SELECT count(*) FROM refresh_tokens) AS tokens
    """
)
HASH_OF = statement("SELECT password_hash FROM users WHERE email_key = :email_key")


class CountingPool(PasswordPool):
    """Remembers the hashes that passwords were compared with."""

    def __init__(self, hasher: PasswordHasher, *, workers: int, queue: int) -> None:
        super().__init__(hasher, workers=workers, queue=queue)
        self.verified: list[str | None] = []

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.verified.append(password_hash)
        return await super().verify(password_hash, password)


@pytest.fixture
async def identity(database: str) -> AsyncIterator[PluginHarness]:
    async with PluginHarness.open(plugin, database, settings=SETTINGS) as harness:
        yield harness


def a_registration(**overrides: Any) -> RegisterUser:
    fields: dict[str, Any] = {
        "email": "Asha@Buyer.example",
        "password": PASSWORD,
        "name": "Asha",
        "role": "buyer",
        "phone": "+919812345670",
    }
    return RegisterUser(**fields | overrides)


async def a_user(identity: PluginHarness, **overrides: Any) -> RegisteredUser:
    return await identity.ask(a_registration(**overrides))


async def a_log_in(identity: PluginHarness, **overrides: Any) -> Tokens:
    fields = {"email": "asha@buyer.example", "password": PASSWORD}
    return await identity.ask(LogIn(**fields | overrides))


async def refusal_of(identity: PluginHarness, message: Any, actor: Actor | None = None) -> str:
    with pytest.raises(ServiceError) as refusal:
        await identity.ask(message, actor=actor)
    return refusal.value.to_wire().code


async def test_a_registered_user_can_log_in_whatever_the_case_of_the_email(
    identity: PluginHarness,
) -> None:
    registered = await a_user(identity)

    tokens = await a_log_in(identity, email="ASHA@buyer.EXAMPLE")

    assert (registered.email, registered.roles) == ("Asha@Buyer.example", ("buyer",))
    assert (tokens.token_type, tokens.expires_in) == ("Bearer", 3600)


async def test_the_fact_of_a_registration_holds_no_personal_data(identity: PluginHarness) -> None:
    registered = await a_user(identity)

    said = await identity.said(UserRegistered)
    spoken = b"".join(row.payload for row in await identity.spoken())

    assert said[-1] == UserRegistered(user_id=registered.user_id, roles=("buyer",))
    assert b"Asha" not in spoken
    assert b"buyer.example" not in spoken


async def test_an_access_token_is_checked_by_the_published_keys(identity: PluginHarness) -> None:
    registered = await a_user(identity)
    published = await identity.ask(GetPublicKeys())
    key = published.keys[0]

    token = (await a_log_in(identity)).access_token

    assert jwt.get_unverified_header(token)["kid"] == key.kid
    claims = jwt.decode(
        token, jwt.PyJWK({"kty": key.kty, "crv": key.crv, "x": key.x}), ["EdDSA"], audience="api"
    )
    assert (claims["sub"], claims["roles"]) == (registered.user_id, ["buyer"])
    assert claims["permissions"] == ["api_keys:create"]


async def test_an_email_is_registered_once_whatever_its_case(identity: PluginHarness) -> None:
    await a_user(identity)

    code = await refusal_of(identity, a_registration(email="aSHA@bUYER.example"))

    assert code == "identity.email_taken"


async def test_of_many_who_register_one_email_at_once_one_succeeds(identity: PluginHarness) -> None:
    outcomes = await asyncio.gather(
        *(identity.ask(a_registration(name=f"Asha {n}")) for n in range(8)), return_exceptions=True
    )

    codes = sorted(getattr(outcome, "code", "registered") for outcome in outcomes)
    assert codes == ["identity.email_taken"] * 7 + ["registered"]
    assert len(await identity.said(UserRegistered)) == 2


async def test_a_registration_repeated_under_its_key_is_refused_and_makes_one_user(
    identity: PluginHarness,
) -> None:
    """Nothing is kept of a command that holds a password, so a repeat is decided anew."""
    await identity.ask(a_registration(), key="k1")

    with pytest.raises(ServiceError, match="registered already"):
        await identity.ask(a_registration(), key="k1")

    assert len(await identity.said(UserRegistered)) == 2
    assert await identity.runtime.database.fetchval(INBOX_ROWS) == 0


async def test_registrations_of_one_email_at_once_make_one_user(identity: PluginHarness) -> None:
    replies = await asyncio.gather(
        *(identity.ask(a_registration(), key="k1") for _ in range(8)), return_exceptions=True
    )

    refused = [reply for reply in replies if isinstance(reply, ServiceError)]
    assert [error.to_wire().code for error in refused] == ["identity.email_taken"] * 7
    assert len(await identity.said(UserRegistered)) == 2


async def test_a_common_password_is_refused_and_nobody_is_stored(identity: PluginHarness) -> None:
    code = await refusal_of(identity, a_registration(password="password123"))

    counts = await identity.runtime.database.fetchrow(COUNTS)
    assert code == "identity.weak_password"
    assert counts is not None
    assert counts["users"] == 1


async def test_unknown_emails_and_wrong_passwords_are_answered_alike(
    identity: PluginHarness,
) -> None:
    await a_user(identity)

    with pytest.raises(ServiceError) as unknown:
        await a_log_in(identity, email="nobody@buyer.example")
    with pytest.raises(ServiceError) as wrong:
        await a_log_in(identity, password="eight bags of cement")

    assert unknown.value.to_wire() == wrong.value.to_wire()
    assert wrong.value.to_wire().code == "identity.bad_credentials"
    assert wrong.value.to_wire().status == 401


async def test_an_unknown_email_costs_a_verification_as_a_wrong_password_does(
    database: str,
) -> None:
    pool = CountingPool(PasswordHasher(1, 8, 1), workers=1, queue=4)
    async with PluginHarness.open(
        plugin, database, settings=SETTINGS, resources={PasswordPool: pool}
    ) as identity:
        await a_user(identity)

        await refusal_of(identity, LogIn(email="nobody@buyer.example", password=PASSWORD))
        await refusal_of(identity, LogIn(email="asha@buyer.example", password="wrong password"))

    assert [password_hash is None for password_hash in pool.verified] == [True, False]
    await pool.close()


async def test_a_suspended_user_is_as_unknown_at_log_in(identity: PluginHarness) -> None:
    await a_user(identity)
    await identity.runtime.database.execute(SUSPEND, email_key="asha@buyer.example")

    code = await refusal_of(identity, LogIn(email="asha@buyer.example", password=PASSWORD))

    assert code == "identity.bad_credentials"


async def test_a_suspended_user_cannot_renew(identity: PluginHarness) -> None:
    await a_user(identity)
    tokens = await a_log_in(identity)
    await identity.runtime.database.execute(SUSPEND, email_key="asha@buyer.example")

    code = await refusal_of(identity, RefreshSession(refresh_token=tokens.refresh_token))

    assert code == "identity.user_suspended"


async def test_a_hash_of_older_parameters_is_renewed_at_log_in(database: str) -> None:
    async with PluginHarness.open(plugin, database, settings=SETTINGS) as older:
        await a_user(older)
    dearer = SETTINGS | {"argon2_time_cost": 2}

    async with PluginHarness.open(plugin, database, settings=dearer) as identity:
        await a_log_in(identity)
        stored = await identity.runtime.database.fetchval(HASH_OF, email_key="asha@buyer.example")
        await a_log_in(identity)

    assert ",t=2," in stored


async def test_a_renewal_spends_the_token_and_gives_another(identity: PluginHarness) -> None:
    await a_user(identity)
    first = await a_log_in(identity)

    second = await identity.ask(RefreshSession(refresh_token=first.refresh_token))
    third = await identity.ask(RefreshSession(refresh_token=second.refresh_token))

    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    stored = await identity.runtime.database.fetch(STORED_TOKENS)
    assert [row["spent_at"] is None for row in stored] == [False, False, True]
    assert first.refresh_token.encode() not in b"".join(row["token_hash"] for row in stored)


async def test_a_spent_token_that_comes_again_ends_the_session_for_everybody(
    identity: PluginHarness,
) -> None:
    registered = await a_user(identity)
    first = await a_log_in(identity)
    second = await identity.ask(RefreshSession(refresh_token=first.refresh_token))

    reuse = await refusal_of(identity, RefreshSession(refresh_token=first.refresh_token))
    after = await refusal_of(identity, RefreshSession(refresh_token=second.refresh_token))

    assert (reuse, after) == ("identity.refresh_token_reused", "identity.session_revoked")
    revoked = await identity.said(SessionRevoked)
    assert [(fact.user_id, fact.reason) for fact in revoked] == [(registered.user_id, "reuse")]


async def test_of_two_renewals_with_one_token_at_once_one_is_taken_for_theft(
    identity: PluginHarness,
) -> None:
    await a_user(identity)
    tokens = await a_log_in(identity)
    renewal = RefreshSession(refresh_token=tokens.refresh_token)

    outcomes = await asyncio.gather(
        *(identity.ask(renewal) for _ in range(4)), return_exceptions=True
    )

    codes = sorted(getattr(outcome, "code", "renewed") for outcome in outcomes)
    assert codes == [
        "identity.refresh_token_reused",
        "identity.session_revoked",
        "identity.session_revoked",
        "renewed",
    ]
    assert len(await identity.said(SessionRevoked)) == 1


async def test_a_key_makes_a_spent_refresh_token_no_better(identity: PluginHarness) -> None:
    """The renewal's reply holds tokens, so it is not kept for a repeat: ADR 0013."""
    await a_user(identity)
    tokens = await a_log_in(identity)
    renewal = RefreshSession(refresh_token=tokens.refresh_token)
    await identity.ask(renewal, key="k1")

    with pytest.raises(ServiceError, match="used before"):
        await identity.ask(renewal, key="k1")

    assert await identity.runtime.database.fetchval(INBOX_ROWS) == 0
    assert len(await identity.said(SessionRevoked)) == 1


async def test_reuse_repeated_under_its_key_revokes_once(identity: PluginHarness) -> None:
    await a_user(identity)
    tokens = await a_log_in(identity)
    renewal = RefreshSession(refresh_token=tokens.refresh_token)
    await identity.ask(renewal)

    with pytest.raises(ServiceError, match="used before"):
        await identity.ask(renewal, key="k1")
    with pytest.raises(ServiceError, match="was ended"):
        await identity.ask(renewal, key="k1")

    assert len(await identity.said(SessionRevoked)) == 1


async def test_an_unknown_refresh_token_is_refused(identity: PluginHarness) -> None:
    code = await refusal_of(identity, RefreshSession(refresh_token="x" * 43))

    assert code == "identity.bad_refresh_token"


async def test_a_session_that_was_not_renewed_in_time_has_expired(identity: PluginHarness) -> None:
    await a_user(identity)
    tokens = await a_log_in(identity)
    identity.clock_offset = timedelta(days=30, seconds=1)

    code = await refusal_of(identity, RefreshSession(refresh_token=tokens.refresh_token))

    assert code == "identity.session_expired"


async def test_the_sessions_of_staff_are_shorter(identity: PluginHarness) -> None:
    tokens = await a_log_in(
        identity, email="admin@realserv.example", password="sand, gravel and water"
    )
    identity.clock_offset = timedelta(days=7, seconds=1)

    code = await refusal_of(identity, RefreshSession(refresh_token=tokens.refresh_token))

    assert code == "identity.session_expired"


async def test_logging_out_ends_the_session_and_doing_so_again_changes_nothing(
    identity: PluginHarness,
) -> None:
    registered = await a_user(identity)
    tokens = await a_log_in(identity)
    log_out = LogOut(refresh_token=tokens.refresh_token)
    asha = an_actor(registered.user_id)

    await identity.ask(log_out, actor=asha)
    await identity.ask(log_out, actor=asha)

    code = await refusal_of(identity, RefreshSession(refresh_token=tokens.refresh_token))
    assert code == "identity.session_revoked"
    assert [fact.reason for fact in await identity.said(SessionRevoked)] == ["log_out"]


async def test_nobody_logs_others_out(identity: PluginHarness) -> None:
    await a_user(identity)
    tokens = await a_log_in(identity)

    await identity.ask(LogOut(refresh_token=tokens.refresh_token), actor=an_actor(NOBODY))

    status = await identity.runtime.database.fetchrow(SESSION_STATUS)
    assert status is not None
    assert (status["status"], status["revoked_for"]) == ("open", None)


async def test_an_unknown_token_logs_nobody_out(identity: PluginHarness) -> None:
    await identity.ask(LogOut(refresh_token="x" * 43), actor=an_actor(NOBODY))

    assert await identity.said(SessionRevoked) == []


async def test_a_log_out_delivered_twice_revokes_once(identity: PluginHarness) -> None:
    registered = await a_user(identity)
    tokens = await a_log_in(identity)
    asha = an_actor(registered.user_id)

    await identity.ask(LogOut(refresh_token=tokens.refresh_token), actor=asha, key="k1")
    await identity.ask(LogOut(refresh_token=tokens.refresh_token), actor=asha, key="k1")

    assert len(await identity.said(SessionRevoked)) == 1


async def test_logging_out_needs_a_log_in(identity: PluginHarness) -> None:
    with pytest.raises(ServiceError) as refusal:
        await identity.ask(LogOut(refresh_token="x" * 43))

    assert refusal.value.status in (401, 403)


async def test_the_caller_is_shown_with_the_permissions_of_now(identity: PluginHarness) -> None:
    registered = await a_user(identity)

    me = await identity.ask(GetMe(), actor=an_actor(registered.user_id))

    assert (me.user_id, me.email, me.name) == (
        registered.user_id,
        "Asha@Buyer.example",
        "Asha",
    )
    assert (me.roles, me.permissions) == (("buyer",), ("api_keys:create",))


async def test_a_caller_who_is_no_user_any_more_is_not_found(identity: PluginHarness) -> None:
    code = await refusal_of(identity, GetMe(), an_actor(NOBODY))

    assert code == "identity.user_not_found"


async def test_contacts_are_given_for_those_who_exist(identity: PluginHarness) -> None:
    asha = await a_user(identity)
    ravi = await a_user(identity, email="ravi@vendor.example", name="Ravi", role="vendor")

    found = await identity.ask(ContactsOf(user_ids=(ravi.user_id, NOBODY, asha.user_id)))

    contacts = {contact.user_id: contact for contact in found.contacts}
    assert set(contacts) == {asha.user_id, ravi.user_id}
    assert contacts[asha.user_id].phone == "+919812345670"


async def test_an_actor_is_found_by_email(identity: PluginHarness) -> None:
    actor = await identity.ask(GetActor(email="Admin@Realserv.example"))

    assert actor.roles == ("admin",)
    assert actor.permissions == tuple(sorted(p.name for p in plugin.permissions))


async def test_an_unknown_actor_is_not_found(identity: PluginHarness) -> None:
    code = await refusal_of(identity, GetActor(email="nobody@buyer.example"))

    assert code == "identity.user_not_found"


async def test_hosts_that_start_at_once_make_one_administrator(database: str) -> None:
    async with PluginHarness.open(plugin, database, settings=SETTINGS) as identity:
        await identity.runtime.database.execute(statement("DELETE FROM users"))
        hook = plugin.start_hooks[0]

        await asyncio.gather(*(hook(identity.runtime.start_context()) for _ in range(3)))

        counts = await identity.runtime.database.fetchrow(COUNTS)
    assert counts is not None
    assert counts["users"] == 1


async def test_what_can_no_longer_be_renewed_is_deleted(identity: PluginHarness) -> None:
    await a_user(identity)
    await a_log_in(identity)
    identity.clock_offset = timedelta(days=29)
    tokens = await a_log_in(identity)
    identity.clock_offset = timedelta(days=31)

    await identity.run_job("forget_expired_sessions")

    counts = await identity.runtime.database.fetchrow(COUNTS)
    assert counts is not None
    assert (counts["sessions"], counts["tokens"]) == (1, 1)
    await identity.ask(RefreshSession(refresh_token=tokens.refresh_token))


async def test_a_spent_token_is_forgotten_when_it_would_have_expired(
    identity: PluginHarness,
) -> None:
    await a_user(identity)
    first = await a_log_in(identity)
    identity.clock_offset = timedelta(days=20)
    second = await identity.ask(RefreshSession(refresh_token=first.refresh_token))
    identity.clock_offset = timedelta(days=31)

    await identity.run_job("forget_expired_sessions")

    code = await refusal_of(identity, RefreshSession(refresh_token=first.refresh_token))
    assert code == "identity.bad_refresh_token"
    await identity.ask(RefreshSession(refresh_token=second.refresh_token))
