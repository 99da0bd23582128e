"""The declaration of vendor, compared with what stands twice."""

import inspect
from pathlib import Path

from bus.errors import ServiceError
from kernel.plugin import INTERNAL
from plugins import vendor
from plugins.vendor import errors
from plugins.vendor.capacity import TAKE_MOVES
from plugins.vendor.domain import MOVES
from plugins.vendor.plugin import plugin
from plugins.vendor.settings import VendorSettings

README = (Path(vendor.__file__).parent / "README.md").read_text()
ROLES = {"buyer", "vendor", "support", "finance", "viewer", "admin"}
ERRORS = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, ServiceError) and cls.__module__ == errors.__name__
]


def test_the_readme_shows_both_tables_of_moves() -> None:
    assert MOVES.diagram() in README
    assert TAKE_MOVES.diagram() in README


def test_the_readme_explains_every_setting() -> None:
    assert [name for name in VendorSettings.__struct_fields__ if f"`{name}`" not in README] == []


def test_every_error_has_a_code_of_its_own_and_a_sentence() -> None:
    codes = [error.code for error in ERRORS]

    assert len(set(codes)) == len(codes) == 5
    assert [code for code in codes if not code.startswith("vendor.")] == []
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
        ("POST", "/vendors", 201): "RegisterVendor",
        ("GET", "/vendors", 200): "ListOwnVendors",
        ("POST", "/vendors/{vendor_id}/approve", 200): "ApproveVendor",
        ("POST", "/vendors/{vendor_id}/suspend", 200): "SuspendVendor",
        ("GET", "/vendors/{vendor_id}", 200): "GetVendor",
        ("PATCH", "/vendors/{vendor_id}/capacity", 200): "ChangeCapacity",
    }


def test_what_only_plugins_may_ask_has_no_route() -> None:
    internal = {
        s.message.cls.__name__: s.http for s in plugin.handlers if s.message and s.allow is INTERNAL
    }

    assert set(internal) == {
        "StandingOf",
        "VendorsOfOwner",
        "EligibleVendors",
        "TakeCapacity",
        "CommitCapacity",
        "ReleaseCapacity",
    }
    assert set(internal.values()) == {None}
