"""Who calls: the administrator of the running system, and the invented owners of the invented firms."""

from base64 import b32encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import digest
from typing import Final, NamedTuple

import httpx

from bus.errors import RemoteError
from kernel.config import Configuration, ConfigurationError
from kernel.errors import Conflict
from plugins.demo.api import Api
from plugins.identity.contract import RegisteredUser

ADMIN_EMAIL: Final = "admin@realserv.example"
CONNECTIONS: Final = 32
TIMEOUT: Final = 30.0


class Entrance(NamedTuple):
    """Where the running system is, and how its administrator logs in."""

    url: str
    email: str
    password: str
    stand_in: str
    """Address of the payment provider's stand-in; empty when there is none."""


def entrance_of(configuration: Configuration) -> Entrance:
    """Find the running system; raises ConfigurationError when its admin's password is not known."""
    gateway = configuration.data.get("gateway", {})
    plugins = configuration.data.get("plugins", {})
    identity = plugins.get("identity", {})
    password = identity.get("admin_password", "")
    if not password:
        raise ConfigurationError(
            [
                (
                    "plugins.identity.admin_password is not known: start the system by `realserv up` "
                    "in this folder, or set REALSERV__PLUGINS__IDENTITY__ADMIN_PASSWORD"
                )
            ]
        )
    provider = str(plugins.get("payment", {}).get("base_url", ""))
    is_stand_in = provider.startswith("http://127.0.0.1:")
    return Entrance(
        url=f"http://{gateway.get('host', '127.0.0.1')}:{gateway.get('port', 8000)}/api/v1",
        email=str(identity.get("admin_email", ADMIN_EMAIL)),
        password=str(password),
        stand_in=provider.removesuffix("/v1") if is_stand_in else "",
    )


@asynccontextmanager
async def entering(entrance: Entrance) -> AsyncIterator[Api]:
    """Open connections to the API and yield it as nobody calls it."""
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=entrance.url, timeout=TIMEOUT, limits=limits) as http:
        yield Api(http)


class StrangeAccountError(Conflict):
    """Somebody of the demonstration has a password that we did not give."""

    code = "demo.strange_account"
    title = "An account of the demonstration belongs to somebody else"


class Cast:
    """The people of the demonstration.

    Their passwords derive from the administrator's, so that a later run can log in as them and nobody
    else can.
    """

    def __init__(self, stranger: Api, entrance: Entrance) -> None:
        self.stranger = stranger
        self._entrance = entrance

    def password_of(self, email: str) -> str:
        """Return a person's password."""
        mac = digest(self._entrance.password.encode(), f"demo:{email}".encode(), sha256)
        return b32encode(mac)[:32].decode()

    async def admin(self) -> Api:
        """Log in as the administrator."""
        return await self.stranger.logged_in(self._entrance.email, self._entrance.password)

    async def enter(self, email: str, name: str, role: str) -> Api:
        """Log somebody in; who is not there yet registers first. Raises StrangeAccountError."""
        password = self.password_of(email)
        try:
            return await self.stranger.logged_in(email, password)
        except RemoteError as error:
            if error.wire.code != "identity.bad_credentials":
                raise
        await self.register(email, name, role)
        return await self.stranger.logged_in(email, password)

    async def register(self, email: str, name: str, role: str) -> RegisteredUser:
        """Register somebody new."""
        account = {
            "email": email,
            "password": self.password_of(email),
            "name": name,
            "role": role,
        }
        try:
            return await self.stranger.post("/identity/register", RegisteredUser, account)
        except RemoteError as error:
            if error.wire.code != "identity.email_taken":
                raise
            raise StrangeAccountError(
                f"{email} is registered with another password; was the administrator's changed?"
            ) from error
