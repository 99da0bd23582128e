"""What identity does on command, by the clock and at start."""

from typing import Final

from bus.message import Nothing
from kernel.context import Context
from kernel.plugin import PermissionCatalogue
from plugins.identity.contract import (
    LogIn,
    LogOut,
    RefreshSession,
    RegisteredUser,
    RegisterUser,
    Tokens,
)
from plugins.identity.domain import Session, User
from plugins.identity.errors import (
    BadCredentialsError,
    EmailTakenError,
    RefreshTokenReusedError,
    WeakPasswordError,
)
from plugins.identity.passwords import PasswordPool, weakness_of
from plugins.identity.settings import IdentitySettings
from plugins.identity.store import SessionStore, UserStore, delete_expired, find_user, get_user
from plugins.identity.tokens import AccessTokens, TokenSource, digest

NO_TOKENS: Final = Tokens(access_token="", refresh_token="", expires_in=0)
"""What a refused transaction returns; the caller is answered the refusal instead."""


async def register_user(command: RegisterUser, ctx: Context) -> RegisteredUser:
    """Register a buyer or a vendor."""
    weakness = weakness_of(command.password, email=command.email)
    if weakness:
        raise WeakPasswordError(weakness)
    user = User.register(
        user_id=ctx.new_id("user"),
        email=command.email,
        name=command.name,
        phone=command.phone,
        roles=(command.role,),
        password_hash=await ctx.use(PasswordPool).hash(command.password),
        at=ctx.now(),
    )
    async with ctx.transaction() as tx:
        if not await UserStore(tx).add(user):
            raise EmailTakenError
    return RegisteredUser(user_id=user.user_id, email=user.email, roles=user.roles)


async def log_in(command: LogIn, ctx: Context) -> Tokens:
    """Open a session. An unknown e-mail takes as long as a wrong password, and is answered alike."""
    passwords = ctx.use(PasswordPool)
    user = await find_user(ctx.db, command.email)
    is_right = await passwords.verify(user.password_hash if user else None, command.password)
    if user is None or not is_right or not user.is_active:
        raise BadCredentialsError
    new_hash = None
    if passwords.is_outdated(user.password_hash):
        new_hash = await passwords.hash(command.password)
    lifetime = ctx.settings(IdentitySettings).session_lifetime_of(user.roles)
    session = Session.open(
        session_id=ctx.new_id("session"),
        user_id=user.user_id,
        at=ctx.now(),
        expires_at=ctx.now() + lifetime,
    )
    refresh_token = ctx.use(TokenSource).draw()
    async with ctx.transaction() as tx:
        await SessionStore(tx).add(session, digest(refresh_token))
        if new_hash:
            await UserStore(tx).renew_hash(user, new_hash)
    return _tokens(ctx, user, session, refresh_token)


async def refresh_session(command: RefreshSession, ctx: Context) -> Tokens:
    """Renew a session. A token that was spent before ends it: one of its two holders is a thief."""
    lifetime_of = ctx.settings(IdentitySettings).session_lifetime_of
    refresh_token = ctx.use(TokenSource).draw()
    now = ctx.now()
    spent = digest(command.refresh_token)
    async with ctx.transaction() as tx:
        sessions = SessionStore(tx)
        session, is_spent = await sessions.get_by_token(spent)
        session.demand_open(at=now)
        if is_spent:
            session.revoke(reason="reuse", at=now)
            await sessions.save(session)
            tx.refuse(RefreshTokenReusedError())
            return NO_TOKENS
        user = await get_user(tx, session.user_id)
        user.demand_active()
        session.renew(until=now + lifetime_of(user.roles))
        await sessions.rotate(session, spent=spent, new=digest(refresh_token), at=now)
    return _tokens(ctx, user, session, refresh_token)


async def log_out(command: LogOut, ctx: Context) -> Nothing:
    """End the caller's session. An unknown token, or another user's, ends nothing."""
    async with ctx.transaction() as tx:
        held = await SessionStore(tx).find_by_token(digest(command.refresh_token))
        if held is not None and held.session.user_id == ctx.actor.id:
            held.session.revoke(reason="log_out", at=ctx.now())
            await SessionStore(tx).save(held.session)
    return Nothing()


async def forget_expired_sessions(ctx: Context) -> None:
    """Delete what can no longer be renewed."""
    async with ctx.transaction() as tx:
        await delete_expired(tx, before=ctx.now())


async def create_first_admin(ctx: Context) -> None:
    """Create the administrator of the settings, unless somebody has that e-mail.

    Two hosts may do this at once: the second insert does nothing.
    """
    settings = ctx.settings(IdentitySettings)
    if await find_user(ctx.db, settings.admin_email):
        return
    admin = User.register(
        user_id=ctx.new_id("user"),
        email=settings.admin_email,
        name="Administrator",
        phone=None,
        roles=("admin",),
        password_hash=await ctx.use(PasswordPool).hash(settings.admin_password.reveal()),
        at=ctx.now(),
    )
    async with ctx.transaction() as tx:
        await UserStore(tx).add(admin)


def _tokens(ctx: Context, user: User, session: Session, refresh_token: str) -> Tokens:
    signer = ctx.use(AccessTokens)
    access_token = signer.issue(
        user_id=user.user_id,
        session_id=session.session_id,
        roles=user.roles,
        permissions=ctx.use(PermissionCatalogue).of_roles(user.roles),
        at=ctx.now(),
    )
    return Tokens(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=int(signer.lifetime.total_seconds()),
    )
