"""The declaration of identity."""

from kernel.http import Get, Post
from kernel.plugin import INTERNAL, LOGGED_IN, PUBLIC, Permission, Plugin
from plugins.identity import handlers, queries
from plugins.identity.contract import (
    ContactsOf,
    GetActor,
    GetMe,
    GetPublicKeys,
    LogIn,
    LogOut,
    RefreshSession,
    RegisterUser,
    SessionRevoked,
    UserRegistered,
)
from plugins.identity.passwords import PasswordPool, password_pool
from plugins.identity.settings import IdentitySettings
from plugins.identity.tokens import AccessTokens, TokenSource, access_tokens, token_source

PERMISSIONS = (
    Permission("users:read", "See users, their roles and status", ("support", "viewer", "admin")),
    Permission(
        "users:read_contacts", "See names, e-mails and phones of users", ("support", "admin")
    ),
    Permission("users:create_staff", "Create users of the staff", ("admin",)),
    Permission("users:update_any", "Correct the profile of any user", ("support", "admin")),
    Permission("users:suspend", "Suspend users and let them in again", ("support", "admin")),
    Permission("users:export", "Hand out all that is held about a user", ("support", "admin")),
    Permission("users:erase", "Erase a user's personal data", ("admin",)),
    Permission("users:act_as", "Get a token in another user's name", ("admin",)),
    Permission("roles:read", "See which role has which permission", ("support", "viewer", "admin")),
    Permission("roles:grant", "Give roles to users and take them away", ("admin",)),
    Permission("roles:edit", "Change the permissions of roles", ("admin",)),
    Permission("sessions:read_any", "See the sessions of any user", ("support", "admin")),
    Permission("sessions:revoke_any", "End the sessions of any user", ("support", "admin")),
    Permission("api_keys:create", "Make API keys of one's own", ("buyer", "vendor", "admin")),
    Permission("api_keys:revoke_any", "Revoke anybody's API key", ("admin",)),
)

plugin = Plugin(
    "identity",
    "1.0.0",
    summary="Users, log-ins, sessions, and what each role may do.",
    package="plugins.identity",
    settings=IdentitySettings,
    emits=(UserRegistered, SessionRevoked),
    permissions=PERMISSIONS,
)

plugin.provides(PasswordPool, password_pool)
plugin.provides(AccessTokens, access_tokens)
plugin.provides(TokenSource, token_source)
plugin.on_start(handlers.create_first_admin)

plugin.command(
    RegisterUser,
    handlers.register_user,
    allow=PUBLIC,
    http=Post("/identity/register", status=201),
    is_confidential=True,
)
plugin.command(
    LogIn, handlers.log_in, allow=PUBLIC, http=Post("/identity/login"), is_confidential=True
)
plugin.command(
    RefreshSession,
    handlers.refresh_session,
    allow=PUBLIC,
    http=Post("/identity/refresh"),
    is_confidential=True,
)
plugin.command(
    LogOut,
    handlers.log_out,
    allow=LOGGED_IN,
    http=Post("/identity/logout", status=204),
    is_confidential=True,
)
plugin.query(GetMe, queries.me, allow=LOGGED_IN, http=Get("/identity/me"))
plugin.query(GetPublicKeys, queries.public_keys, allow=PUBLIC)
plugin.query(GetActor, queries.actor_by_email, allow=INTERNAL)
plugin.query(ContactsOf, queries.contacts_of_users, allow=INTERNAL)
plugin.job("20 3 * * *", handlers.forget_expired_sessions)
