"""The kernel's own database: what operators switched, and the keys of the gateways."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


UP = """
CREATE TABLE plugin_overrides (
    plugin text NOT NULL,
    is_enabled boolean NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plugin_overrides_pkey PRIMARY KEY (plugin)
);
CREATE SEQUENCE override_version;
CREATE TABLE gateway_keys (
    kid text NOT NULL,
    public_key bytea NOT NULL,
    holder text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT gateway_keys_pkey PRIMARY KEY (kid)
);
CREATE TABLE operator_acts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    operator text NOT NULL,
    act text NOT NULL,
    object text NOT NULL,
    CONSTRAINT operator_acts_pkey PRIMARY KEY (id)
);
"""


def upgrade() -> None:
    for statement in UP.strip().split(";\n"):
        op.execute(statement.rstrip(";"))


def downgrade() -> None:
    for table in ("operator_acts", "gateway_keys", "plugin_overrides"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP SEQUENCE override_version")
