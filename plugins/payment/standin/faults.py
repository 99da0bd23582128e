"""Trouble at the provider, ordered by tests: counters that each call uses up."""

import asyncio

import msgspec

from plugins.payment.standin.refusals import Refusal


class Faults(msgspec.Struct, forbid_unknown_fields=True):
    """What goes wrong with the next calls to ``/v1``."""

    latency: float = 0.0
    """Seconds that every call takes before it is done."""
    fail_next: int = 0
    """So many calls are answered 502 and not done."""
    throttle_next: int = 0
    """So many calls are answered 429 and not done."""
    lose_answers: int = 0
    """So many calls are done, but answered 504 as if they timed out."""
    refund_after: float = 1.0
    """Seconds until a pending refund is processed; 0 at once, below 0 not before it is told to."""

    async def before(self) -> None:
        """Hold a call up, or refuse it."""
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.throttle_next > 0:
            self.throttle_next -= 1
            raise Refusal("Too many requests", status=429, reason="rate_limit_exceeded")
        if self.fail_next > 0:
            self.fail_next -= 1
            raise Refusal("The gateway is away", status=502, code="GATEWAY_ERROR", reason="NA")

    def after(self) -> None:
        """Lose the answer of a call that was done."""
        if self.lose_answers > 0:
            self.lose_answers -= 1
            raise Refusal("The answer was lost", status=504, code="SERVER_ERROR", reason="NA")
