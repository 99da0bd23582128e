"""Sessions and users: what may follow what."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.identity.contract import SessionRevoked, UserRegistered
from plugins.identity.domain import Session, User, email_key
from plugins.identity.errors import SessionEndedError, SessionExpiredError, UserSuspendedError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
USER = "user_01k9z7x3c8e4m9r2t5v6w7y8z0"
SESSION = "session_01k9z7x3c8e4m9r2t5v6w7y8z0"


def a_session(**overrides: Any) -> Session:
    fields: dict[str, Any] = {
        "session_id": SESSION,
        "user_id": USER,
        "status": "open",
        "created_at": NOON,
        "expires_at": NOON + timedelta(days=30),
    }
    return Session(**fields | overrides)


def a_user(**overrides: Any) -> User:
    fields: dict[str, Any] = {
        "user_id": USER,
        "email": "asha@buyer.example",
        "name": "Asha",
        "phone": None,
        "roles": ("buyer",),
        "password_hash": "hash",
        "status": "active",
        "version": 1,
        "created_at": NOON,
    }
    return User(**fields | overrides)


def test_an_open_session_may_be_renewed_until_it_expires() -> None:
    session = a_session(expires_at=NOON)

    session.demand_open(at=NOON - timedelta(microseconds=1))


def test_a_session_cannot_be_renewed_at_the_moment_it_expires() -> None:
    session = a_session(expires_at=NOON)

    with pytest.raises(SessionExpiredError):
        session.demand_open(at=NOON)


def test_a_revoked_session_is_told_apart_from_an_expired_one() -> None:
    session = a_session(status="revoked", expires_at=NOON - timedelta(days=1))

    with pytest.raises(SessionEndedError):
        session.demand_open(at=NOON)


def test_revoking_a_session_tells_the_world_why() -> None:
    session = a_session()

    session.revoke(reason="reuse", at=NOON)

    assert session.facts == [SessionRevoked(user_id=USER, session_id=SESSION, reason="reuse")]
    assert (session.revoked_at, session.revoked_for) == (NOON, "reuse")


def test_revoking_twice_is_the_same_as_revoking_once() -> None:
    session = a_session()
    session.revoke(reason="log_out", at=NOON)

    session.revoke(reason="reuse", at=NOON + timedelta(hours=1))

    assert len(session.facts) == 1
    assert (session.revoked_at, session.revoked_for) == (NOON, "log_out")


def test_a_renewed_session_holds_as_long_as_its_newest_token() -> None:
    session = a_session()

    session.renew(until=NOON + timedelta(days=60))

    assert session.expires_at == NOON + timedelta(days=60)


def test_a_new_user_is_active_and_announced_without_personal_data() -> None:
    user = User.register(
        user_id=USER,
        email="asha@buyer.example",
        name="Asha",
        phone="+919812345670",
        roles=("buyer",),
        password_hash="hash",
        at=NOON,
    )

    assert user.is_active
    assert user.facts == [UserRegistered(user_id=USER, roles=("buyer",))]


def test_a_suspended_user_is_refused() -> None:
    user = a_user(status="suspended")

    with pytest.raises(UserSuspendedError):
        user.demand_active()


@given(st.from_regex(r"[A-Za-z0-9.+-]{1,20}@[A-Za-z0-9]{1,20}\.example", fullmatch=True))
def test_emails_that_differ_in_case_only_have_one_key(email: str) -> None:
    assert email_key(email.upper()) == email_key(email.lower())
