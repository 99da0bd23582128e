"""The live stream of an order: server-sent events that resume where they broke off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec

from kernel.testing.market import Market, Person, Shop, an_order


class Event(NamedTuple):
    """One server-sent event."""

    id: int
    name: str
    data: Any


class Stream:
    """The events of an open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def until(self, name: str) -> list[Event]:
        """Read until an event of this name has come; returns all that were read."""
        events: list[Event] = []
        fields: dict[str, str] = {}
        async for line in self._lines:
            field, _, value = line.partition(": ")
            if line:
                fields[field] = value
            elif "data" in fields:
                event = Event(
                    int(fields["id"]), fields["event"], msgspec.json.decode(fields["data"])
                )
                events.append(event)
                fields = {}
                if event.name == name:
                    break
        return events


@asynccontextmanager
async def live(person: Person, order_id: str, *, after: int | None = None) -> AsyncIterator[Stream]:
    """Follow an order, from the beginning or after an event."""
    headers = {"Authorization": f"Bearer {person.tokens['access_token']}"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    path = f"/orders/{order_id}/live"
    async with person.http.stream("GET", path, headers=headers, timeout=60) as response:
        yield Stream(response)


async def test_what_happens_to_an_order_is_seen_live(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))

    async with live(buyer, order["order_id"]) as stream:
        past = await stream.until("sub_order_assigned")
        await shop.handle(order, "accept", "dispatch")
        news = await stream.until("sub_order_dispatched")

    assert stream.response.headers["content-type"].startswith("text/event-stream")
    assert [event.name for event in past] == [
        "order_placed",
        "order_confirmed",
        "sub_order_assigned",
    ]
    assert [event.name for event in news] == ["sub_order_accepted", "sub_order_dispatched"]
    assert [event.id for event in [*past, *news]] == [1, 2, 3, 4, 5]


async def test_a_broken_stream_resumes_behind_the_last_event(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))
    async with live(buyer, order["order_id"]) as stream:
        seen = await stream.until("sub_order_assigned")
    await shop.handle(order, "accept", "dispatch", "deliver")

    async with live(buyer, order["order_id"], after=seen[-1].id) as stream:
        missed = await stream.until("order_completed")

    assert [event.id for event in missed] == list(range(4, 4 + len(missed)))
    assert [event.name for event in missed][:3] == [
        "sub_order_accepted",
        "sub_order_dispatched",
        "sub_order_delivered",
    ]


async def test_the_stream_shows_nothing_that_the_history_does_not(
    market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))

    async with live(buyer, order["order_id"]) as stream:
        events = await stream.until("sub_order_assigned")

    history = await buyer.get(f"/orders/{order['order_id']}/history")
    assert [event.data for event in events] == history["changes"][: len(events)]
