import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
import structlog

from bus.actor import Actor
from bus.errors import (
    DeadlineError,
    FieldFault,
    InternalError,
    NoResponderError,
    RemoteError,
    WireError,
)
from gateway.keyed import keyed_uuid
from gateway.testing.sample import (
    THING,
    GetPaper,
    GetPicture,
    GetThing,
    GiveKeys,
    ListThings,
    MakeThing,
    Paper,
    Place,
    TakeHook,
    ThingList,
    a_plugin,
    a_thing,
    handled_elsewhere,
)
from gateway.testing.stage import Stage
from kernel.errors import NotFound, RateLimited
from kernel.http import Get
from kernel.ids import time_of
from kernel.plugin import INTERNAL

SHOW = f"/api/v1/things/{THING}"
THINGS = "/api/v1/things"
A_THING = {"name": "Cement", "quantity": 2.5}


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with stage.client() as client:
        yield client


class CountingLimits:
    def __init__(self, *, refuses: bool = False) -> None:
        self.addresses: list[str] = []
        self.actors: list[tuple[str, str]] = []
        self.refuses = refuses

    async def by_address(self, address: str) -> None:
        self.addresses.append(address)
        if self.refuses:
            raise RateLimited(retry_after=7.2)

    async def by_actor(self, actor: Actor, operation: str) -> None:
        self.actors.append((actor.id, operation))


async def test_a_reply_is_answered_byte_for_byte(stage: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.get(SHOW, headers=stage.authorization())

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "thing_id": THING,
        "name": "Cement",
        "price": {"amount": 38000, "currency": "INR"},
        "version": 3,
    }


