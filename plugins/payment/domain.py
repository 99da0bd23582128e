"""The rules of a payment: what may happen to it, what is learnt of it, what must be done about it.

Whatever a provider says is taken as truth whenever it comes, twice or late or in the wrong order:
``learn`` notes what is new in it, then ``_settle_up`` says what must be done about it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec import structs

from bus.message import Command, Event
from kernel.money import ZERO, Money
from kernel.moves import Moves, legal_moves
from plugins.payment.announcements import announcement
from plugins.payment.contract import PaymentStatus, RefundReason
from plugins.payment.errors import AmountMismatchError, IllegalPaymentMoveError
from plugins.payment.facts import CASH, Attempt, Fact, FactKind, PaymentState, Refund
from plugins.payment.intents import (
    CaptureAtProvider,
    OpenAtProvider,
    ProviderNews,
    ProviderPayment,
    ProviderRefund,
    RefundAtProvider,
)

MOVES: Final[Moves[PaymentStatus]] = legal_moves(
    {
        "pending": {"ready", "cash_due", "failed"},
        "ready": {"authorized", "failed"},
        "cash_due": {"captured", "failed"},
        "authorized": {"captured", "ready", "failed"},
        "captured": {"partly_refunded", "refunded"},
        "partly_refunded": {"captured", "refunded"},
        "refunded": {"captured"},
        "failed": {"captured"},
    }
)
"""``authorized`` → ``ready``: the authorisation ran out. ``failed`` → ``captured``: paid after all, and
given back. ``refunded`` → ``captured``: a second payment came, and is given back too.
"""


class Moment(NamedTuple):
    """When something is noted, and where the ids for it come from."""

    at: datetime
    new_id: Callable[[str], str]


class Change(NamedTuple):
    """A new fact with what the world is told of it and what is to be done about it."""

    fact: Fact
    event: Event | None
    intent: Command[Any] | None


@dataclass(kw_only=True)
class Payment(PaymentState):
    """What an order owes, and what became of it. ``changes`` are the facts that are not stored yet."""

    changes: list[Change] = field(default_factory=list)

    # What may happen to it

    def create(self, moment: Moment) -> None:
        """Begin: cash is due from now on, anything else must be opened at the provider first."""
        if self.method == "cod":
            self._record(moment, "created", amount=self.amount)
            self._record(moment, "opened")
            return
        intent = OpenAtProvider(payment_id=self.payment_id, amount=self.amount)
        self._record(moment, "created", amount=self.amount, intent=intent)

    def open(self, provider_order_id: str, moment: Moment) -> None:
        """Take note of the order that the provider opened."""
        if not self.is_open:
            self._record(moment, "opened", provider_id=provider_order_id)

    def refuse(self, moment: Moment) -> None:
        """Take note that the provider will not open an order."""
        if not (self.is_open or self.is_refused):
            self._record(moment, "refused")

    def collect_cash(self, amount: Money, moment: Moment) -> None:
        """Take note of the cash of a delivered order; cash for a cancelled one is owed back.

        It is less than was asked when a part of the order was not delivered.
        """
        if not ZERO < amount <= self.amount:
            raise AmountMismatchError(f"{self.payment_id} is over {self.amount}, not {amount}")
        if CASH not in self.attempts:
            self._record(moment, "captured", amount=amount, attempt=CASH)
            self._settle_up(moment)

    def cancel(self, reason: RefundReason, moment: Moment) -> None:
        """Take no more money, and give back what was taken. A mere authorisation is left to run out."""
        if self.is_cancelled:
            return
        self._record(moment, "cancelled", reason=reason)
        for attempt in tuple(self.attempts):
            self._give_back(attempt, reason, moment)

    def refund_part(self, amount: Money, reason: RefundReason, moment: Moment) -> None:
        """Give back what a part that will not be delivered cost; cash is paid for what arrives only."""
        for attempt in tuple(self.attempts):
            part = min(amount, self.unreturned(attempt))
            if part and attempt != CASH:
                self._give_back(attempt, reason, moment, part=part)
                return

    def learn(self, news: ProviderNews, moment: Moment) -> None:
        """Take note of what the provider says; after AmountMismatchError it must not be saved."""
        for payment in news.payments:
            self._check_amount(payment.amount)
        for payment in news.payments:
            self._learn_payment(payment, moment)
        for refund in news.refunds:
            self._learn_refund(refund, moment)
        self._settle_up(moment)

    def capture_refused(self, provider_payment_id: str, moment: Moment) -> None:
        """Take note that an authorisation cannot be captured; another attempt may be."""
        self._release(provider_payment_id, moment)
        self._settle_up(moment)

    def answer_refund(self, refund_id: str, found: ProviderRefund | None, moment: Moment) -> None:
        """Take note of the refund found for ours; without one finance must look."""
        refund = self.refunds[refund_id]
        others = [r.provider_refund_id for r in self.refunds.values() if r is not refund]
        if found is not None and found.provider_refund_id not in others:
            self._learn_refund(structs.replace(found, receipt=refund_id), moment)
        elif refund.state in ("requested", "sent"):
            self._record_refund(moment, "refund_failed", refund)

    # What the provider says

    def _learn_payment(self, news: ProviderPayment, moment: Moment) -> None:
        attempt = self.attempts.get(news.provider_payment_id)
        if news.was_captured:
            self._authorize(news.provider_payment_id, moment, is_certain=True)
            if self.attempts[news.provider_payment_id].state != "captured":
                self._record(
                    moment, "captured", amount=news.amount, attempt=news.provider_payment_id
                )
        elif news.status == "refunded":
            self._release(news.provider_payment_id, moment)
        elif news.status == "authorized":
            self._authorize(news.provider_payment_id, moment)
        elif news.status == "failed" and attempt is None:
            self._record(
                moment, "attempt_failed", amount=news.amount, attempt=news.provider_payment_id
            )

    def _authorize(
        self, provider_payment_id: str, moment: Moment, *, is_certain: bool = False
    ) -> None:
        """A failed attempt may be authorised after all; a released one only if it is certain."""
        attempt = self.attempts.get(provider_payment_id)
        is_behind = attempt is None or attempt.state == "failed"
        if is_behind or (is_certain and attempt is not None and attempt.state == "released"):
            self._record(moment, "authorized", amount=self.amount, attempt=provider_payment_id)

    def _release(self, provider_payment_id: str, moment: Moment) -> None:
        attempt = self.attempts.get(provider_payment_id)
        if attempt is not None and attempt.state == "authorized":
            self._record(moment, "released", amount=attempt.amount, attempt=provider_payment_id)

    def _learn_refund(self, news: ProviderRefund, moment: Moment) -> None:
        refund = self._refund_meant(news)
        if refund is None:
            refund = self._foreign_refund(news, moment)
        if refund is None or refund.state == "settled":
            return
        if news.status == "processed":
            self._record_refund(moment, "refund_settled", refund, news)
        elif news.status == "failed" and refund.state != "failed":
            self._record_refund(moment, "refund_failed", refund, news)
        elif news.status == "pending" and refund.state == "requested":
            self._record_refund(moment, "refund_sent", refund, news)

    def _refund_meant(self, news: ProviderRefund) -> Refund | None:
        """Find our refund: by its receipt, by the provider's id, or as the like one that has no id yet."""
        for refund in self.refunds.values():
            if news.receipt == refund.refund_id:
                return refund
            if news.provider_refund_id == refund.provider_refund_id:
                return refund
        for refund in self.refunds.values():
            is_like = (refund.attempt, refund.amount) == (news.provider_payment_id, news.amount)
            if is_like and refund.provider_refund_id is None and not news.receipt:
                return refund
        return None

    def _foreign_refund(self, news: ProviderRefund, moment: Moment) -> Refund | None:
        """Take note of a refund that we did not ask for: the provider's own, or one by its dashboard."""
        attempt = self.attempts.get(news.provider_payment_id)
        if attempt is None or attempt.state != "captured":
            return None  # the provider gave back what was never ours
        if news.amount > self.unreturned(news.provider_payment_id):
            raise AmountMismatchError(f"refund {news.provider_refund_id} is more than was captured")
        refund_id = moment.new_id("refund")
        self._record(
            moment,
            "refund_requested",
            amount=news.amount,
            attempt=news.provider_payment_id,
            refund_id=refund_id,
            reason="operator",
        )
        return self.refunds[refund_id]

    # What must be done about it

    def _settle_up(self, moment: Moment) -> None:
        """Give back what is not ours to keep; else capture one authorisation, one at a time."""
        captured = [a.attempt for a in self.attempts.values() if a.state == "captured"]
        if self.is_cancelled:
            for attempt in captured:
                self._give_back(attempt, "payment_late", moment)
            return
        kept = [attempt for attempt in captured if self.unreturned(attempt)]
        for attempt in kept[1:]:
            self._give_back(attempt, "paid_twice", moment)
        authorized = [a for a in self.attempts.values() if a.state == "authorized"]
        is_asked = any(a.is_capture_asked for a in authorized)
        if authorized and not captured and not is_asked:
            self._capture(authorized[0], moment)

    def _capture(self, attempt: Attempt, moment: Moment) -> None:
        intent = CaptureAtProvider(
            payment_id=self.payment_id,
            provider_payment_id=attempt.attempt,
            amount=attempt.amount,
        )
        self._record(moment, "capture_asked", attempt=attempt.attempt, intent=intent)

    def _give_back(
        self, attempt: str, reason: RefundReason, moment: Moment, *, part: Money | None = None
    ) -> None:
        """Refund what an attempt captured. Cash has no provider: finance gives it back by hand."""
        amount = part or self.unreturned(attempt)
        if not amount:
            return
        refund_id = moment.new_id("refund")
        intent = RefundAtProvider(
            payment_id=self.payment_id,
            refund_id=refund_id,
            provider_payment_id=attempt,
            amount=amount,
        )
        self._record(
            moment,
            "refund_requested",
            amount=amount,
            attempt=attempt,
            refund_id=refund_id,
            reason=reason,
            intent=None if attempt == CASH else intent,
        )
        if attempt == CASH:
            self._record_refund(moment, "refund_failed", self.refunds[refund_id])

    # Facts

    def _record_refund(
        self, moment: Moment, kind: FactKind, refund: Refund, news: ProviderRefund | None = None
    ) -> None:
        self._record(
            moment,
            kind,
            amount=refund.amount,
            attempt=refund.attempt,
            refund_id=refund.refund_id,
            provider_id=news.provider_refund_id if news else None,
        )

    def _record(
        self,
        moment: Moment,
        kind: FactKind,
        *,
        amount: Money = ZERO,
        attempt: str | None = None,
        refund_id: str | None = None,
        provider_id: str | None = None,
        reason: RefundReason | None = None,
        intent: Command[Any] | None = None,
    ) -> None:
        fact = Fact(
            fact_id=moment.new_id("fact"),
            kind=kind,
            at=moment.at,
            amount=amount,
            attempt=attempt,
            refund_id=refund_id,
            provider_id=provider_id,
            reason=reason,
        )
        before = self.status
        self.apply(fact)
        after = self.status
        if before != after and not MOVES.allows(before, after):
            raise IllegalPaymentMoveError(f"{self.payment_id}: {before} → {after} by {kind}")
        self.changes.append(Change(fact, announcement(self, fact), intent))

    def _check_amount(self, amount: Money) -> None:
        if amount != self.amount:
            raise AmountMismatchError(f"{self.payment_id} is over {self.amount}, not {amount}")
