"""The provider as one object: its books, its courier, its troubles, and the file that keeps them."""

import asyncio
import base64
import hmac
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec

from plugins.payment.standin.books import Books, Ledger, Refund
from plugins.payment.standin.courier import Courier, News
from plugins.payment.standin.faults import Faults
from plugins.payment.standin.refusals import Refusal
from plugins.payment.standin.requests import RefundRequest


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a stand-in is started."""

    key_id: str
    key_secret: str
    webhook_url: str
    webhook_secret: str
    old_webhook_secret: str = ""
    state: Path | None = None


class State(msgspec.Struct):
    """What a restart must keep."""

    ledger: Ledger
    news: list[News]


class Office:
    """Everything behind the HTTP surface."""

    def __init__(self, options: Options) -> None:
        self._options = options
        pair = f"{options.key_id}:{options.key_secret}".encode()
        self._credentials = f"Basic {base64.b64encode(pair).decode()}"
        self.faults = Faults()
        self.courier = Courier(
            options.webhook_url, options.webhook_secret, old_secret=options.old_webhook_secret
        )
        self._state = self._load()
        self.books = Books(self._state.ledger, self.courier.announce)
        self._in_flight: set[str] = set()
        self._timers: set[asyncio.Task[None]] = set()

    def check_credentials(self, authorization: str) -> None:
        """Refuse a call without the key; the scheme word must be exactly ``Basic``."""
        if not hmac.compare_digest(authorization.encode(), self._credentials.encode()):
            raise Refusal("Authentication failed", status=401, reason="NA")

    def checkout_signature(self, order_id: str, payment_id: str) -> str:
        """Return what the checkout page hands to the buyer's browser after a success."""
        message = f"{order_id}|{payment_id}".encode()
        return hmac.new(self._options.key_secret.encode(), message, sha256).hexdigest()

    async def refund(self, payment_id: str, request: RefundRequest, key: str | None) -> Refund:
        """Make a refund; the same key while it is being made is refused with 409."""
        if key and key in self._in_flight:
            raise Refusal("Another request with this key is in progress", status=409, reason="NA")
        self._in_flight.add(key or "")
        try:
            await self.faults.before()
            refund = self.books.refund(payment_id, request, key)
        finally:
            self._in_flight.discard(key or "")
        self._settle_later(refund.id)
        return refund

    def _settle_later(self, refund_id: str) -> None:
        seconds = self.faults.refund_after
        if seconds == 0:
            self.books.settle_refund(refund_id, is_processed=True)
        elif seconds > 0:
            self.after(seconds, self._process, refund_id)

    def _process(self, refund_id: str) -> None:
        self.books.settle_refund(refund_id, is_processed=True)

    def authorize_later(self, payment_id: str, seconds: float) -> None:
        """Have a failed payment authorised after a while."""
        self.after(seconds, self._authorize_late, payment_id)

    def _authorize_late(self, payment_id: str) -> None:
        self.books.authorize_late(payment_id)

    def after(self, seconds: float, act: Callable[[str], None], name: str) -> None:
        """Do something later, and keep the books then."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            act(name)
            self.keep()

        task = asyncio.get_running_loop().create_task(wait())
        self._timers.add(task)
        task.add_done_callback(self._timers.discard)

    async def open(self) -> None:
        """Go on where an earlier run ended."""
        self.courier.resume(self._state.news)
        for refund in self.books.ledger.refunds.values():
            if refund.status == "pending":
                self._settle_later(refund.id)

    async def close(self) -> None:
        """Stop, and keep the books."""
        for task in self._timers:
            task.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        await self.courier.close()
        self.keep()

    def keep(self) -> None:
        """Write the books to their file, when there is one."""
        path = self._options.state
        if path is not None:
            fresh = path.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(State(self.books.ledger, self.courier.sent)))
            fresh.replace(path)

    def _load(self) -> State:
        path = self._options.state
        if path is None or not path.exists():
            return State(Ledger(), [])
        return msgspec.json.decode(path.read_bytes(), type=State)