async def test_the_request_crosses_the_bus_as_its_caller(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    headers = {**stage.authorization(), "X-Correlation-ID": "c-1"}

    await client.post(THINGS, json=A_THING, headers=headers)

    envelope = stage.bus.last.envelope
    assert envelope.type == "sample.make_thing.v1"
    assert envelope.source == "gateway"
    assert envelope.actor == "user:user_01k9z7x3c8e4m9r2t5v6w7y8z0"
    assert envelope.token == "bus-token-1-of-user_01k9z7x3c8e4m9r2t5v6w7y8z0"
    assert envelope.correlation_id == "c-1"
    assert envelope.timeout_ms == 10_000
    assert not envelope.is_keyed


async def test_nobody_crosses_the_bus_without_a_token(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    await client.get(THINGS)

    assert stage.bus.last.envelope.token == ""
    assert stage.bus.last.envelope.actor == "anonymous"


async def test_the_declared_status_is_answered(stage: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.post(THINGS, json=A_THING, headers=stage.authorization())

    assert answer.status_code == 201


async def test_no_content_has_no_body(stage: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.delete(SHOW, headers=stage.authorization())

    assert answer.status_code == 204
    assert answer.content == b""
    assert "content-type" not in answer.headers


async def test_a_caller_is_needed_where_the_declaration_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.get(SHOW)

    assert answer.status_code == 401
    assert answer.json()["code"] == "gateway.token_missing"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_permission_is_needed_where_the_declaration_says_so(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    headers = stage.authorization(permissions=["things:read"])

    answer = await client.post(THINGS, json=A_THING, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["code"] == "kernel.permission_denied"
    assert "things:write" in answer.json()["detail"]
    assert stage.bus.calls == []


@pytest.mark.parametrize(
    ("token", "code"),
    [("forged.to.ken", "gateway.token_invalid"), (None, "gateway.token_expired")],
)
async def test_a_token_that_does_not_hold_is_refused_even_where_none_is_needed(
    stage: Stage, client: httpx.AsyncClient, token: str | None, code: str
) -> None:
    header = f"Bearer {token or stage.issuer.token(exp=1)}"

    answer = await client.get(THINGS, headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.json()["code"] == code
    assert stage.bus.calls == []


async def test_one_bus_token_serves_many_requests(stage: Stage, client: httpx.AsyncClient) -> None:
    headers = stage.authorization()

    await client.get(SHOW, headers=headers)
    await client.get(SHOW, headers=headers)

    assert len(stage.mint.minted) == 1


async def test_a_switched_off_plugin_answers_so_and_comes_back_without_a_restart(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    stage.surface.off.add("sample")
    refused = await client.get(THINGS)
    stage.surface.off.clear()

    answered = await client.get(THINGS)

    assert refused.status_code == 503
    assert refused.json()["code"] == "kernel.plugin_disabled"
    assert refused.headers["retry-after"] == "5"
    assert answered.status_code == 200


async def test_the_same_key_makes_the_same_identity(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    headers = {**stage.authorization(), "Idempotency-Key": "order of Monday"}

    await client.post(THINGS, json=A_THING, headers=headers)
    await client.post(THINGS, json=A_THING, headers=headers)

    first, second = [call.envelope for call in stage.bus.calls]
    assert first.id == second.id
    assert first.is_keyed


async def test_a_key_is_its_actors_and_commands_own() -> None:
    ids = {
        keyed_uuid("user:a", "sample.make.v1", "k"),
        keyed_uuid("user:b", "sample.make.v1", "k"),
        keyed_uuid("user:a", "sample.drop.v1", "k"),
        keyed_uuid("user:a", "sample.make.v1", "l"),
    }

    assert len(ids) == 4
    assert all(made.version == 7 for made in ids)


async def test_a_keyed_identity_does_not_depend_on_the_clock() -> None:
    made = keyed_uuid("user:a", "sample.make.v1", "k")

    assert time_of(made) == datetime(2020, 1, 1, tzinfo=UTC)


async def test_without_a_key_every_request_is_new(stage: Stage, client: httpx.AsyncClient) -> None:
    await client.post(THINGS, json=A_THING, headers=stage.authorization())
    await client.post(THINGS, json=A_THING, headers=stage.authorization())

    first, second = [call.envelope.id for call in stage.bus.calls]
    assert first != second


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "ümlaut", "tab\tin it"])
async def test_a_key_that_is_not_printable_or_too_long_is_refused(
    stage: Stage, client: httpx.AsyncClient, key: str
) -> None:
    given = [(b"Authorization", stage.authorization()["Authorization"].encode())]
    given.append((b"Idempotency-Key", key.encode("latin-1")))

    answer = await client.post(THINGS, json=A_THING, headers=given)

    assert answer.status_code == 422
    assert answer.json()["code"] == "gateway.idempotency_key_invalid"


async def test_a_key_on_a_query_means_nothing(stage: Stage, client: httpx.AsyncClient) -> None:
    await client.get(THINGS, headers={"Idempotency-Key": "k"})

    assert not stage.bus.last.envelope.is_keyed


@pytest.mark.parametrize("name", ["X-Correlation-ID", "X-Request-ID"])
async def test_a_given_correlation_id_is_kept(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(THINGS, headers={name: "shop-7/42"})

    assert answer.headers["x-correlation-id"] == "shop-7/42"


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>"])
async def test_an_unsafe_correlation_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get(THINGS, headers={"X-Correlation-ID": given})

    assert UUID(answer.headers["x-correlation-id"]).version == 7


async def test_a_well_formed_trace_is_continued(stage: Stage, client: httpx.AsyncClient) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    await client.get(THINGS, headers={"traceparent": trace})

    assert stage.bus.last.envelope.traceparent == trace


async def test_a_malformed_trace_is_dropped(stage: Stage, client: httpx.AsyncClient) -> None:
    await client.get(THINGS, headers={"traceparent": "00-x"})

    assert stage.bus.last.envelope.traceparent == ""


async def test_the_version_is_answered_as_entity_tag(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    answer = await client.get(SHOW, headers=stage.authorization())

    assert answer.headers["etag"] == '"3"'
    assert answer.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("known", ['"3"', 'W/"3"', '"2", "3"', "*"])
async def test_a_known_version_is_not_sent_again(
    stage: Stage, client: httpx.AsyncClient, known: str
) -> None:
    answer = await client.get(SHOW, headers={**stage.authorization(), "If-None-Match": known})

    assert answer.status_code == 304
    assert answer.content == b""


async def test_an_older_version_is_answered_anew(stage: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.get(SHOW, headers={**stage.authorization(), "If-None-Match": '"2"'})

    assert answer.status_code == 200


async def test_an_answer_without_a_version_is_never_stored(client: httpx.AsyncClient) -> None:
    answer = await client.get(THINGS)

    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def test_head_answers_like_get_without_a_body(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    answer = await client.head(SHOW, headers=stage.authorization())

    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 100


async def test_options_names_the_methods(client: httpx.AsyncClient) -> None:
    answer = await client.options(THINGS)

    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_another_method_is_a_problem_that_names_the_methods(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.put(THINGS)

    assert answer.status_code == 405
    assert answer.json()["code"] == "gateway.method_not_allowed"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/nothing", "/api/v1", "/", "/schema/x.js"])
async def test_an_unknown_path_is_a_problem_like_any_other(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers={"X-Correlation-ID": "c-1"})

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json() == {
        "type": "urn:realserv:problem:gateway.no_such_route",
        "title": "Nothing is served here",
        "status": 404,
        "detail": "Nothing is served here",
        "code": "gateway.no_such_route",
        "instance": path,
        "correlation_id": "c-1",
        "errors": [],
    }


async def test_a_plugins_refusal_keeps_its_code_and_faults(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    stage.bus.answers[GetThing] = RemoteError(
        WireError(
            code="sample.hidden",
            status=409,
            title="It is hidden",
            message="Not on Mondays",
            errors=(FieldFault("thing_id", "is hidden"),),
        )
    )

    answer = await client.get(SHOW, headers=stage.authorization())

    assert answer.status_code == 409
    assert answer.json()["code"] == "sample.hidden"
    assert answer.json()["title"] == "It is hidden"
    assert answer.json()["detail"] == "Not on Mondays"
    assert answer.json()["errors"] == [{"field": "thing_id", "message": "is hidden"}]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NoResponderError(), 503, "bus.no_responder"),
        (DeadlineError(), 504, "bus.deadline_exceeded"),
        (NotFound(), 404, "kernel.not_found"),
    ],
)
async def test_a_failure_of_the_bus_is_a_problem(
    stage: Stage, client: httpx.AsyncClient, error: Exception, status: int, code: str
) -> None:
    stage.bus.answers[ListThings] = error

    answer = await client.get(THINGS)

    assert answer.status_code == status
    assert answer.json()["code"] == code


async def test_a_service_that_is_away_says_when_to_come_back(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    stage.bus.answers[ListThings] = NoResponderError(retry_after=2.5)

    answer = await client.get(THINGS)

    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the password is hunter2"),
        InternalError("the password is hunter2"),
        RemoteError(
            WireError(code="x.y", status=500, title="hunter2", message="the password is hunter2")
        ),
        RemoteError(WireError(code="x.y", status=200, title="odd", message="hunter2")),
    ],
    ids=["unknown", "internal", "remote", "nonsense"],
)
async def test_a_defect_tells_nothing(
    stage: Stage, client: httpx.AsyncClient, error: Exception
) -> None:
    stage.bus.answers[ListThings] = error

    answer = await client.get(THINGS)

    assert answer.status_code == 500
    assert answer.json()["code"] == "kernel.internal_error"
    assert "hunter2" not in answer.text


async def test_a_defect_is_logged_with_its_correlation_id(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    stage.bus.answers[ListThings] = RuntimeError("broken")

    with structlog.testing.capture_logs() as logs:
        await client.get(THINGS, headers={"X-Correlation-ID": "c-9"})

    assert logs[0]["event"] == "request_broke"
    assert logs[0]["correlation_id"] == "c-9"


async def test_a_wrong_media_type_is_refused(stage: Stage, client: httpx.AsyncClient) -> None:
    headers = {**stage.authorization(), "Content-Type": "text/plain"}

    answer = await client.post(THINGS, content=b"{}", headers=headers)

    assert answer.status_code == 415
    assert answer.json()["code"] == "gateway.unsupported_media_type"


async def test_a_repeated_query_parameter_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get(THINGS, params=[("limit", "1"), ("limit", "2")])

    assert answer.status_code == 422
    assert answer.json()["code"] == "gateway.field_given_twice"


@pytest.mark.parametrize("query", ["q=%ff", "&".join(f"a{number}=1" for number in range(101))])
async def test_an_unreadable_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"{THINGS}?{query}")

    assert answer.status_code == 400
    assert answer.json()["code"] == "gateway.malformed_request"


async def test_an_announced_body_over_the_limit_is_refused_before_it_is_read(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    headers = {**stage.authorization(), "Content-Length": "10000001"}

    answer = await client.post(THINGS, content=b"", headers=headers)

    assert answer.status_code == 413
    assert answer.json()["code"] == "gateway.body_too_large"


async def test_a_length_that_is_no_number_is_refused(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    headers = {**stage.authorization(), "Content-Length": "-1"}

    answer = await client.post(THINGS, content=b"", headers=headers)

    assert answer.status_code == 400


async def test_a_raw_body_and_its_headers_reach_the_plugin(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    headers = {"X-Signature": "s", "X-Event-Id": "e", "Idempotency-Key": "k"}

    answer = await client.post(f"{THINGS}/hooks", content=b"\x00{", headers=headers)

    assert answer.status_code == 200
    call = stage.bus.last
    assert call.message.decode(call.payload) == TakeHook(
        body=b"\x00{", x_signature="s", x_event_id="e"
    )
    assert not call.envelope.is_keyed


async def test_a_redirect_answers_303_to_the_location(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{SHOW}/picture")

    assert answer.status_code == 303
    assert answer.headers["location"] == "https://pictures.example/1.png"


@pytest.mark.parametrize("location", ["javascript:alert(1)", "https://x\r\nSet-Cookie: a=b", ""])
async def test_a_redirect_to_no_web_address_is_a_defect(
    stage: Stage, client: httpx.AsyncClient, location: str
) -> None:
    stage.bus.answers[GetPicture] = Place(location=location)

    answer = await client.get(f"{SHOW}/picture")

    assert answer.status_code == 500
    assert "location" not in answer.headers


async def test_a_download_is_a_named_file(stage: Stage, client: httpx.AsyncClient) -> None:
    stage.bus.answers[GetPaper] = Paper(
        content=b"%PDF-1.7", media_type="application/pdf", filename='bill "7"\r\n.pdf'
    )

    answer = await client.get(f"{SHOW}/paper")

    assert answer.content == b"%PDF-1.7"
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'attachment; filename="bill _7___.pdf"'


async def test_long_answers_are_compressed_for_those_who_accept_it(stage: Stage) -> None:
    things = tuple(a_thing(name=f"Cement {number}") for number in range(20))
    stage.bus.answers[ListThings] = ThingList(items=things, next_cursor=None)

    async with stage.client() as client:
        packed = await client.get(THINGS, headers={"Accept-Encoding": "br, gzip;q=0.8"})
        plain = await client.get(THINGS, headers={"Accept-Encoding": "gzip;q=0, identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.content == plain.content
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"


async def test_huge_answers_are_compressed_too(stage: Stage, client: httpx.AsyncClient) -> None:
    things = tuple(a_thing(name=f"Cement {number}") for number in range(2000))
    stage.bus.answers[ListThings] = ThingList(items=things, next_cursor=None)

    async with client.stream("GET", THINGS, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])

    assert gzip.decompress(raw).startswith(b'{"items":[')


async def test_short_answers_are_not_compressed(client: httpx.AsyncClient) -> None:
    answer = await client.get(THINGS, headers={"Accept-Encoding": "gzip"})

    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", [THINGS, "/api/v1/nothing", "/nothing", "/health", "/schema"])
async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_an_allowed_page_may_call_with_credentials() -> None:
    stage = Stage(cors_origins=("https://shop.example",))

    async with stage.client() as client:
        answer = await client.get(THINGS, headers={"Origin": "https://shop.example"})
        refused = await client.get("/nothing", headers={"Origin": "https://shop.example"})

    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"


async def test_a_preflight_of_an_allowed_page_is_answered() -> None:
    stage = Stage(cors_origins=("https://shop.example",))
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }

    async with stage.client() as client:
        answer = await client.options(THINGS, headers=headers)

    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "idempotency-key" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil"])
async def test_other_pages_may_not_call(origin: str) -> None:
    stage = Stage(cors_origins=("https://shop.example",))

    async with stage.client() as client:
        answer = await client.options(THINGS, headers={"Origin": origin})

    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-methods" not in answer.headers
    assert answer.headers["vary"] == "origin"


async def test_unknown_callers_are_limited_by_address_and_known_ones_by_name() -> None:
    stage = Stage(trusted_proxies=("127.0.0.0/8",))
    limits = CountingLimits()
    headers = stage.authorization()

    async with stage.client(limits=limits) as client:
        await client.get(THINGS, headers={"X-Forwarded-For": "1.2.3.4, 9.8.7.6"})
        await client.get(SHOW, headers=headers)
        await client.get(SHOW, headers=headers)

    assert limits.addresses == ["9.8.7.6", "127.0.0.1"]
    assert [operation for _, operation in limits.actors] == ["sample.get_thing.v1"] * 2


async def test_a_limited_caller_is_told_when_to_come_back(stage: Stage) -> None:
    async with stage.client(limits=CountingLimits(refuses=True)) as client:
        answer = await client.get(THINGS)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "8"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/health", 200, {"status": "ok"}),
        ("/ready", 200, {"status": "degraded"}),
        ("/health/ready", 200, {"status": "degraded"}),
    ],
)
async def test_health_is_bare_in_public(
    client: httpx.AsyncClient, path: str, status: int, body: dict[str, str]
) -> None:
    answer = await client.get(path)

    assert answer.status_code == status
    assert answer.json() == body


async def test_a_page_refuses_other_methods(client: httpx.AsyncClient) -> None:
    answer = await client.post("/health")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_page_names_its_methods(client: httpx.AsyncClient) -> None:
    answer = await client.options("/health")

    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_host_header_that_is_none_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get(THINGS, headers={"Host": "a b"})

    assert answer.status_code == 400
    assert answer.json()["code"] == "gateway.malformed_request"


async def test_a_message_for_plugins_only_gets_no_route() -> None:
    stage = Stage()
    plugin = a_plugin()
    plugin.handlers = [spec for spec in plugin.handlers if spec.name != "give_keys"]
    plugin.query(GiveKeys, handled_elsewhere, allow=INTERNAL, http=Get("/keys"))
    stage.surface = type(stage.surface)(plugin)

    with pytest.raises(TypeError, match="plugins only"):
        stage.app()


async def test_a_command_reaches_the_bus_as_it_was_given(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    await client.post(THINGS, json=A_THING, headers=stage.authorization())

    assert stage.bus.last.message.cls is MakeThing
    assert stage.bus.last.fields["quantity"] == 2.5
