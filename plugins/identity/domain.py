"""Users and their sessions: what may follow what. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from kernel.moves import legal_moves
from plugins.identity.contract import Role, SessionRevoked, UserRegistered
from plugins.identity.errors import SessionEndedError, SessionExpiredError, UserSuspendedError

UserStatus = Literal["active", "suspended"]
SessionStatus = Literal["open", "revoked"]
RevokeReason = Literal["log_out", "reuse"]

ACTIVE: Final[UserStatus] = "active"
OPEN: Final[SessionStatus] = "open"
REVOKED: Final[SessionStatus] = "revoked"

SESSION_MOVES: Final = legal_moves({OPEN: {REVOKED}, REVOKED: set[SessionStatus]()})


@dataclass(kw_only=True)
class User:
    """Somebody who can log in."""

    user_id: str
    email: str
    name: str
    phone: str | None
    roles: tuple[Role, ...]
    password_hash: str
    status: UserStatus
    version: int
    created_at: datetime
    facts: list[UserRegistered] = field(default_factory=list)

    @classmethod
    def register(
        cls,
        *,
        user_id: str,
        email: str,
        name: str,
        phone: str | None,
        roles: tuple[Role, ...],
        password_hash: str,
        at: datetime,
    ) -> "User":
        """Make a new user."""
        return cls(
            user_id=user_id,
            email=email,
            name=name,
            phone=phone,
            roles=roles,
            password_hash=password_hash,
            status=ACTIVE,
            version=1,
            created_at=at,
            facts=[UserRegistered(user_id=user_id, roles=roles)],
        )

    @property
    def is_active(self) -> bool:
        """Whether the user may log in."""
        return self.status == ACTIVE

    def demand_active(self) -> None:
        """Raise UserSuspendedError unless the user may use the system."""
        if not self.is_active:
            raise UserSuspendedError


def email_key(email: str) -> str:
    """Return the form in which e-mails are compared: nobody tells them apart by case."""
    return email.lower()


@dataclass(kw_only=True)
class Session:
    """A log-in and all the refresh tokens that came of it: they live and end together."""

    session_id: str
    user_id: str
    status: SessionStatus
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_for: RevokeReason | None = None
    facts: list[SessionRevoked] = field(default_factory=list)

    @classmethod
    def open(
        cls, *, session_id: str, user_id: str, at: datetime, expires_at: datetime
    ) -> "Session":
        """Begin a session."""
        return cls(
            session_id=session_id,
            user_id=user_id,
            status=OPEN,
            created_at=at,
            expires_at=expires_at,
        )

    def demand_open(self, *, at: datetime) -> None:
        """Raise SessionEndedError or SessionExpiredError unless the session can be renewed."""
        if self.status == REVOKED:
            raise SessionEndedError
        if at >= self.expires_at:
            raise SessionExpiredError

    def renew(self, *, until: datetime) -> None:
        """Let the session hold until another time: that of its newest refresh token."""
        self.expires_at = until

    def revoke(self, *, reason: RevokeReason, at: datetime) -> None:
        """End the session before its time. Ending it twice is the same as ending it once."""
        if not SESSION_MOVES.allows(self.status, REVOKED):
            return
        self.status = REVOKED
        self.revoked_at = at
        self.revoked_for = reason
        self.facts.append(
            SessionRevoked(user_id=self.user_id, session_id=self.session_id, reason=reason)
        )
