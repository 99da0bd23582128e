import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any, cast

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client import CollectorRegistry, generate_latest

from gateway.address import TrustedProxies
from gateway.app import build_internal
from gateway.examples import example_of
from gateway.exchange import accepts_gzip
from gateway.openapi import openapi_document
from gateway.ports import Readiness
from gateway.problem_docs import problem_classes
from gateway.telemetry import RequestTelemetry
from gateway.testing.sample import THING, a_plugin
from gateway.testing.stage import HandHealth, HandMetrics, Stage
from kernel.plugin import Plugin


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with stage.client() as client:
        yield client


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document([a_plugin()])


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][f"/api/v1{path}"][method]
    return found


def internal(health: HandHealth) -> httpx.AsyncClient:
    app = cast("Any", build_internal(health, HandMetrics()))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://internal")


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(cast("Any", document)).validate()


def test_every_route_is_in_the_document(document: dict[str, Any]) -> None:
    routes = {f"{m} {path}" for path, item in document["paths"].items() for m in item}

    assert routes == {
        "post /api/v1/things",
        "get /api/v1/things",
        "get /api/v1/things/{thing_id}",
        "patch /api/v1/things/{thing_id}",
        "delete /api/v1/things/{thing_id}",
        "post /api/v1/things/hooks",
        "get /api/v1/things/{thing_id}/live",
        "get /api/v1/things/{thing_id}/picture",
        "get /api/v1/things/{thing_id}/paper",
    }


def test_a_permission_and_its_security_are_named(document: dict[str, Any]) -> None:
    make = operation(document, "post", "/things")

    assert make["x-permission"] == "things:write"
    assert make["security"] == [{"bearer": []}]


def test_a_public_route_needs_nobody(document: dict[str, Any]) -> None:
    found = operation(document, "get", "/things")

    assert found["security"] == [{}, {"bearer": []}]


def test_query_fields_are_parameters_with_defaults(document: dict[str, Any]) -> None:
    parameters = {p["name"]: p for p in operation(document, "get", "/things")["parameters"]}

    assert parameters["limit"]["schema"]["default"] == 20
    assert parameters["limit"]["schema"]["maximum"] == 100
    assert not parameters["limit"]["required"]
    assert list(parameters) == ["limit", "at_least", "lat", "available", "q"]


def test_path_fields_are_no_part_of_the_body(document: dict[str, Any]) -> None:
    rename = operation(document, "patch", "/things/{thing_id}")

    body = rename["requestBody"]["content"]["application/json"]
    assert list(body["schema"]["properties"]) == ["name"]
    assert rename["parameters"][0]["in"] == "path"


def test_a_command_says_that_it_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    names = [p["name"] for p in operation(document, "post", "/things")["parameters"]]

    assert names == ["Idempotency-Key"]


def test_a_raw_route_names_its_headers(document: dict[str, Any]) -> None:
    hook = operation(document, "post", "/things/hooks")

    assert [(p["name"], p["required"]) for p in hook["parameters"]] == [
        ("x-signature", True),
        ("x-event-id", False),
    ]
    assert "application/octet-stream" in hook["requestBody"]["content"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/live", "200"), ("/picture", "303"), ("/paper", "200")],
)
def test_streams_redirects_and_downloads_say_what_they_answer(
    document: dict[str, Any], path: str, status: str
) -> None:
    assert status in operation(document, "get", "/things/{thing_id}" + path)["responses"]


def test_no_content_is_answered_as_such(document: dict[str, Any]) -> None:
    assert "204" in operation(document, "delete", "/things/{thing_id}")["responses"]


def test_refusals_are_documented_with_their_codes(document: dict[str, Any]) -> None:
    response = document["components"]["responses"]["sample.401"]

    assert "`gateway.token_expired`" in response["description"]
    codes = response["content"]["application/problem+json"]["schema"]["allOf"][1]
    assert "gateway.token_missing" in codes["properties"]["code"]["enum"]


def test_what_the_bus_and_the_kernel_refuse_is_documented(document: dict[str, Any]) -> None:
    responses = document["components"]["responses"]

    assert "`kernel.identity_reused`" in responses["sample.422"]["description"]
    assert "`bus.message_too_large`" in responses["sample.413"]["description"]


