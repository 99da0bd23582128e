"""Payments, their facts, the ledger, and the webhooks received."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UPGRADE = (
    """
    CREATE TABLE payments (
        payment_id uuid CONSTRAINT payments_pk PRIMARY KEY,
        order_id uuid NOT NULL,
        buyer_id uuid NOT NULL,
        method text NOT NULL,
        amount bigint NOT NULL,
        currency text NOT NULL,
        pay_by timestamptz,
        status text NOT NULL,
        provider_order_id text,
        is_cancelled boolean NOT NULL,
        has_open_refund boolean NOT NULL,
        version integer NOT NULL,
        heard_at timestamptz NOT NULL,
        asked_at timestamptz,
        CONSTRAINT payments_method_known CHECK (method IN ('cod', 'razorpay')),
        CONSTRAINT payments_amount_positive CHECK (amount > 0),
        CONSTRAINT payments_currency_known CHECK (currency = 'INR'),
        CONSTRAINT payments_status_known CHECK (status IN (
            'pending', 'ready', 'authorized', 'captured', 'partly_refunded', 'refunded', 'failed', 'cash_due'
        )),
        CONSTRAINT payments_provider_order_unique UNIQUE (provider_order_id)
    )
    """,
    "CREATE INDEX payments_by_order ON payments (order_id)",
    """
    CREATE INDEX payments_unsettled ON payments (heard_at)
    WHERE provider_order_id IS NOT NULL AND (status IN ('ready', 'authorized') OR has_open_refund)
    """,
    """
    CREATE TABLE payment_facts (
        fact_id uuid CONSTRAINT payment_facts_pk PRIMARY KEY,
        payment_id uuid NOT NULL
            CONSTRAINT payment_facts_payment_fk REFERENCES payments (payment_id),
        version integer NOT NULL,
        kind text NOT NULL,
        at timestamptz NOT NULL,
        amount bigint NOT NULL,
        attempt text,
        refund_id uuid,
        provider_id text,
        reason text,
        CONSTRAINT payment_facts_version_unique UNIQUE (payment_id, version),
        CONSTRAINT payment_facts_amount_not_negative CHECK (amount >= 0),
        CONSTRAINT payment_facts_kind_known CHECK (kind IN (
            'created', 'opened', 'refused', 'attempt_failed', 'authorized', 'capture_asked', 'released',
            'captured', 'cancelled', 'refund_requested', 'refund_sent', 'refund_settled', 'refund_failed'
        ))
    )
    """,
    """
    CREATE UNIQUE INDEX payment_facts_captured_once ON payment_facts (attempt)
    WHERE kind = 'captured' AND attempt <> 'cash'
    """,
    """
    CREATE UNIQUE INDEX payment_facts_settled_once ON payment_facts (refund_id)
    WHERE kind = 'refund_settled'
    """,
    """
    CREATE TABLE ledger_entries (
        entry_id uuid CONSTRAINT ledger_entries_pk PRIMARY KEY
            CONSTRAINT ledger_entries_fact_fk REFERENCES payment_facts (fact_id),
        payment_id uuid NOT NULL
            CONSTRAINT ledger_entries_payment_fk REFERENCES payments (payment_id),
        kind text NOT NULL,
        at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ledger_entries_by_payment ON ledger_entries (payment_id)",
    "CREATE INDEX ledger_entries_by_time ON ledger_entries (at)",
    """
    CREATE TABLE ledger_lines (
        entry_id uuid NOT NULL
            CONSTRAINT ledger_lines_entry_fk REFERENCES ledger_entries (entry_id),
        account text NOT NULL,
        amount bigint NOT NULL,
        currency text NOT NULL,
        CONSTRAINT ledger_lines_pk PRIMARY KEY (entry_id, account),
        CONSTRAINT ledger_lines_amount_not_zero CHECK (amount <> 0),
        CONSTRAINT ledger_lines_account_known CHECK (account IN (
            'gateway_clearing', 'cash_with_vendors', 'order_liability', 'refunds_payable'
        ))
    )
    """,
    "CREATE INDEX ledger_lines_by_account ON ledger_lines (account)",
    """
    CREATE FUNCTION check_ledger_balance() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        entry uuid := NEW.entry_id;
        line_count bigint;
        balance numeric;
    BEGIN
        SELECT count(*), coalesce(sum(amount), 0) INTO line_count, balance
        FROM ledger_lines WHERE entry_id = entry;
        IF line_count < 2 OR balance <> 0 THEN
            RAISE EXCEPTION 'ledger entry % has % lines that add up to %', entry, line_count, balance
                USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_ledger_balance()
    """,
    """
    CREATE CONSTRAINT TRIGGER ledger_lines_balanced AFTER INSERT ON ledger_lines
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_ledger_balance()
    """,
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation';
    END $$
    """,
    """
    CREATE TRIGGER payment_facts_append_only BEFORE UPDATE OR DELETE ON payment_facts
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TRIGGER ledger_lines_append_only BEFORE UPDATE OR DELETE ON ledger_lines
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TABLE webhooks_received (
        webhook_id uuid CONSTRAINT webhooks_received_pk PRIMARY KEY,
        event_id text NOT NULL,
        body bytea,
        outcome text NOT NULL,
        event text,
        provider_order_id text,
        received_at timestamptz NOT NULL,
        handled_at timestamptz,
        CONSTRAINT webhooks_received_event_unique UNIQUE (event_id),
        CONSTRAINT webhooks_received_outcome_known CHECK (outcome IN (
            'received', 'handled', 'ignored', 'unmatched', 'mismatched', 'unreadable'
        ))
    )
    """,
    "CREATE INDEX webhooks_received_by_outcome ON webhooks_received (outcome)",
    """
    CREATE INDEX webhooks_received_unmatched ON webhooks_received (provider_order_id)
    WHERE outcome = 'unmatched'
    """,
    """
    CREATE INDEX webhooks_received_with_body ON webhooks_received (received_at)
    WHERE body IS NOT NULL
    """,
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE webhooks_received, ledger_lines, ledger_entries, payment_facts, payments"
    )
    op.execute("DROP FUNCTION check_ledger_balance, refuse_change")
