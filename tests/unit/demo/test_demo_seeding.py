"""Loading a catalogue: from nothing, from a half, and again, against a market of dictionaries."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from bus.errors import RemoteError
from kernel.config import Configuration, ConfigurationError
from plugins.demo.api import Api, UnreachableError
from plugins.demo.assortment import assortment
from plugins.demo.catalogue import DemoCatalogue, demo_catalogue
from plugins.demo.people import Cast, Entrance, StrangeAccountError, entrance_of
from plugins.demo.seeding import Seeder, content_key, in_turns, is_wanting
from plugins.identity.contract import Me

ENTRANCE = Entrance("http://market.test/api/v1", "admin@realserv.example", "an admin's word", "")
STEM = "01m7wan8pce7t94awaz1r"


class HandMarket:
    """A market in dictionaries behind HTTP: what the seeding needs of the real one, and as strict about keys."""

    def __init__(self) -> None:
        self.users = {ENTRANCE.email: ENTRANCE.password}
        self.products: dict[str, dict[str, Any]] = {}
        self.vendors: dict[str, dict[str, Any]] = {}
        self.offers: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.busy = 0
        self.created = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.busy:
            self.busy -= 1
            return httpx.Response(503, headers={"retry-after": "0"})
        path = request.url.path.removeprefix("/api/v1")
        body = msgspec.json.decode(request.content) if request.content else {}
        who = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.method == "GET":
            return self._look(path, who)
        key = request.headers.get("idempotency-key", "")
        if key in self.keys:
            return httpx.Response(201, json=self.keys[key])
        response = self._do(path, body, who)
        if key:
            self.keys[key] = response.json()
        return response

    def _look(self, path: str, who: str) -> httpx.Response:
        if path == "/catalog/products":
            items = [self._listing(found) for found in self.products.values()]
            facets: dict[str, list[Any]] = {"category": [], "kind": [], "brand": []}
            return httpx.Response(
                200, json={"items": items, "next_cursor": None, "facets": facets}
            )  # fmt: skip
        if path == "/catalog/offers":
            items = [
                o for o in self.offers.values() if self.vendors[o["vendor_id"]]["owner"] == who
            ]
            return httpx.Response(200, json={"items": items, "next_cursor": None})
        return httpx.Response(200, json={**self.vendors[path.rpartition("/")[2]], "version": 1})

    def _listing(self, found: dict[str, Any]) -> dict[str, Any]:
        offers = sum(1 for o in self.offers.values() if o["product_id"] == found["product_id"])
        return {**found, "price": None, "available": 0, "offers": offers}

    def _do(self, path: str, body: dict[str, Any], who: str) -> httpx.Response:
        self.created += 1
        number = f"{self.created:05}"
        match path.split("/")[1:]:
            case ["identity", "register"]:
                return self._register(body, number)
            case ["identity", "login"]:
                return self._log_in(body)
            case ["catalog", "products"]:
                made = {"product_id": f"product_{STEM}{number}"}
                self.products[made["product_id"]] = {**body, **made}
            case ["catalog", "offers"]:
                made = {"offer_id": f"offer_{STEM}{number}"}
                self.offers[made["offer_id"]] = self._offer(body, made["offer_id"])
            case ["vendors"]:
                made = {"vendor_id": f"vendor_{STEM}{number}", "status": "pending"}
                self.vendors[made["vendor_id"]] = {**body, **made, "owner": who}
            case ["vendors", vendor_id, "approve"]:
                self.vendors[vendor_id]["status"] = "approved"
                made = {"vendor_id": vendor_id, "status": "approved"}
        return httpx.Response(201, json=made)

    def _offer(self, body: dict[str, Any], offer_id: str) -> dict[str, Any]:
        stock = body.pop("stock")
        kept = {"on_hand": stock, "reserved": 0, "available": stock, "paused": False}
        return {**body, **kept, "offer_id": offer_id, "product_name": "", "version": 1}

    def _register(self, body: dict[str, Any], number: str) -> httpx.Response:
        if body["email"] in self.users:
            return a_problem(409, "identity.email_taken")
        self.users[body["email"]] = body["password"]
        made = {"user_id": f"user_{STEM}{number}", "email": body["email"], "roles": [body["role"]]}
        return httpx.Response(201, json=made)

    def _log_in(self, body: dict[str, Any]) -> httpx.Response:
        if self.users.get(body["email"]) != body["password"]:
            return a_problem(401, "identity.bad_credentials")
        tokens = {"access_token": body["email"], "refresh_token": "r", "expires_in": 3600}
        return httpx.Response(200, json=tokens)


def a_problem(status: int, code: str) -> httpx.Response:
    problem = {"title": "No", "status": status, "detail": "not so", "code": code, "errors": []}
    return httpx.Response(
        status, json=problem, headers={"content-type": "application/problem+json"}
    )


@pytest.fixture
def market() -> HandMarket:
    return HandMarket()


@pytest.fixture
async def stranger(market: HandMarket) -> AsyncIterator[Api]:
    transport = httpx.MockTransport(market.answer)
    async with httpx.AsyncClient(base_url=ENTRANCE.url, transport=transport) as http:
        yield Api(http)


@pytest.fixture(scope="module")
def few() -> DemoCatalogue:
    return assortment(demo_catalogue(), 12)


def a_seeder(stranger: Api, catalogue: DemoCatalogue) -> Seeder:
    return Seeder(Cast(stranger, ENTRANCE), catalogue)


async def test_an_empty_market_gets_everything(
    market: HandMarket, stranger: Api, few: DemoCatalogue
) -> None:
    seeder = a_seeder(stranger, few)

    shops = await seeder.load()

    assert seeder.added.products == len(market.products) == 12
    assert seeder.added.vendors == len(shops) == 6
    assert seeder.added.products + seeder.added.offers == seeder.size
    assert {vendor["status"] for vendor in market.vendors.values()} == {"approved"}


async def test_a_second_run_adds_nothing(
    market: HandMarket, stranger: Api, few: DemoCatalogue
) -> None:
    await a_seeder(stranger, few).load()
    market.keys.clear()
    seeder = a_seeder(stranger, few)

    await seeder.load()

    assert (seeder.added.products, seeder.added.vendors, seeder.added.offers) == (0, 0, 0)
    assert len(market.products) == 12


async def test_a_run_that_was_interrupted_is_completed(
    market: HandMarket, stranger: Api, few: DemoCatalogue
) -> None:
    await a_seeder(stranger, few).load()
    lost = dict(market.offers)
    market.offers.clear()
    seeder = a_seeder(stranger, few)

    await seeder.load()

    assert seeder.added.products == 0
    assert seeder.added.offers == len(lost)
    assert len(market.vendors) == 6


async def test_an_empty_and_a_half_filled_market_want_the_catalogue(
    market: HandMarket, stranger: Api, few: DemoCatalogue
) -> None:
    is_wanted_at_first = await is_wanting(stranger, few)
    await a_seeder(stranger, few).load()
    is_wanted_then = await is_wanting(stranger, few)
    market.offers.popitem()

    assert (is_wanted_at_first, is_wanted_then) == (True, False)
    assert await is_wanting(stranger, few)


async def test_a_market_of_somebody_else_is_left_alone(
    market: HandMarket, stranger: Api, few: DemoCatalogue
) -> None:
    market._do(
        "/catalog/products",
        {"name": "Our own", "brand": None, "category": "c", "kind": "material", "unit": "bag"},
        "",
    )

    assert not await is_wanting(stranger, few)


async def test_an_account_with_another_password_is_named(
    market: HandMarket, stranger: Api, few: DemoCatalogue
) -> None:
    market.users[few.vendors[0].email] = "of somebody else"

    with pytest.raises(StrangeAccountError, match=few.vendors[0].email):
        await a_seeder(stranger, few).load()


async def test_a_busy_system_is_asked_again(market: HandMarket, stranger: Api) -> None:
    market.busy = 3

    admin = await Cast(stranger, ENTRANCE).admin()

    assert isinstance(admin, Api)


async def test_a_refusal_keeps_its_code(market: HandMarket, stranger: Api) -> None:
    with pytest.raises(RemoteError, match="not so") as refused:
        await stranger.logged_in(ENTRANCE.email, "wrong")

    assert refused.value.wire.code == "identity.bad_credentials"
    assert refused.value.wire.status == 401


async def test_a_system_that_is_not_there_is_named() -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    transport = httpx.MockTransport(nobody)
    async with httpx.AsyncClient(base_url=ENTRANCE.url, transport=transport) as http:
        with pytest.raises(UnreachableError, match=r"market\.test"):
            await Api(http).get("/identity/me", Me)


async def test_an_answer_of_another_program_is_said_to_be_none_of_ours() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(404, text="<h1>Not Found</h1>"))
    async with httpx.AsyncClient(base_url=ENTRANCE.url, transport=transport) as http:
        with pytest.raises(RemoteError) as refused:
            await Api(http).get("/identity/me", Me)

    assert refused.value.wire.code == "demo.no_problem"


def test_equal_content_has_an_equal_key() -> None:
    one, other = demo_catalogue().products[:2]

    assert content_key(one.command()) == content_key(one.command())
    assert content_key(one.command()) != content_key(other.command())


def test_passwords_derive_from_the_administrators(stranger: Api) -> None:
    cast = Cast(stranger, ENTRANCE)
    later = Cast(stranger, ENTRANCE._replace(password="another word"))

    assert cast.password_of("a@b.example") == Cast(stranger, ENTRANCE).password_of("a@b.example")
    assert cast.password_of("a@b.example") != cast.password_of("c@b.example")
    assert cast.password_of("a@b.example") != later.password_of("a@b.example")


async def test_work_in_turns_keeps_its_order() -> None:
    async def twice(number: int) -> int:
        return number * 2

    assert await in_turns((twice(n) for n in range(20)), 3) == list(range(0, 40, 2))


async def test_work_in_turns_fails_with_the_failure_itself() -> None:
    async def fail() -> None:
        raise StrangeAccountError

    with pytest.raises(StrangeAccountError):
        await in_turns((fail() for _ in range(3)), 2)


def a_configuration(**identity: str) -> Configuration:
    payment = {"base_url": "http://127.0.0.1:9099/v1"}
    return Configuration(
        {"gateway": {"port": 8123}, "plugins": {"identity": identity, "payment": payment}}
    )


def test_the_running_system_is_found_by_its_configuration() -> None:
    entrance = entrance_of(a_configuration(admin_password="an admin's word"))

    assert entrance == Entrance(
        "http://127.0.0.1:8123/api/v1",
        "admin@realserv.example",
        "an admin's word",
        "http://127.0.0.1:9099",
    )


def test_a_system_whose_administrator_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="admin_password"):
        entrance_of(a_configuration())


def test_the_real_provider_is_no_stand_in() -> None:
    plugins = {
        "identity": {"admin_password": "word"},
        "payment": {"base_url": "https://api.razorpay.com/v1"},
    }

    assert entrance_of(Configuration({"plugins": plugins})).stand_in == ""
