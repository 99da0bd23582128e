from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import MessageTooLargeError
from bus.message import describe
from gateway.binding import Binder, UnreachableFieldError, require_json
from gateway.errors import (
    FieldGivenTwiceError,
    MalformedJsonError,
    UnknownParameterError,
    UnsupportedMediaTypeError,
)
from gateway.testing.sample import THING, GetThing, ListThings, MakeThing, RenameThing, TakeHook
from kernel.errors import Invalid, ServiceError
from kernel.http import Get, Patch, Post, RawPost

MAKE = Binder(describe(MakeThing), Post("/things"))
RENAME = Binder(describe(RenameThing), Patch("/things/{thing_id}"))
LIST = Binder(describe(ListThings), Get("/things"))
HOOK = Binder(describe(TakeHook), RawPost("/hooks", headers=("x-signature", "x-event-id")))


def fields(payload: bytes) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(payload)
    return plain


def fault_fields(error: ServiceError) -> list[str]:
    return [fault.field for fault in error.errors]


def test_a_body_becomes_the_message_with_its_defaults() -> None:
    payload = MAKE.bind([], [], b'{"name":"Cement","quantity":2.5,"unknown":1}')

    assert fields(payload) == {"name": "Cement", "quantity": 2.5, "colour": "red", "weight": 1.0}


def test_path_and_body_are_merged() -> None:
    payload = RENAME.bind([THING], [], b'{"name":"Sand"}')

    assert fields(payload) == {"thing_id": THING, "name": "Sand"}


def test_query_and_body_are_merged() -> None:
    payload = MAKE.bind([], [("colour", "blue")], b'{"name":"Cement","quantity":1}')

    assert fields(payload)["colour"] == "blue"


def test_query_texts_become_the_types_of_their_fields() -> None:
    query = [("limit", "7"), ("at_least", "2.5"), ("available", "true"), ("lat", "17.4")]

    payload = LIST.bind([], query, b"")

    assert fields(payload) == {
        "limit": 7,
        "at_least": 2.5,
        "available": True,
        "lat": 17.4,
        "q": None,
    }


def test_a_field_in_path_and_body_is_refused() -> None:
    with pytest.raises(FieldGivenTwiceError) as refused:
        RENAME.bind([THING], [], b'{"name":"x","thing_id":"y"}')

    assert fault_fields(refused.value) == ["thing_id"]


def test_a_field_in_path_and_query_is_refused() -> None:
    with pytest.raises(FieldGivenTwiceError):
        RENAME.bind([THING], [("thing_id", THING)], b'{"name":"x"}')


def test_an_unknown_query_parameter_is_refused() -> None:
    with pytest.raises(UnknownParameterError) as refused:
        LIST.bind([], [("limt", "7")], b"")

    assert fault_fields(refused.value) == ["limt"]


def test_every_faulty_field_of_a_body_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        MAKE.bind([], [], b'{"quantity":0,"colour":"green"}')

    assert fault_fields(refused.value) == ["colour", "name", "quantity"]


def test_every_faulty_field_of_a_query_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        LIST.bind([], [("limit", "many"), ("at_least", "-1"), ("lat", "inf")], b"")

    assert fault_fields(refused.value) == ["limit", "at_least", "lat"]


def test_every_faulty_field_of_a_mixed_request_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        RENAME.bind([THING], [], b'{"name":7}')

    assert fault_fields(refused.value) == ["name"]


def test_what_is_missing_without_a_body_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        MAKE.bind([], [], b"")

    assert fault_fields(refused.value) == ["name", "quantity"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":',
        b'{"name":"x","quantity":NaN}',
        b'{"name":"x\x00","quantity":1}',
        b'{"name":"\xff","quantity":1}',
        b'{"name":"\\ud800","quantity":1}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"name":"x","quantity":1,"z":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
    ids=["cut", "NaN", "raw NUL", "no UTF-8", "half a surrogate", "deep", "deep in a field"],
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJsonError):
        MAKE.bind([], [], body)


@pytest.mark.parametrize(
    "quantity", [b"0", b"-1", b"1e12", b"1e400000000", b"true", b'"1"', b"0.0001", b"9" * 5000]
)
def test_a_quantity_out_of_bounds_is_refused(quantity: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        MAKE.bind([], [], b'{"name":"x","quantity":' + quantity + b"}")

    assert fault_fields(refused.value) == ["quantity"]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        MAKE.bind([], [], body)


def test_a_text_with_nul_is_refused_wherever_it_stands() -> None:
    with pytest.raises(Invalid) as refused:
        MAKE.bind([], [], b'{"name":"x","quantity":1,"extra":[{"note":"a\\u0000b"}]}')

    assert fault_fields(refused.value) == ["extra[0].note"]


def test_a_field_name_with_nul_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        MAKE.bind([], [], b'{"name":"x","quantity":1,"a\\u0000":1}')

    assert fault_fields(refused.value) == ["$"]


def test_a_text_that_speaks_of_nul_is_taken() -> None:
    payload = MAKE.bind([], [], b'{"name":"back-slash \\\\u0000","quantity":1}')

    assert fields(payload)["name"] == "back-slash \\u0000"


def test_a_query_with_nul_is_refused() -> None:
    with pytest.raises(Invalid):
        LIST.bind([], [("q", "a\x00b")], b"")


def test_a_raw_body_arrives_byte_for_byte_with_its_headers() -> None:
    body = b'{"a":  1}\x00\xff'

    payload = HOOK.bind_raw([], {b"x-signature": b"sig", b"host": b"h"}, body)

    assert describe(TakeHook).decode(payload) == TakeHook(body=body, x_signature="sig")


def test_a_raw_route_refuses_when_a_header_is_missing() -> None:
    with pytest.raises(Invalid) as refused:
        HOOK.bind_raw([], {}, b"{}")

    assert fault_fields(refused.value) == ["x_signature"]


def test_what_grows_over_a_message_is_refused() -> None:
    with pytest.raises(MessageTooLargeError):
        HOOK.bind_raw([], {b"x-signature": b"sig"}, b"x" * 1_000_000)


def test_a_route_cannot_name_a_field_that_its_message_has_not() -> None:
    with pytest.raises(UnreachableFieldError):
        Binder(describe(GetThing), Get("/things/{other_id}"))


@pytest.mark.parametrize("content_type", ["", "application/json; charset=utf-8", "a/vnd.b+json"])
def test_json_by_any_of_its_names_is_read(content_type: str) -> None:
    require_json(content_type, "")


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [("text/plain", ""), ("multipart/form-data; boundary=x", ""), ("application/json", "gzip")],
)
def test_other_media_types_and_packed_bodies_are_refused(content_type: str, encoding: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        require_json(content_type, encoding)


@given(st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_message_or_a_refusal(body: bytes) -> None:
    try:
        fields(MAKE.bind([], [], body))
    except ServiceError as refused:
        assert refused.status in (400, 422)  # noqa: PT017  both ends are legal, a crash is not


@given(st.text(max_size=40))
def test_no_text_makes_anything_but_a_message_or_a_refusal(text: str) -> None:
    try:
        fields(LIST.bind([], [("limit", text), ("at_least", text)], b""))
    except ServiceError as refused:
        assert refused.status == 422  # noqa: PT017  both ends are legal, a crash is not