def test_a_versioned_view_may_be_unchanged(document: dict[str, Any]) -> None:
    assert "304" in operation(document, "get", "/things/{thing_id}")["responses"]
    assert "304" not in operation(document, "get", "/things")["responses"]


def test_a_plugins_own_errors_are_documented() -> None:
    plugin = Plugin("gate", "1.0.0", summary="", package="gateway")

    assert "gateway.token_missing" in {kind.code for kind in problem_classes(plugin)}


def test_a_plugin_without_errors_of_its_own_has_none() -> None:
    assert problem_classes(a_plugin()) == []


def test_examples_are_taken_from_the_declarations(document: dict[str, Any]) -> None:
    media = operation(document, "get", "/things/{thing_id}")["responses"]["200"]["content"]

    assert media["application/json"]["example"]["thing_id"] == THING


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"examples": ["x"], "type": "string"}, "x"),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": "k"}, "k"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "null"}, None),
        ({"type": "string", "format": "date-time"}, "2026-01-15T09:30:00Z"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "maximum": 0}, 0),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "prefixItems": [{"type": "null"}], "items": False}, [None]),
        ({"type": "array", "items": False}, []),
        ({"type": "object"}, {}),
    ],
)
def test_an_example_is_legal_for_its_schema(schema: dict[str, Any], example: object) -> None:
    assert example_of(schema, {}) == example


def test_an_example_of_what_holds_itself_comes_to_an_end() -> None:
    node = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/x/Node"}}},
    }

    assert "children" in example_of({"$ref": "#/x/Node"}, {"Node": node})


async def test_the_document_is_served(stage: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.get("/schema/openapi.json")

    assert answer.json()["openapi"] == "3.1.0"


async def test_a_page_that_did_not_change_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/schema")

    again = await client.get("/schema", headers={"If-None-Match": first.headers["etag"]})

    assert again.status_code == 304


class References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [v for k, v in attrs if k in ("src", "href") and v]
        self.inline += [k for k in given if k.startswith("on") or k == "style"]
        self.inline += ["script"] if tag == "script" and "src" not in given else []


async def test_the_api_page_needs_nobody_elses_server_and_nothing_inline(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/schema")
    parser = References()
    parser.feed(page.text)

    answers = [await client.get(path) for path in parser.found]

    assert [answer.status_code for answer in answers] == [200] * len(parser.found)
    assert parser.inline == []
    assert not re.search(r"https?://", page.text + "".join(a.text for a in answers[:2]))
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]


async def test_the_internal_listener_gives_details() -> None:
    async with internal(HandHealth()) as client:
        answer = await client.get("/ready")

    assert answer.json() == {
        "status": "degraded",
        "parts": [{"name": "redis", "status": "down", "reason": "connection refused"}],
    }


async def test_the_internal_listener_gives_the_counters() -> None:
    async with internal(HandHealth()) as client:
        answer = await client.get("/metrics")

    assert answer.text == "realserv_up 1\n"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("path", ["/ready", "/health", "/health/ready"])
async def test_what_is_not_ready_or_broken_is_unavailable(path: str) -> None:
    health = HandHealth()
    health.works = False
    health.readiness = Readiness(status="not_ready")

    async with internal(health) as client:
        answer = await client.get(path)

    assert answer.status_code == 503


async def test_requests_are_counted_timed_and_traced(stage: Stage) -> None:
    registry = CollectorRegistry()

    async with stage.client(observer=RequestTelemetry(registry)) as client:
        await client.get("/api/v1/things")
        await client.get(f"/api/v1/things/{THING}")
        await client.get("/api/v1/nothing")

    text = generate_latest(registry).decode()
    assert 'requests_total{operation="sample.list_things.v1",status="200"} 1.0' in text
    assert 'requests_total{operation="sample.get_thing.v1",status="401"} 1.0' in text
    assert 'request_seconds_count{operation="sample.list_things.v1"} 1.0' in text


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "evil, 10.0.0.2", "evil"),
        ("::1", "203.0.113.9", "203.0.113.9"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: str, address: str) -> None:
    proxies = TrustedProxies(["10.0.0.0/8", "::1/128"])

    assert proxies.caller(peer, forwarded) == address


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"gzip", True),
        (b"br, GZIP;q=1", True),
        (b"deflate, gzip;q=0.5", True),
        (b"*", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"", False),
        (b"br", False),
    ],
)
def test_gzip_is_used_only_for_those_who_accept_it(header: bytes, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
