"""Bus tokens for operators: the user is asked for, the act written down, the key published."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from bus.actor import Actor
from bus.codec import convert, decoder, encode
from bus.envelope import Envelope
from bus.message import MessageType
from bus.requests import NatsCaller
from kernel.cli.reach import open_bus, open_home, operator_name
from kernel.cli.switching import UnknownPluginError
from kernel.config import Configuration
from kernel.graph import find_plugins
from kernel.ids import new_uuid7
from kernel.runtime import OPERATOR
from kernel.tokens import TokenMint

ACTOR_QUERY: Final = "identity.get_actor.v1"
ASK_SECONDS: Final = 5.0
SESSION: Final = "operator"


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A bus token and what it holds."""

    token: str
    user_id: str
    roles: tuple[str, ...]
    expires_at: datetime


class KnownUser(msgspec.Struct, frozen=True, kw_only=True):
    """What this needs of the answer to the query for an actor."""

    user_id: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]


async def token_for(configuration: Configuration, email: str, minutes: int) -> IssuedToken:
    """Sign a token for a user; raises what identity refuses with, NotRunningError."""
    query = find_message(ACTOR_QUERY)
    lifetime = timedelta(minutes=minutes)
    mint = TokenMint()
    operator = operator_name()
    async with open_home(configuration) as home:
        async with open_bus(configuration) as bus:
            user = await _ask(NatsCaller(bus), query, {"email": email}, operator)
        actor = Actor(
            kind="user",
            id=user.user_id,
            roles=user.roles,
            permissions=frozenset(user.permissions),
            session=SESSION,
        )
        await home.note(operator, f"token for {minutes} min", user.user_id)
        await home.publish_key(mint, f"operator {operator}")
    return IssuedToken(
        token=mint.mint(actor, lifetime),
        user_id=user.user_id,
        roles=user.roles,
        expires_at=datetime.now(UTC) + lifetime,
    )


async def _ask(
    caller: NatsCaller, query: MessageType, fields: dict[str, Any], operator: str
) -> KnownUser:
    identity = new_uuid7()
    envelope = Envelope(
        id=identity,
        type=query.full_name,
        source=OPERATOR,
        time=datetime.now(UTC),
        correlation_id=str(identity),
        actor=f"operator:{operator}",
        timeout_ms=int(ASK_SECONDS * 1000),
    )
    message = convert(fields, query.cls)
    reply = await caller.call(query, encode(message), envelope, ASK_SECONDS)
    user: KnownUser = decoder(KnownUser)(reply.payload)
    return user


def find_message(full_name: str) -> MessageType:
    """Return a message that an installed plugin answers; raises UnknownPluginError."""
    for plugin in find_plugins().values():
        for spec in plugin.of_kind("command", "query"):
            if spec.message is not None and spec.message.full_name == full_name:
                return spec.message
    raise UnknownPluginError(f"No installed plugin answers {full_name}")
