"""People of a market who speak plain HTTP: for tests, demonstrations and measuring.

Everything here goes through the public API of a running system and knows nothing of its inside. Each
person, shop and product is new, so that tests on one system do not touch each other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar
from uuid import uuid4

import httpx
import msgspec

T = TypeVar("T")

PASSWORD: Final = "correct horse 9"  # noqa: S105  of people who exist in throw-away systems only
PATIENCE: Final = 45.0
POLL: Final = 0.1


class RefusedError(AssertionError):
    """A call was refused that was expected to succeed."""

    def __init__(self, response: httpx.Response) -> None:
        request = response.request
        super().__init__(
            f"{request.method} {request.url.path} was answered {response.status_code}: "
            f"{response.text[:500]}"
        )
        self.status = response.status_code


async def until(
    look: Callable[[], Awaitable[T]],
    is_enough: Callable[[T], object] = bool,
    *,
    within: float = PATIENCE,
) -> T:
    """Look again and again until what is seen is enough; what was seen last is told otherwise."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        seen = await look()
        if is_enough(seen):
            return seen
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"after {within:.0f} s there is still only {seen!r}")
        await asyncio.sleep(POLL)


def new_email(name: str) -> str:
    """Return an address that nobody has."""
    return f"{name}-{uuid4().hex[:12]}@market.example"


def an_address(**overrides: object) -> dict[str, Any]:
    """Return an address in Hyderabad."""
    return {
        "line1": "12 Main Road",
        "city": "Hyderabad",
        "pincode": "500081",
        "lat": 17.4435,
        "lon": 78.3772,
        **overrides,
    }


def rupees(paise: int) -> dict[str, Any]:
    """Return an amount as it stands on the wire."""
    return {"amount": paise, "currency": "INR"}


class Person:
    """Somebody who calls the API: logged in when there is a token, else a stranger."""

    def __init__(self, http: httpx.AsyncClient, *, email: str = "", user_id: str = "") -> None:
        self.http = http
        self.email = email
        self.user_id = user_id
        self.tokens: dict[str, Any] = {}

    async def request(
        self,
        method: str,
        path: str,
        body: object = msgspec.UNSET,
        *,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> httpx.Response:
        """Send one request and return whatever is answered."""
        sent = {**(headers or {})}
        if self.tokens:
            sent["Authorization"] = f"Bearer {self.tokens['access_token']}"
        if key:
            sent["Idempotency-Key"] = key
        content = None
        if body is not msgspec.UNSET:
            sent["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        return await self.http.request(method, path, content=content, headers=sent, params=params)

    async def get(self, path: str, **params: str | int) -> Any:
        """Get what is there; raises RefusedError."""
        return answered(await self.request("GET", path, params=params))

    async def post(self, path: str, body: object = msgspec.UNSET, *, key: str = "") -> Any:
        """Have something done; raises RefusedError."""
        return answered(await self.request("POST", path, body, key=key))

    async def patch(self, path: str, body: object) -> Any:
        """Change something; raises RefusedError."""
        return answered(await self.request("PATCH", path, body))

    async def log_in(self, password: str = PASSWORD) -> None:
        """Take new tokens."""
        body = {"email": self.email, "password": password}
        self.tokens = await Person(self.http).post("/identity/login", body)


def answered(response: httpx.Response) -> Any:
    """Return the JSON of an answer; raises RefusedError when it is none of success."""
    if not response.is_success:
        raise RefusedError(response)
    return response.json() if response.content else None


class Shop:
    """An approved vendor and its owner."""

    def __init__(self, owner: Person, vendor_id: str) -> None:
        self.owner = owner
        self.vendor_id = vendor_id

    async def describe(self, name: str = "OPC 53 cement", **overrides: object) -> str:
        """Describe a new product; returns its id."""
        product = {
            "name": name,
            "category": "cement",
            "kind": "material",
            "unit": "bag",
            "hsn": "2523",
            **overrides,
        }
        created = await self.owner.post("/catalog/products", product)
        return str(created["product_id"])

    async def offer(
        self, product_id: str, *, price: int = 38_000, stock: float = 500, min_quantity: float = 1
    ) -> str:
        """Offer a product; returns the offer's id."""
        offer = {
            "product_id": product_id,
            "vendor_id": self.vendor_id,
            "sku": f"SKU-{uuid4().hex[:12]}",
            "price": rupees(price),
            "min_quantity": min_quantity,
            "stock": stock,
        }
        created = await self.owner.post("/catalog/offers", offer)
        return str(created["offer_id"])

    async def stocked(self, *, stock: float = 500, price: int = 38_000) -> str:
        """Offer a new product; returns the offer's id."""
        return await self.offer(await self.describe(), stock=stock, price=price)

    async def inbox(self, **params: str | int) -> list[dict[str, Any]]:
        """Return the sub-orders that this vendor was asked to take."""
        found = await self.owner.get(f"/vendors/{self.vendor_id}/sub-orders", **params)
        items: list[dict[str, Any]] = found["items"]
        return items

    async def handle(self, order: Mapping[str, Any], *steps: str) -> list[Any]:
        """Take these steps, such as ``accept``, with every sub-order that is this vendor's."""
        return [
            await self.owner.post(
                f"/orders/{order['order_id']}/sub-orders/{part['sub_order_id']}/{step}"
            )
            for part in order["sub_orders"]
            if part["vendor_id"] == self.vendor_id
            for step in steps
        ]


class Market:
    """A running system as people see it."""

    def __init__(self, http: httpx.AsyncClient, admin: Person) -> None:
        self.http = http
        self.admin = admin
        self.stranger = Person(http)

    @classmethod
    async def enter(cls, http: httpx.AsyncClient, email: str, password: str) -> "Market":
        """Enter with the credentials of an administrator."""
        admin = Person(http, email=email)
        await admin.log_in(password)
        return cls(http, admin)

    async def register(self, role: str, **overrides: object) -> Person:
        """Register somebody new and log in as them."""
        account = {
            "email": new_email(role),
            "password": PASSWORD,
            "name": "Asha Rao",
            "role": role,
            **overrides,
        }
        made = await self.stranger.post("/identity/register", account)
        person = Person(self.http, email=made["email"], user_id=made["user_id"])
        await person.log_in(str(account["password"]))
        return person

    async def buyer(self, **overrides: object) -> Person:
        """Register a buyer."""
        return await self.register("buyer", **overrides)

    async def shop(self, **overrides: object) -> Shop:
        """Register a vendor's owner and firm, and have it approved."""
        owner = await self.register("vendor")
        firm = {
            "name": "Sri Lakshmi Traders",
            "location": {"lat": 17.45, "lon": 78.38},
            "service_radius_km": 40,
            "orders_per_day": 10_000,
            **overrides,
        }
        vendor_id = (await owner.post("/vendors", firm))["vendor_id"]
        await self.admin.post(f"/vendors/{vendor_id}/approve")
        return Shop(owner, vendor_id)


def an_order(*offers: str, quantity: float = 1, **overrides: object) -> dict[str, Any]:
    """Return the body of an order: the same quantity of each offer, cash on delivery."""
    return {
        "lines": [{"offer_id": offer, "quantity": quantity} for offer in offers],
        "delivery_address": an_address(),
        "payment_method": "cod",
        **overrides,
    }


async def status_of(buyer: Person, order_id: str) -> tuple[str, str]:
    """Return an order's status and its payment's."""
    order = await buyer.get(f"/orders/{order_id}")
    return order["status"], order["payment"]["status"]
