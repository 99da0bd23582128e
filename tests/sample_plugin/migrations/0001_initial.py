"""Tallies, and a journal of all that was done to them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE tallies (tally_id text CONSTRAINT tallies_pkey PRIMARY KEY, total bigint NOT NULL)"
    )
    op.execute(
        """
        CREATE TABLE journal (
            serial bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT journal_pkey PRIMARY KEY,
            tally_id text NOT NULL, number bigint NOT NULL
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE journal")
    op.execute("DROP TABLE tallies")
