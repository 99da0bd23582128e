"""The tables of payment. Facts and ledger are append-only: a trigger refuses anything else."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)

METADATA: Final = MetaData()

payments = Table(
    "payments",
    METADATA,
    Column("payment_id", Uuid, primary_key=True),
    Column("order_id", Uuid, nullable=False),
    Column("buyer_id", Uuid, nullable=False),
    Column("method", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("pay_by", DateTime(timezone=True)),
    # What follows is derived from the facts, and kept here to be searched.
    Column("status", Text, nullable=False),
    Column("provider_order_id", Text),
    Column("is_cancelled", Boolean, nullable=False),
    Column("has_open_refund", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("heard_at", DateTime(timezone=True), nullable=False),
    Column("asked_at", DateTime(timezone=True)),
)

payment_facts = Table(
    "payment_facts",
    METADATA,
    Column("fact_id", Uuid, primary_key=True),
    Column("payment_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("attempt", Text),
    Column("refund_id", Uuid),
    Column("provider_id", Text),
    Column("reason", Text),
)

ledger_entries = Table(
    "ledger_entries",
    METADATA,
    # The id of the fact that the entry books.
    Column("entry_id", Uuid, primary_key=True),
    Column("payment_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)

ledger_lines = Table(
    "ledger_lines",
    METADATA,
    Column("entry_id", Uuid, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
)

webhooks_received = Table(
    "webhooks_received",
    METADATA,
    Column("webhook_id", Uuid, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("body", LargeBinary),
    Column("outcome", Text, nullable=False),
    Column("event", Text),
    Column("provider_order_id", Text),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("handled_at", DateTime(timezone=True)),
)
