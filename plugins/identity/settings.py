"""The settings of identity."""

import base64
import binascii
from datetime import timedelta
from typing import Annotated, Final

from msgspec import Meta

from kernel.settings import Secret, Settings
from kernel.text import Email
from plugins.identity.contract import Role

STAFF: Final = frozenset({"support", "finance", "viewer", "admin"})
SEED_BYTES: Final = 32

Count = Annotated[int, Meta(ge=1)]


class IdentitySettings(Settings, frozen=True, kw_only=True):
    """Keys, life times, the first administrator, and how dear a password hash is."""

    signing_key: Secret
    """Ed25519 seed by which access tokens are signed: 32 random bytes in base64."""
    admin_password: Secret
    """Password of the first administrator; 10 to 200 characters. It is not changed once they exist."""
    admin_email: Email = "admin@realserv.example"
    """E-mail of the first administrator, created at start when nobody has it."""
    issuer: Annotated[str, Meta(min_length=1)] = "realserv"
    """The ``iss`` claim of access tokens."""
    access_token_lifetime: timedelta = timedelta(minutes=60)
    """How long an access token holds."""
    session_lifetime: timedelta = timedelta(days=30)
    """How long a refresh token holds; each renewal begins it anew."""
    staff_session_lifetime: timedelta = timedelta(days=7)
    """The same for support, finance, viewers and admins."""
    argon2_time_cost: Count = 3
    """Passes over the memory for one hash."""
    argon2_memory_kib: Annotated[int, Meta(ge=8)] = 65_536
    """Memory for one hash in KiB."""
    argon2_parallelism: Count = 4
    """Lanes of one hash."""
    hash_workers: Count | None = None
    """Threads that hash passwords; one per core when left out."""
    hash_queue: Annotated[int, Meta(ge=0)] = 32
    """Passwords that may wait for a thread; one more is refused with ``identity.busy``."""

    def __post_init__(self) -> None:
        self.signing_seed()
        if not 10 <= len(self.admin_password.reveal()) <= 200:
            raise ValueError("admin_password must have 10 to 200 characters")

    def signing_seed(self) -> bytes:
        """Return the bytes of the signing key; raises ValueError when they are not 32."""
        try:
            seed = base64.b64decode(self.signing_key.reveal(), validate=True)
        except binascii.Error as error:
            raise ValueError("signing_key must be base64") from error
        if len(seed) != SEED_BYTES:
            raise ValueError(f"signing_key must be {SEED_BYTES} bytes in base64, not {len(seed)}")
        return seed

    def session_lifetime_of(self, roles: tuple[Role, ...]) -> timedelta:
        """Return how long a session of a user with these roles holds."""
        return self.session_lifetime if STAFF.isdisjoint(roles) else self.staff_session_lifetime
