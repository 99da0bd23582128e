"""The facts of which a payment consists, and the state that follows when they are folded."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from kernel.money import ZERO, Money, total
from plugins.payment.contract import PaymentMethod, PaymentStatus, RefundReason

CASH: Final = "cash"
"""The name of the one attempt of a payment in cash."""

FactKind = Literal[
    "created",
    "opened",
    "refused",
    "attempt_failed",
    "authorized",
    "capture_asked",
    "released",
    "captured",
    "cancelled",
    "refund_requested",
    "refund_sent",
    "refund_settled",
    "refund_failed",
]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that became known about a payment. ``attempt`` is the provider's payment id, or cash."""

    fact_id: str
    kind: FactKind
    at: datetime
    amount: Money = ZERO
    attempt: str | None = None
    refund_id: str | None = None
    provider_id: str | None = None
    """The provider's id of the order (``opened``) or of the refund."""
    reason: RefundReason | None = None


@dataclass(kw_only=True)
class Attempt:
    """One try to pay. ``released`` is an authorisation that can no longer be captured."""

    attempt: str
    state: Literal["failed", "authorized", "released", "captured"]
    amount: Money
    is_capture_asked: bool = False


@dataclass(kw_only=True)
class Refund:
    """Money on its way back."""

    refund_id: str
    attempt: str
    amount: Money
    state: Literal["requested", "sent", "settled", "failed"] = "requested"
    provider_refund_id: str | None = None


@dataclass(kw_only=True)
class PaymentState:
    """What a payment has come to: a fold of its facts. Its amounts are sums, its status follows."""

    payment_id: str
    order_id: str
    buyer_id: str
    method: PaymentMethod
    amount: Money
    pay_by: datetime | None = None
    version: int = 0
    provider_order_id: str | None = None
    is_open: bool = False
    is_refused: bool = False
    is_cancelled: bool = False
    attempts: dict[str, Attempt] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)

    @property
    def authorized(self) -> Money:
        """What buyers' banks hold or held for us until it became ours."""
        return total(
            [a.amount for a in self.attempts.values() if a.state in ("authorized", "captured")]
        )

    @property
    def captured(self) -> Money:
        """What became ours."""
        return total([a.amount for a in self.attempts.values() if a.state == "captured"])

    @property
    def refunded(self) -> Money:
        """What has been given back."""
        return total([r.amount for r in self.refunds.values() if r.state == "settled"])

    @property
    def has_open_refund(self) -> bool:
        """Whether a refund still waits for the provider's word."""
        return any(r.state in ("requested", "sent") for r in self.refunds.values())

    @property
    def status(self) -> PaymentStatus:
        """The status that follows from the facts; money that is here weighs more than all else."""
        if self.captured:
            kept = self.captured - self.refunded
            if not kept:
                return "refunded"
            is_whole = kept >= self.amount or not self.refunded
            return "captured" if is_whole else "partly_refunded"
        if self.is_cancelled or self.is_refused:
            return "failed"
        if self.authorized:
            return "authorized"
        if not self.is_open:
            return "pending"
        return "cash_due" if self.method == "cod" else "ready"

    def unreturned(self, attempt: str) -> Money:
        """What was captured by an attempt and is not given back, nor about to be."""
        found = self.attempts.get(attempt)
        if found is None or found.state != "captured":
            return ZERO
        return found.amount - total(
            [r.amount for r in self.refunds.values() if r.attempt == attempt]
        )

    def apply(self, fact: Fact) -> None:
        """Fold one fact in. Live changes and loading both go through here."""
        self.version += 1
        match fact.kind:
            case "opened":
                self.is_open = True
                self.provider_order_id = fact.provider_id
            case "refused":
                self.is_refused = True
            case "cancelled":
                self.is_cancelled = True
            case "attempt_failed" | "authorized" | "released" | "captured" | "capture_asked":
                self._apply_attempt(fact)
            case "refund_requested" | "refund_sent" | "refund_settled" | "refund_failed":
                self._apply_refund(fact)
            case "created":
                pass

    def _apply_attempt(self, fact: Fact) -> None:
        name = fact.attempt or CASH
        if fact.kind == "capture_asked":
            self.attempts[name].is_capture_asked = True
            return
        state: Literal["failed", "authorized", "released", "captured"]
        match fact.kind:
            case "attempt_failed":
                state = "failed"
            case "authorized":
                state = "authorized"
            case "released":
                state = "released"
            case _:
                state = "captured"
        before = self.attempts.pop(name, None)
        # Put at the end: the order of the attempts is that of their last step, the first captured stays.
        self.attempts[name] = Attempt(
            attempt=name,
            state=state,
            amount=fact.amount,
            is_capture_asked=before.is_capture_asked if before else False,
        )

    def _apply_refund(self, fact: Fact) -> None:
        refund_id = fact.refund_id or ""
        if fact.kind == "refund_requested":
            self.refunds[refund_id] = Refund(
                refund_id=refund_id, attempt=fact.attempt or CASH, amount=fact.amount
            )
            return
        refund = self.refunds[refund_id]
        refund.provider_refund_id = fact.provider_id or refund.provider_refund_id
        match fact.kind:
            case "refund_settled":
                refund.state = "settled"
            case "refund_failed":
                refund.state = "failed"
            case _:
                refund.state = "sent"
