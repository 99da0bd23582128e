"""Favourites and their notices."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE favourites (
            favourite_id uuid NOT NULL,
            user_id uuid NOT NULL,
            product_id uuid NOT NULL,
            added_at timestamptz NOT NULL,
            old_paise bigint,
            new_paise bigint,
            noticed_at timestamptz,
            CONSTRAINT favourites_pk PRIMARY KEY (favourite_id),
            CONSTRAINT favourites_product_uq UNIQUE (user_id, product_id)
        )
    """)
    op.execute("CREATE INDEX favourites_page_ix ON favourites (user_id, favourite_id)")
    op.execute("CREATE INDEX favourites_product_ix ON favourites (product_id, user_id)")


def downgrade() -> None:
    op.execute("DROP TABLE favourites")
