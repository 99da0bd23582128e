"""The published language of identity: users, log-ins, roles."""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View
from kernel.ids import id_meta
from kernel.text import END, Email, Line

OWNER: Final = "identity"

UserId = Annotated[str, id_meta("user")]
Role = Literal["buyer", "vendor", "support", "finance", "viewer", "admin"]
Password = Annotated[str, Meta(min_length=10, max_length=200)]
Phone = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{7,14}" + END, examples=["+919812345670"])]
RefreshToken = Annotated[str, Meta(min_length=20, max_length=200)]


class RegisteredUser(View, frozen=True, kw_only=True):
    """A new user."""

    user_id: UserId
    email: str
    roles: tuple[Role, ...]


class RegisterUser(Command[RegisteredUser], frozen=True, kw_only=True):
    """Register as a buyer or a vendor."""

    email: Email
    password: Password
    name: Line
    role: Literal["buyer", "vendor"]
    phone: Phone | None = None


class Tokens(View, frozen=True, kw_only=True):
    """What a log-in gives: an access token, and the refresh token that renews it once."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a scheme, not a secret
    expires_in: int


class LogIn(Command[Tokens], frozen=True, kw_only=True):
    """Log in with e-mail and password."""

    email: Email
    password: Annotated[str, Meta(min_length=1, max_length=200)]


class RefreshSession(Command[Tokens], frozen=True, kw_only=True):
    """Renew a session; the refresh token given is spent by it."""

    refresh_token: RefreshToken


class LogOut(Command[Nothing], frozen=True, kw_only=True):
    """End the session of a refresh token."""

    refresh_token: RefreshToken


class Me(View, frozen=True, kw_only=True):
    """The caller."""

    user_id: UserId
    email: str
    name: str
    roles: tuple[Role, ...]
    permissions: tuple[str, ...]


class GetMe(Query[Me], frozen=True, kw_only=True):
    """Tell who is calling."""


class PublicKeySet(View, frozen=True, kw_only=True):
    """The public keys by which access tokens are verified (RFC 7517, OKP keys)."""

    keys: tuple["PublicKey", ...]


class PublicKey(View, frozen=True, kw_only=True):
    """One Ed25519 public key."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"
    kid: str
    x: str


class GetPublicKeys(Query[PublicKeySet], frozen=True, kw_only=True):
    """Give the public keys of access tokens."""


class ActorView(View, frozen=True, kw_only=True):
    """A user as the gateway and operators need it to act for one."""

    user_id: UserId
    roles: tuple[Role, ...]
    permissions: tuple[str, ...]


class GetActor(Query[ActorView], frozen=True, kw_only=True):
    """Find a user's roles and permissions by e-mail; for operators' tokens."""

    email: Email


class Contact(View, frozen=True, kw_only=True):
    """How to reach a user; personal data, to be used and not kept."""

    user_id: UserId
    name: str
    email: str
    phone: str | None = None


class Contacts(View, frozen=True, kw_only=True):
    """The contacts that were found; unknown and erased users are left out."""

    contacts: tuple[Contact, ...]


class ContactsOf(Query[Contacts], frozen=True, kw_only=True):
    """Give the contacts of users."""

    user_ids: Annotated[tuple[UserId, ...], Meta(min_length=1, max_length=200)]


class UserRegistered(Event, frozen=True, kw_only=True):
    """A user exists now."""

    KEY: ClassVar[str] = "user_id"

    user_id: UserId
    roles: tuple[Role, ...]


class SessionRevoked(Event, frozen=True, kw_only=True):
    """A session was ended before its time: by log-out, or because a spent refresh token came again."""

    KEY: ClassVar[str] = "user_id"

    user_id: UserId
    session_id: Annotated[str, id_meta("session")]
    reason: Literal["log_out", "reuse"]
