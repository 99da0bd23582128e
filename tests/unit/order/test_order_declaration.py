"""What the order plugin declares, compared with what it has."""

import inspect
from importlib.resources import files

import msgspec

from bus.message import Command, Event, Query, describe
from kernel.errors import ServiceError
from kernel.plugin import PUBLIC
from plugins.order import contract, errors
from plugins.order.consequences import OWN_FACTS
from plugins.order.moves import ORDER_MOVES, SUB_ORDER_MOVES
from plugins.order.plugin import plugin
from plugins.order.settings import OrderSettings

README = files("plugins.order").joinpath("README.md").read_text(encoding="utf-8")
MESSAGES = [
    found
    for _, found in inspect.getmembers(contract, inspect.isclass)
    if found.__module__ == contract.__name__
]
ERRORS = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, ServiceError) and found.__module__ == errors.__name__
]
PERSONAL = {"line1", "city", "lat", "lon", "delivery_address", "name", "note", "email", "phone"}


def test_the_readme_shows_the_moves_as_they_are() -> None:
    assert ORDER_MOVES.diagram() in README
    assert SUB_ORDER_MOVES.diagram() in README


def test_the_readme_names_every_setting() -> None:
    missing = [name for name in OrderSettings.__struct_fields__ if f"`{name}`" not in README]

    assert missing == []


def test_every_error_has_a_code_of_its_own_and_a_sentence() -> None:
    codes = [error.code for error in ERRORS]

    assert len(set(codes)) == len(codes)
    assert all(code.startswith("order.") for code in codes)
    assert all(inspect.getdoc(error) for error in ERRORS)


def test_every_command_and_query_is_handled() -> None:
    handled = {spec.message.cls for spec in plugin.of_kind("command", "query") if spec.message}
    declared = {found for found in MESSAGES if issubclass(found, Command | Query)}

    assert handled == declared


def test_every_event_is_emitted_as_a_fact_of_an_order() -> None:
    events = {found for found in MESSAGES if issubclass(found, Event)}

    assert events == set(plugin.emits) == set(OWN_FACTS)
    assert {describe(event).key for event in events} == {"order_id"}


def test_no_fact_and_no_told_command_has_a_place_for_personal_data() -> None:
    said: list[type[msgspec.Struct]] = [*plugin.emits, *plugin.tells]
    said += [contract.OrderedPart, contract.OrderedLine]
    named = {field.name for message in said for field in msgspec.structs.fields(message)}

    assert named & PERSONAL == set()


def test_only_the_quote_is_public() -> None:
    public = [spec.name for spec in plugin.handlers if spec.http and spec.allow is PUBLIC]

    assert public == ["quote_order"]


def test_the_routes_are_those_that_were_agreed() -> None:
    routes = {(spec.http.method, spec.http.path) for spec in plugin.handlers if spec.http}

    assert routes == {
        ("POST", "/orders/quote"),
        ("POST", "/orders"),
        ("GET", "/orders"),
        ("GET", "/orders/{order_id}"),
        ("GET", "/orders/{order_id}/history"),
        ("GET", "/orders/{order_id}/live"),
        ("POST", "/orders/{order_id}/cancel"),
        ("POST", "/orders/{order_id}/sub-orders/{sub_order_id}/accept"),
        ("POST", "/orders/{order_id}/sub-orders/{sub_order_id}/reject"),
        ("POST", "/orders/{order_id}/sub-orders/{sub_order_id}/dispatch"),
        ("POST", "/orders/{order_id}/sub-orders/{sub_order_id}/deliver"),
        ("GET", "/vendors/{vendor_id}/sub-orders"),
        ("GET", "/vendors/{vendor_id}/sales"),
    }
