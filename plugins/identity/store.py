"""The write side of identity: rows to users and sessions, and back."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from kernel.context import Reader, Row, Tx
from kernel.ids import to_uuid, to_wire
from kernel.sql import statement
from plugins.identity.domain import Session, User, email_key
from plugins.identity.errors import BadRefreshTokenError, UserNotFoundError
from plugins.identity.tables import refresh_tokens, sessions, users

_USER: Final = select(users)
USER_BY_EMAIL = statement(_USER.where(users.c.email_key == bindparam("email_key")))
USER_BY_ID = statement(_USER.where(users.c.user_id == bindparam("user_id")))
ADD_USER = statement(insert_or(users).on_conflict_do_nothing(index_elements=["email_key"]))
CHANGE_HASH = statement(
    update(users)
    .where(
        users.c.user_id == bindparam("user_id"),
        users.c.password_hash == bindparam("known_hash"),
    )
    .values(password_hash=bindparam("new_hash"), version=users.c.version + 1)
)

# Both rows are locked: a second handling of the same token waits, and then sees it spent.
SESSION_OF_TOKEN = statement(
    select(sessions, refresh_tokens.c.spent_at)
    .join(refresh_tokens, refresh_tokens.c.session_id == sessions.c.session_id)
    .where(refresh_tokens.c.token_hash == bindparam("token_hash"))
    .with_for_update()
)
ADD_SESSION = statement(insert(sessions))
SAVE_SESSION = statement(
    update(sessions)
    .where(sessions.c.session_id == bindparam("known_id"))
    .values(
        status=bindparam("status"),
        expires_at=bindparam("expires_at"),
        revoked_at=bindparam("revoked_at"),
        revoked_for=bindparam("revoked_for"),
    )
)
ADD_TOKEN = statement(insert(refresh_tokens))
SPEND_TOKEN = statement(
    update(refresh_tokens)
    .where(refresh_tokens.c.token_hash == bindparam("known_hash"))
    .values(spent_at=bindparam("spent_at"))
)
DELETE_EXPIRED_SESSIONS = statement(
    delete(sessions).where(sessions.c.expires_at < bindparam("before"))
)
DELETE_EXPIRED_TOKENS = statement(
    delete(refresh_tokens).where(refresh_tokens.c.expires_at < bindparam("before"))
)


async def find_user(db: Reader, email: str) -> User | None:
    """Return the user with an e-mail, or None."""
    row = await db.fetchrow(USER_BY_EMAIL, email_key=email_key(email))
    return _user(row) if row else None


async def get_user(db: Reader, user_id: str) -> User:
    """Return a user; raises UserNotFoundError."""
    row = await db.fetchrow(USER_BY_ID, user_id=to_uuid(user_id))
    if row is None:
        raise UserNotFoundError
    return _user(row)


class UserStore:
    """Saves users."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, user: User) -> bool:
        """Insert a new user and publish its facts; False when somebody has the e-mail."""
        added = await self._tx.execute(
            ADD_USER,
            user_id=to_uuid(user.user_id),
            email=user.email,
            email_key=email_key(user.email),
            name=user.name,
            phone=user.phone,
            roles=list(user.roles),
            password_hash=user.password_hash,
            status=user.status,
            version=user.version,
            created_at=user.created_at,
        )
        if not added:
            return False
        for fact in user.facts:
            self._tx.emit(fact, version=user.version)
        return True

    async def renew_hash(self, user: User, new_hash: str) -> None:
        """Replace a password's hash by a newer one of the same password; a changed password stays."""
        await self._tx.execute(
            CHANGE_HASH,
            user_id=to_uuid(user.user_id),
            known_hash=user.password_hash,
            new_hash=new_hash,
        )


class HeldSession(NamedTuple):
    """A locked session, and whether the refresh token that led to it was spent before."""

    session: Session
    is_spent: bool


class SessionStore:
    """Saves sessions and their refresh tokens."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def find_by_token(self, token_hash: bytes) -> HeldSession | None:
        """Lock and return the session of a refresh token, spent or not; None for an unknown one."""
        row = await self._tx.fetchrow(SESSION_OF_TOKEN, token_hash=token_hash)
        return HeldSession(_session(row), row["spent_at"] is not None) if row else None

    async def get_by_token(self, token_hash: bytes) -> HeldSession:
        """As ``find_by_token``; raises BadRefreshTokenError for an unknown one."""
        held = await self.find_by_token(token_hash)
        if held is None:
            raise BadRefreshTokenError
        return held

    async def add(self, session: Session, token_hash: bytes) -> None:
        """Insert a new session with its first refresh token."""
        await self._tx.execute(
            ADD_SESSION,
            session_id=to_uuid(session.session_id),
            user_id=to_uuid(session.user_id),
            status=session.status,
            created_at=session.created_at,
            expires_at=session.expires_at,
            revoked_at=session.revoked_at,
            revoked_for=session.revoked_for,
        )
        await self._add_token(session, token_hash, session.created_at)

    async def save(self, session: Session) -> None:
        """Write a locked session back and publish its facts."""
        await self._tx.execute(
            SAVE_SESSION,
            known_id=to_uuid(session.session_id),
            status=session.status,
            expires_at=session.expires_at,
            revoked_at=session.revoked_at,
            revoked_for=session.revoked_for,
        )
        for fact in session.facts:
            self._tx.emit(fact)

    async def rotate(self, session: Session, *, spent: bytes, new: bytes, at: datetime) -> None:
        """Spend one refresh token and give the session another."""
        await self._tx.execute(SPEND_TOKEN, known_hash=spent, spent_at=at)
        await self._add_token(session, new, at)
        await self.save(session)

    async def _add_token(self, session: Session, token_hash: bytes, at: datetime) -> None:
        await self._tx.execute(
            ADD_TOKEN,
            token_hash=token_hash,
            session_id=to_uuid(session.session_id),
            issued_at=at,
            expires_at=session.expires_at,
            spent_at=None,
        )


async def delete_expired(tx: Tx, *, before: datetime) -> None:
    """Forget sessions and refresh tokens that expired before a time."""
    await tx.execute(DELETE_EXPIRED_SESSIONS, before=before)
    await tx.execute(DELETE_EXPIRED_TOKENS, before=before)


def _user(row: Row) -> User:
    return User(
        user_id=to_wire("user", row["user_id"]),
        email=row["email"],
        name=row["name"],
        phone=row["phone"],
        roles=tuple(row["roles"]),
        password_hash=row["password_hash"],
        status=row["status"],
        version=row["version"],
        created_at=row["created_at"],
    )


def _session(row: Row) -> Session:
    return Session(
        session_id=to_wire("session", row["session_id"]),
        user_id=to_wire("user", row["user_id"]),
        status=row["status"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        revoked_for=row["revoked_for"],
    )
