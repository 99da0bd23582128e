"""Webhooks out: signed, delivered at least once, repeated until answered; and every trick of the real road."""

import asyncio
import hmac
import random
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import httpx
import msgspec

from plugins.payment.standin.books import new_id


class Road(msgspec.Struct, forbid_unknown_fields=True):
    """How webhooks travel; all off is a good day."""

    copies: int = 1
    """How often each event is delivered."""
    delay: float = 0.0
    """Seconds before the first delivery."""
    jitter: float = 0.0
    """Up to so many seconds more, at random for each delivery, so that they overtake each other."""
    is_held: bool = False
    """Keep events back until they are released, then deliver them newest first."""
    is_dropped: bool = False
    """Lose events for good."""
    is_signed_old: bool = False
    """Sign with the former secret, as retries after a rotation are."""
    is_forged: bool = False
    """Sign with a secret that nobody agreed on."""


class News(msgspec.Struct, kw_only=True):
    """One event on its way, and what became of it."""

    event_id: str
    event: str
    body: str
    is_signed_old: bool = False
    is_forged: bool = False
    answers: list[int] = []
    """HTTP statuses of the deliveries, 0 where nobody answered."""
    is_done: bool = False
    """Answered, or lost on purpose; a restart delivers the others again."""


RETRY_AFTER: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each repeat: the provider's day of back-off, made short."""
ANSWER_WITHIN: Final = 5.0


class Courier:
    """Delivers events to one address."""

    def __init__(
        self, url: str, secret: str, *, old_secret: str = "", account_id: str = "acc_StandIn000000"
    ) -> None:
        self._url = url
        self._secret = secret
        self._old_secret = old_secret or secret
        self._account_id = account_id
        self._client = httpx.AsyncClient(timeout=ANSWER_WITHIN)
        self._tasks: set[asyncio.Task[None]] = set()
        self.road = Road()
        self.sent: list[News] = []
        self._held: list[News] = []

    def announce(self, event: str, entities: Mapping[str, Any]) -> None:
        """Write an event down as it is now, and send it on its way."""
        payload = {name: {"entity": entity} for name, entity in entities.items()}
        body = {
            "entity": "event",
            "account_id": self._account_id,
            "event": event,
            "contains": list(entities),
            "payload": payload,
            "created_at": int(time.time()),
        }
        news = News(
            event_id=new_id("evt"),
            event=event,
            body=msgspec.json.encode(body).decode(),
            is_signed_old=self.road.is_signed_old,
            is_forged=self.road.is_forged,
            is_done=self.road.is_dropped,
        )
        self.sent.append(news)
        if self.road.is_held:
            self._held.append(news)
        elif not news.is_done:
            self._dispatch(news)

    def release(self) -> int:
        """Deliver what was held, newest first; returns how many events."""
        held, self._held = self._held, []
        for place, news in enumerate(reversed(held)):
            self._dispatch(news, after=0.05 * place)
        return len(held)

    def deliver_again(self, event_id: str) -> bool:
        """Deliver one event again, as the provider's support does on request."""
        for news in self.sent:
            if news.event_id == event_id:
                self._dispatch(news)
                return True
        return False

    def resume(self, news: list[News]) -> None:
        """Take over the events of an earlier run; those that nobody answered go out again."""
        self.sent = news
        for item in news:
            if not item.is_done:
                self._dispatch(item)

    async def close(self) -> None:
        """Stop delivering."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def _dispatch(self, news: News, after: float = 0.0) -> None:
        if not self._url:
            return
        for _ in range(self.road.copies):
            wait = after + self.road.delay + random.uniform(0.0, self.road.jitter)  # noqa: S311  no secret
            task = asyncio.get_running_loop().create_task(self._deliver(news, wait))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, news: News, wait: float) -> None:
        await asyncio.sleep(wait)
        for pause in (*RETRY_AFTER, 0.0):
            status = await self._post(news)
            news.answers.append(status)
            if 200 <= status < 300:
                news.is_done = True
                return
            await asyncio.sleep(pause)

    async def _post(self, news: News) -> int:
        body = news.body.encode()
        headers = {
            "content-type": "application/json",
            "x-razorpay-signature": self._sign(news, body),
            "x-razorpay-event-id": news.event_id,
        }
        try:
            response = await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError:
            return 0
        return response.status_code

    def _sign(self, news: News, body: bytes) -> str:
        secret = self._old_secret if news.is_signed_old else self._secret
        if news.is_forged:
            secret = "nobody agreed on this"  # noqa: S105  wrong on purpose
        return hmac.new(secret.encode(), body, sha256).hexdigest()
