"""The declaration of identity, compared with what stands twice."""

import inspect
from pathlib import Path

from bus.errors import ServiceError
from kernel.plugin import INTERNAL
from plugins import identity
from plugins.identity import errors
from plugins.identity.domain import SESSION_MOVES
from plugins.identity.plugin import plugin
from plugins.identity.settings import IdentitySettings

README = (Path(identity.__file__).parent / "README.md").read_text()
ROLES = {"buyer", "vendor", "support", "finance", "viewer", "admin"}
ERRORS = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, ServiceError) and cls.__module__ == errors.__name__
]


def test_the_readme_shows_the_table_of_moves() -> None:
    assert SESSION_MOVES.diagram() in README


def test_the_readme_explains_every_setting() -> None:
    assert [name for name in IdentitySettings.__struct_fields__ if f"`{name}`" not in README] == []


def test_every_error_has_a_code_of_its_own_and_a_sentence() -> None:
    codes = [error.code for error in ERRORS]

    assert len(set(codes)) == len(codes) == 10
    assert [code for code in codes if not code.startswith("identity.")] == []
    assert [error for error in ERRORS if not error.__doc__ or not error.title] == []


def test_permissions_name_known_roles_and_admins_hold_them_all() -> None:
    assert {role for p in plugin.permissions for role in p.roles} <= ROLES
    assert [p.name for p in plugin.permissions if "admin" not in p.roles] == []


def test_viewers_may_only_read() -> None:
    names = [p.name for p in plugin.permissions if "viewer" in p.roles]

    assert names
    assert [name for name in names if ":read" not in name] == []


def test_the_routes_are_those_of_the_main_journey() -> None:
    routes = {
        (s.http.method, s.http.path, s.http.status): s.message.cls.__name__
        for s in plugin.handlers
        if s.http and s.message
    }

    assert routes == {
        ("POST", "/identity/register", 201): "RegisterUser",
        ("POST", "/identity/login", 200): "LogIn",
        ("POST", "/identity/refresh", 200): "RefreshSession",
        ("POST", "/identity/logout", 204): "LogOut",
        ("GET", "/identity/me", 200): "GetMe",
    }


def test_what_only_plugins_may_ask_has_no_route() -> None:
    internal = {
        s.message.cls.__name__: s.http for s in plugin.handlers if s.message and s.allow is INTERNAL
    }

    assert set(internal) == {"GetActor", "ContactsOf"}
    assert set(internal.values()) == {None}
