"""What identity answers."""

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from kernel.context import Context
from kernel.ids import to_uuid, to_wire
from kernel.plugin import PermissionCatalogue
from kernel.sql import statement
from plugins.identity.contract import (
    ActorView,
    Contact,
    Contacts,
    ContactsOf,
    GetActor,
    GetMe,
    GetPublicKeys,
    Me,
    PublicKeySet,
)
from plugins.identity.domain import ACTIVE, email_key
from plugins.identity.errors import UserNotFoundError
from plugins.identity.tables import users
from plugins.identity.tokens import AccessTokens

ME = statement(
    select(users.c.email, users.c.name, users.c.roles).where(
        users.c.user_id == bindparam("user_id")
    )
)
ACTOR_BY_EMAIL = statement(
    select(users.c.user_id, users.c.roles).where(
        users.c.email_key == bindparam("email_key"), users.c.status == ACTIVE
    )
)
CONTACTS = statement(
    select(users.c.user_id, users.c.name, users.c.email, users.c.phone)
    .where(users.c.user_id == any_(bindparam("user_ids", type_=ARRAY(Uuid))))
    .order_by(users.c.user_id)
)


async def me(query: GetMe, ctx: Context) -> Me:
    """The caller, with the permissions that the roles have now."""
    row = await ctx.db.fetchrow(ME, user_id=to_uuid(ctx.actor.id))
    if row is None:
        raise UserNotFoundError
    return Me(
        user_id=ctx.actor.id,
        email=row["email"],
        name=row["name"],
        roles=tuple(row["roles"]),
        permissions=ctx.use(PermissionCatalogue).of_roles(row["roles"]),
    )


async def public_keys(query: GetPublicKeys, ctx: Context) -> PublicKeySet:
    """The keys by which access tokens are checked."""
    return PublicKeySet(keys=(ctx.use(AccessTokens).public_key,))


async def actor_by_email(query: GetActor, ctx: Context) -> ActorView:
    """Who acts under an e-mail; refused with ``identity.user_not_found``."""
    row = await ctx.db.fetchrow(ACTOR_BY_EMAIL, email_key=email_key(query.email))
    if row is None:
        raise UserNotFoundError
    return ActorView(
        user_id=to_wire("user", row["user_id"]),
        roles=tuple(row["roles"]),
        permissions=ctx.use(PermissionCatalogue).of_roles(row["roles"]),
    )


async def contacts_of_users(query: ContactsOf, ctx: Context) -> Contacts:
    """How to reach users, in the order of their ids."""
    rows = await ctx.db.fetch(CONTACTS, user_ids=[to_uuid(user_id) for user_id in query.user_ids])
    return Contacts(
        contacts=tuple(
            Contact(
                user_id=to_wire("user", row["user_id"]),
                name=row["name"],
                email=row["email"],
                phone=row["phone"],
            )
            for row in rows
        )
    )
