"""The double-entry ledger: what every fact about money means in accounts. Pure, a fold of our own events.

Debits are positive, credits negative; the lines of an entry add up to zero, so every prefix of the
ledger does. Live handlers and a recovery from the stream use the same ``entry_of``.
"""

from dataclasses import dataclass
from typing import Final, Literal

from bus.message import Event
from kernel.money import Money, total
from plugins.payment.contract import (
    PaymentCaptured,
    RefundRequested,
    RefundSettled,
)
from plugins.payment.errors import UnbalancedEntryError

Account = Literal["gateway_clearing", "cash_with_vendors", "order_liability", "refunds_payable"]
GATEWAY_CLEARING: Final[Account] = "gateway_clearing"
"""Asset: money that the payment provider holds for us."""
CASH_WITH_VENDORS: Final[Account] = "cash_with_vendors"
"""Asset: cash that vendors took on delivery and owe us."""
ORDER_LIABILITY: Final[Account] = "order_liability"
"""Liability: what we were paid for orders and owe to vendors, the state and ourselves."""
REFUNDS_PAYABLE: Final[Account] = "refunds_payable"
"""Liability: what we owe back to buyers; a refund that failed stays here until finance has paid it."""

EntryKind = Literal["payment_captured", "refund_requested", "refund_settled"]


@dataclass(frozen=True)
class Line:
    """An amount on one account: positive debits, negative credits it."""

    account: Account
    amount: Money


@dataclass(frozen=True)
class Entry:
    """Lines that belong together and add up to zero; raises UnbalancedEntryError when they do not."""

    kind: EntryKind
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        if len(self.lines) < 2 or total([line.amount for line in self.lines]):
            raise UnbalancedEntryError(f"{self.kind} does not add up to zero")


def transfer(kind: EntryKind, amount: Money, *, debit: Account, credit: Account) -> Entry:
    """Return the entry that moves an amount from the credited to the debited account."""
    return Entry(kind, (Line(debit, amount), Line(credit, -amount)))


def entry_of(event: Event) -> Entry | None:
    """Return what an event means in accounts; None when no money moved."""
    match event:
        case PaymentCaptured(method="cod"):
            return transfer(
                "payment_captured", event.amount, debit=CASH_WITH_VENDORS, credit=ORDER_LIABILITY
            )
        case PaymentCaptured():
            return transfer(
                "payment_captured", event.amount, debit=GATEWAY_CLEARING, credit=ORDER_LIABILITY
            )
        case RefundRequested():
            return transfer(
                "refund_requested", event.amount, debit=ORDER_LIABILITY, credit=REFUNDS_PAYABLE
            )
        case RefundSettled():
            return transfer(
                "refund_settled", event.amount, debit=REFUNDS_PAYABLE, credit=GATEWAY_CLEARING
            )
        case _:
            return None
