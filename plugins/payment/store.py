"""The write side of payments: rows ↔ aggregate, and everything that a change brings with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

from kernel.context import Context, Row, Tx
from kernel.ids import to_uuid, to_wire
from kernel.money import Money
from kernel.sql import statement
from plugins.payment.domain import Change, Moment, Payment
from plugins.payment.errors import (
    PaymentNotCreatedYetError,
    PaymentNotFoundError,
    StalePaymentError,
)
from plugins.payment.facts import Fact
from plugins.payment.ledger import entry_of
from plugins.payment.tables import ledger_entries, ledger_lines, payment_facts, payments

ADD_PAYMENT = statement(
    """
    INSERT INTO payments (payment_id, order_id, buyer_id, method, amount, currency, pay_by, status,
        provider_order_id, is_cancelled, has_open_refund, version, heard_at, asked_at)
    VALUES (:payment_id, :order_id, :buyer_id, :method, :amount, :currency, :pay_by, :status,
        NULL, false, false, 0, :heard_at, NULL)
    ON CONFLICT (payment_id) DO NOTHING
    """
)
LOCKED_PAYMENT = statement(
    select(payments).where(payments.c.payment_id == bindparam("payment_id")).with_for_update()
)
LOCKED_BY_PROVIDER_ORDER = statement(
    select(payments)
    .where(payments.c.provider_order_id == bindparam("provider_order_id"))
    .with_for_update()
)
FACTS_OF_PAYMENT = statement(
    select(payment_facts)
    .where(payment_facts.c.payment_id == bindparam("payment_id"))
    .order_by(payment_facts.c.version)
)
SAVE_PAYMENT = statement(
    update(payments)
    .where(
        payments.c.payment_id == bindparam("key"),
        payments.c.version == bindparam("loaded_version"),
    )
    .values(
        status=bindparam("status"),
        provider_order_id=bindparam("provider_order_id"),
        is_cancelled=bindparam("is_cancelled"),
        has_open_refund=bindparam("has_open_refund"),
        version=bindparam("version"),
        heard_at=bindparam("heard_at"),
    )
)
ADD_FACT = statement(insert(payment_facts))
ADD_ENTRY = statement(insert(ledger_entries))
ADD_LINE = statement(insert(ledger_lines))
QUIET_PAYMENTS = statement(
    """
    SELECT payment_id, provider_order_id FROM payments
    WHERE provider_order_id IS NOT NULL AND (status IN ('ready', 'authorized') OR has_open_refund)
      AND heard_at < :quiet_since AND (asked_at IS NULL OR asked_at < :quiet_since)
    ORDER BY heard_at LIMIT :most FOR UPDATE SKIP LOCKED
    """
)
MARK_ASKED = statement(
    update(payments)
    .where(payments.c.payment_id == bindparam("key"))
    .values(asked_at=bindparam("asked_at"))
)

ASKED_AT_ONCE: Final = 200


def moment_of(ctx: Context) -> Moment:
    """Return the time and the source of ids for what this handling notes."""
    return Moment(ctx.now(), ctx.new_id)


class PaymentStore:
    """Loads payments under a row lock and saves what became of them, in the handler's transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, payment: Payment) -> bool:
        """Store a new payment; tells whether it is new."""
        count = await self._tx.execute(
            ADD_PAYMENT,
            payment_id=to_uuid(payment.payment_id),
            order_id=to_uuid(payment.order_id),
            buyer_id=to_uuid(payment.buyer_id),
            method=payment.method,
            amount=payment.amount.amount,
            currency=payment.amount.currency,
            pay_by=payment.pay_by,
            status="pending",
            heard_at=payment.changes[0].fact.at,
        )
        if count:
            await self.save(payment)
        return bool(count)

    async def find(self, payment_id: str) -> Payment | None:
        """Return the payment, locked, or None."""
        row = await self._tx.fetchrow(LOCKED_PAYMENT, payment_id=to_uuid(payment_id))
        return None if row is None else await self._load(row)

    async def get(self, payment_id: str) -> Payment:
        """Return the payment, locked; raises PaymentNotFoundError."""
        payment = await self.find(payment_id)
        if payment is None:
            raise PaymentNotFoundError(retry_after=1.0)
        return payment

    async def get_told(self, payment_id: str) -> Payment:
        """Return the payment for a told command, which may have overtaken the payment's creation."""
        payment = await self.find(payment_id)
        if payment is None:
            raise PaymentNotCreatedYetError(retry_after=1.0)
        return payment

    async def find_by_provider_order(self, provider_order_id: str) -> Payment | None:
        """Return the payment that a provider's order is for, locked, or None."""
        row = await self._tx.fetchrow(LOCKED_BY_PROVIDER_ORDER, provider_order_id=provider_order_id)
        return None if row is None else await self._load(row)

    async def save(self, payment: Payment) -> None:
        """Store new facts and ledger entries, tell the world, and set off what must be done."""
        changes, payment.changes = payment.changes, []
        if not changes:
            return
        loaded_version = payment.version - len(changes)
        count = await self._tx.execute(
            SAVE_PAYMENT,
            key=to_uuid(payment.payment_id),
            loaded_version=loaded_version,
            status=payment.status,
            provider_order_id=payment.provider_order_id,
            is_cancelled=payment.is_cancelled,
            has_open_refund=payment.has_open_refund,
            version=payment.version,
            heard_at=changes[-1].fact.at,
        )
        if count != 1:
            raise StalePaymentError
        for version, change in enumerate(changes, start=loaded_version + 1):
            await self._tx.execute(ADD_FACT, **_row_of(payment, change.fact, version))
            await self._post(payment, change)
            if change.event is not None:
                self._tx.emit(change.event, version=version)
            if change.intent is not None:
                self._tx.tell(change.intent)

    async def take_quiet(
        self, quiet_since: datetime, asked_at: datetime
    ) -> tuple[tuple[str, str], ...]:
        """Return ids and provider's orders of unsettled payments that nothing was heard of, and mark them asked."""
        rows = await self._tx.fetch(QUIET_PAYMENTS, quiet_since=quiet_since, most=ASKED_AT_ONCE)
        marks = [{"key": row["payment_id"], "asked_at": asked_at} for row in rows]
        await self._tx.executemany(MARK_ASKED, marks)
        return tuple(
            (to_wire("payment", row["payment_id"]), row["provider_order_id"]) for row in rows
        )

    async def _load(self, row: Row) -> Payment:
        facts = await self._tx.fetch(FACTS_OF_PAYMENT, payment_id=row["payment_id"])
        return fold(row, facts)

    async def _post(self, payment: Payment, change: Change) -> None:
        entry = entry_of(change.event) if change.event is not None else None
        if entry is None:
            return
        entry_id = to_uuid(change.fact.fact_id)
        await self._tx.execute(
            ADD_ENTRY,
            entry_id=entry_id,
            payment_id=to_uuid(payment.payment_id),
            kind=entry.kind,
            at=change.fact.at,
        )
        lines = [
            {
                "entry_id": entry_id,
                "account": line.account,
                "amount": line.amount.amount,
                "currency": line.amount.currency,
            }
            for line in entry.lines
        ]
        await self._tx.executemany(ADD_LINE, lines)


