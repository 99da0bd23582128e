"""A day of the market, played against the running system by its public API."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Final, Literal, TypeVar
from uuid import uuid4

import httpx
from msgspec import Struct

from bus.codec import decoder, encode
from bus.errors import RemoteError
from kernel.errors import Unavailable
from kernel.quantity import QuantityChange
from plugins.catalog.contract import OwnOffer, ProductList
from plugins.demo.api import Api
from plugins.demo.day import NAMES, Fate, Plan, Stall
from plugins.demo.people import Cast
from plugins.demo.seeding import Progress, Shop, in_turns, own_offers
from plugins.order.contract import OrderHistory, OrderView, QuoteView, SubOrderView
from plugins.payment.contract import PaymentView
from plugins.vendor.contract import VendorView

T = TypeVar("T")

ORDERS_AT_ONCE: Final = 6
REGISTERING_AT_ONCE: Final = 2
"""Hashing a password takes a core for a while; more at once would only queue."""
PATIENCE: Final = 60.0
LOOKS: Final = 0.15
MOST_ORDERS_A_DAY: Final = 100_000
REFUSALS: Final = frozenset(
    {
        "catalog.offer_not_open",
        "catalog.stock_short",
        "order.no_vendor",
        "order.offer_not_open",
        "order.vendor_cannot_deliver",
        "vendor.capacity_short",
    }
)
"""Answers that are a market's daily bread: somebody else was faster."""


class StuckError(Unavailable):
    """Something that happens by itself did not happen in a minute."""

    code = "demo.stuck"
    title = "The market stands still"


class Paid(Struct, frozen=True, kw_only=True):
    """What the checkout page hands to the buyer's browser."""

    razorpay_order_id: str
    razorpay_payment_id: str
    razorpay_signature: str | None = None
    status: str


class Outcome(Struct, kw_only=True):
    """What became of a plan, as the system shows it at the end."""

    plan: Plan
    refusal: str = ""
    quote: QuoteView | None = None
    order: OrderView | None = None
    payment: PaymentView | None = None
    history: OrderHistory | None = None
    placed_in: float = 0.0
    """Seconds that placing took."""
    confirmed_in: float = 0.0
    """Seconds from the order to its confirmation; 0 when it was confirmed at once or never."""
    settled_in: float = 0.0
    """Seconds from the order to its end."""


