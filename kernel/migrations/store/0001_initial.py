"""The kernel's tables in a plugin's database: outbox, inbox, positions, parked, effects, jobs, models."""

import re

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UP = r"""
CREATE TABLE kernel.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    ce_id uuid NOT NULL,
    subject text NOT NULL,
    headers jsonb NOT NULL,
    payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    stream_seq bigint,
    CONSTRAINT outbox_pkey PRIMARY KEY (id, created_at),
    CONSTRAINT outbox_kind CHECK (kind IN ('fact', 'tell', 'timer', 'cancel', 'dead'))
) PARTITION BY RANGE (created_at);
CREATE TABLE kernel.outbox_default PARTITION OF kernel.outbox DEFAULT;
CREATE FUNCTION kernel.ensure_partitions() RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    first date\;
BEGIN
    FOR ahead IN 0..2 LOOP
        first := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)\;
        IF to_regclass('kernel.outbox_' || to_char(first, 'YYYYMM')) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE kernel.outbox_%s PARTITION OF kernel.outbox FOR VALUES FROM (%L) TO (%L)',
                to_char(first, 'YYYYMM'),
                to_char(first, 'YYYY-MM-DD') || ' 00:00:00+00',
                to_char(first + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
            )\;
        END IF\;
    END LOOP\;
END
$body$;
SELECT kernel.ensure_partitions();
CREATE INDEX outbox_unsent ON kernel.outbox (id) WHERE sent_at IS NULL;
CREATE INDEX outbox_ce_id ON kernel.outbox (ce_id);
CREATE INDEX outbox_stream_seq ON kernel.outbox (stream_seq) WHERE stream_seq IS NOT NULL;

CREATE TABLE kernel.inbox (
    message_id uuid NOT NULL,
    handler text NOT NULL,
    body_hash bytea NOT NULL,
    reply text,
    reply_version bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT inbox_pkey PRIMARY KEY (message_id, handler)
);
CREATE INDEX inbox_created_at ON kernel.inbox (created_at);

CREATE TABLE kernel.positions (
    subscription text NOT NULL,
    part smallint NOT NULL,
    stream_seq bigint NOT NULL DEFAULT 0,
    CONSTRAINT positions_pkey PRIMARY KEY (subscription, part)
);

CREATE TABLE kernel.parked (
    id bigint GENERATED ALWAYS AS IDENTITY,
    subscription text NOT NULL,
    part smallint NOT NULL,
    key text NOT NULL,
    stream_seq bigint NOT NULL,
    ce_id uuid NOT NULL,
    subject text NOT NULL,
    headers jsonb NOT NULL,
    payload text NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL,
    next_attempt_at timestamptz,
    parked_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT parked_pkey PRIMARY KEY (id),
    CONSTRAINT parked_once UNIQUE (subscription, stream_seq)
);
CREATE INDEX parked_key ON kernel.parked (subscription, key, stream_seq);

CREATE TABLE kernel.effects (
    intent_id uuid NOT NULL,
    effect text NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    possible_duplicates integer NOT NULL DEFAULT 0,
    outcome text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    done_at timestamptz,
    CONSTRAINT effects_pkey PRIMARY KEY (intent_id),
    CONSTRAINT effects_state CHECK (state IN ('intended', 'started', 'done', 'unknown'))
);
CREATE INDEX effects_open ON kernel.effects (created_at) WHERE state <> 'done';

CREATE TABLE kernel.jobs (
    job text NOT NULL,
    last_firing timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT jobs_pkey PRIMARY KEY (job)
);

CREATE TABLE kernel.models (
    model text NOT NULL,
    stream text NOT NULL,
    stream_seq bigint NOT NULL DEFAULT 0,
    CONSTRAINT models_pkey PRIMARY KEY (model, stream)
);
"""


def upgrade() -> None:
    for statement in re.split(r"(?<!\\);\n", UP.strip()):
        op.execute(statement.rstrip(";").replace("\\;", ";"))


def downgrade() -> None:
    for table in ("models", "jobs", "effects", "parked", "positions", "inbox", "outbox"):
        op.execute(f"DROP TABLE kernel.{table}")
    op.execute("DROP FUNCTION kernel.ensure_partitions()")