def fold(row: Row, facts: Sequence[Row]) -> Payment:
    """Build the aggregate from its row and its facts, which decide."""
    payment = Payment(
        payment_id=to_wire("payment", row["payment_id"]),
        order_id=to_wire("order", row["order_id"]),
        buyer_id=to_wire("user", row["buyer_id"]),
        method=row["method"],
        amount=Money(row["amount"], row["currency"]),
        pay_by=row["pay_by"],
    )
    for fact in facts:
        payment.apply(_fact_of(fact, row["currency"]))
    return payment


def _fact_of(row: Row, currency: Any) -> Fact:
    refund_id = row["refund_id"]
    return Fact(
        fact_id=to_wire("fact", row["fact_id"]),
        kind=row["kind"],
        at=row["at"],
        amount=Money(row["amount"], currency),
        attempt=row["attempt"],
        refund_id=None if refund_id is None else to_wire("refund", refund_id),
        provider_id=row["provider_id"],
        reason=row["reason"],
    )


def _row_of(payment: Payment, fact: Fact, version: int) -> dict[str, Any]:
    return {
        "fact_id": to_uuid(fact.fact_id),
        "payment_id": to_uuid(payment.payment_id),
        "version": version,
        "kind": fact.kind,
        "at": fact.at,
        "amount": fact.amount.amount,
        "attempt": fact.attempt,
        "refund_id": None if fact.refund_id is None else to_uuid(fact.refund_id),
        "provider_id": fact.provider_id,
        "reason": fact.reason,
    }