class Market:
    """Plays plans: buyers, the vendors that answer them, and the buyer's bank."""

    def __init__(
        self, cast: Cast, admin: Api, shops: Sequence[Shop], provider: httpx.AsyncClient | None
    ) -> None:
        self._cast = cast
        self._admin = admin
        self._vendors: Mapping[str, Api] = {shop.vendor_id: shop.owner for shop in shops}
        self._shops = shops
        self._provider = provider
        self._buyers: dict[int, Api] = {}

    async def open(self, orders: int) -> list[Stall]:
        """Have the vendors make room for the day's orders, fill up what ran low, and show their stalls."""
        return await in_turns(self._open_shop(shop, orders) for shop in self._shops)

    async def admit(self, buyers: int, progress: Progress = lambda _: None) -> None:
        """Have the buyers of a day register and look round."""

        async def admit(number: int) -> Api:
            buyer = await self._admit(number)
            progress(1)
            return buyer

        entered = await in_turns((admit(number) for number in range(buyers)), REGISTERING_AT_ONCE)
        self._buyers = dict(enumerate(entered))

    async def play(
        self, plans: Sequence[Plan], progress: Progress = lambda _: None
    ) -> list[Outcome]:
        """Play all plans, a few at once."""

        async def play(plan: Plan) -> Outcome:
            outcome = await self._play(plan)
            progress(1)
            return outcome

        return await in_turns((play(plan) for plan in plans), ORDERS_AT_ONCE)

    async def _open_shop(self, shop: Shop, orders: int) -> Stall:
        firm = await shop.owner.get(f"/vendors/{shop.vendor_id}", VendorView)
        room = min(MOST_ORDERS_A_DAY, firm.orders_per_day + orders)
        await shop.owner.patch(
            f"/vendors/{shop.vendor_id}/capacity", VendorView, {"orders_per_day": room}
        )
        usual = {offer.sku: offer.stock.thousandths for offer in shop.vendor.offers}
        offers = []
        async for offer in own_offers(shop.owner):
            missing = usual.get(offer.sku, 0) - offer.available.thousandths
            if missing * 2 > usual.get(offer.sku, 0):
                delivery = {"delta": QuantityChange(missing), "reason": "received"}
                path = f"/catalog/offers/{offer.offer_id}/stock"
                offers.append(await shop.owner.post(path, OwnOffer, delivery))
            else:
                offers.append(offer)
        is_open = [offer for offer in offers if not offer.paused]
        return Stall(firm.location, firm.service_radius_km, tuple(is_open))

    async def _admit(self, number: int) -> Api:
        name = NAMES[number % len(NAMES)]
        email = f"{name.split()[0].lower()}-{uuid4().hex[:12]}@buyer.example"
        buyer = await self._cast.enter(email, name, "buyer")
        await buyer.get("/catalog/products", ProductList, q="cement", sort="price")
        return buyer

    async def _play(self, plan: Plan) -> Outcome:
        outcome = Outcome(plan=plan)
        buyer = self._buyers[plan.buyer]
        outcome.quote = await buyer.post("/orders/quote", QuoteView, plan.question())
        start = perf_counter()
        try:
            order = await buyer.post("/orders", OrderView, plan.command())
        except RemoteError as error:
            if error.wire.code not in REFUSALS:
                raise
            outcome.refusal = error.wire.code
            return outcome
        outcome.placed_in = perf_counter() - start
        if plan.payment_method == "razorpay":
            await self._pay(buyer, order, is_declined_first=plan.fate is Fate.DECLINED)
            order = await self._until(buyer, order.order_id, is_decided)
            outcome.confirmed_in = perf_counter() - start
        if plan.fate is Fate.CANCELLED:
            reason = {"reason": "The slab is cast next week only."}
            await buyer.post(f"/orders/{order.order_id}/cancel", OrderView, reason)
        else:
            await self._fulfil(buyer, order, plan)
        await self._look_back(outcome, buyer, order.order_id)
        outcome.settled_in = perf_counter() - start
        return outcome

    async def _pay(self, buyer: Api, order: OrderView, *, is_declined_first: bool) -> None:
        payment_id = order.payment.payment_id
        payment = await self._payment(buyer, payment_id, lambda p: p.status == "ready")
        if is_declined_first:
            await self._check_out(payment, "fail")
        paid = await self._check_out(payment, "success")
        await buyer.post(
            f"/payments/{payment_id}/verify",
            PaymentView,
            {
                "razorpay_order_id": paid.razorpay_order_id,
                "razorpay_payment_id": paid.razorpay_payment_id,
                "razorpay_signature": paid.razorpay_signature,
            },
        )

    async def _check_out(self, payment: PaymentView, outcome: Literal["success", "fail"]) -> Paid:
        if self._provider is None:
            raise StuckError("There is no stand-in for the payment provider")
        try:
            response = await self._provider.post(
                f"/standin/orders/{payment.provider_order_id}/pay",
                content=encode({"method": "upi", "outcome": outcome}),
                headers={"Content-Type": "application/json"},
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise StuckError(f"The payment provider's stand-in does not play: {error}") from error
        paid: Paid = decoder(Paid)(response.content)
        return paid

    async def _fulfil(self, buyer: Api, order: OrderView, plan: Plan) -> None:
        """Have each vendor take its part to the site; the first part may be refused first."""
        if plan.fate is Fate.REJECTED:
            part = order.sub_orders[0]
            await self._step(order, part, "reject", {"reason": "All lorries are out."})
            order = await self._until(
                buyer,
                order.order_id,
                lambda o: (
                    o.status == "cancelled" or o.sub_orders[0].status in {"assigned", "cancelled"}
                ),
            )
        for part in order.sub_orders:
            if order.status != "cancelled" and part.status == "assigned":
                for step in ("accept", "dispatch", "deliver"):
                    await self._step(order, part, step)

    async def _step(
        self, order: OrderView, part: SubOrderView, step: str, body: object = None
    ) -> None:
        """Act as the vendor; for a vendor that is none of ours, as the administrator."""
        vendor = self._vendors.get(part.vendor_id, self._admin)
        path = f"/orders/{order.order_id}/sub-orders/{part.sub_order_id}/{step}"
        await vendor.post(path, SubOrderView, body)

    async def _look_back(self, outcome: Outcome, buyer: Api, order_id: str) -> None:
        """Wait until order and money have come to rest, and note what the system shows then."""
        outcome.order = await self._until(buyer, order_id, is_over)
        outcome.payment = await self._payment(
            buyer, outcome.order.payment.payment_id, is_money_at_rest(outcome.order)
        )
        outcome.order = await self._until(buyer, order_id, knows_payment(outcome.payment))
        outcome.history = await buyer.get(f"/orders/{order_id}/history", OrderHistory)

    async def _until(
        self, buyer: Api, order_id: str, is_enough: Callable[[OrderView], bool]
    ) -> OrderView:
        return await until(lambda: buyer.get(f"/orders/{order_id}", OrderView), is_enough, order_id)

    async def _payment(
        self, buyer: Api, payment_id: str, is_enough: Callable[[PaymentView], bool]
    ) -> PaymentView:
        return await until(
            lambda: buyer.get(f"/payments/{payment_id}", PaymentView), is_enough, payment_id
        )


def is_decided(order: OrderView) -> bool:
    """Tell whether an order is confirmed or cancelled."""
    return order.status != "placed"


def is_over(order: OrderView) -> bool:
    """Tell whether nothing more will happen to an order."""
    return order.status in {"completed", "cancelled"}


def is_money_at_rest(order: OrderView) -> Callable[[PaymentView], bool]:
    """Return the test whether the payment of an order that is over is over as well."""

    def is_at_rest(payment: PaymentView) -> bool:
        if order.status == "completed":
            return payment.captured.amount > 0
        return payment.status in {"failed", "refunded"}

    return is_at_rest


def knows_payment(payment: PaymentView) -> Callable[[OrderView], bool]:
    """Return the test whether an order has heard of what its payment shows."""
    heard = {
        "captured": {"captured", "cash_collected"},
        "refunded": {"refunded"},
        "failed": {"failed"},
    }
    expected = heard.get(payment.status)
    return lambda order: expected is None or order.payment.status in expected


async def until(look: Callable[[], Awaitable[T]], is_enough: Callable[[T], bool], what: str) -> T:
    """Look until it is enough; raises StuckError after a minute. What is not there yet is waited for."""
    deadline = perf_counter() + PATIENCE
    seen: T | None = None
    while perf_counter() < deadline:
        try:
            seen = await look()
        except RemoteError as error:
            if error.wire.status != 404:
                raise
        else:
            if is_enough(seen):
                return seen
        await asyncio.sleep(LOOKS)
    raise StuckError(f"{what} does not come to an end: {seen!r}")
