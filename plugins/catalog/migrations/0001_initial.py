"""Products, offers, prices, stock with its history, reservations, and the notes of changed listings."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")


TABLES = (
    "listing_changes",
    "reservation_lines",
    "reservations",
    "stock_movements",
    "stocks",
    "prices",
    "offers",
    "vendors",
    "products",
)

UPGRADE = (
    """
    CREATE TABLE products (
        product_id uuid NOT NULL,
        name text NOT NULL,
        category text NOT NULL,
        kind text NOT NULL,
        unit text NOT NULL,
        hsn text NOT NULL,
        description text NOT NULL,
        brand text,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_products PRIMARY KEY (product_id),
        CONSTRAINT ck_products_kind CHECK (kind IN ('material', 'labour'))
    )
    """,
    """
    CREATE TABLE vendors (
        vendor_id uuid NOT NULL,
        owner_id text NOT NULL,
        name text NOT NULL,
        status text NOT NULL,
        CONSTRAINT pk_vendors PRIMARY KEY (vendor_id),
        CONSTRAINT ck_vendors_status CHECK (status IN ('pending', 'approved', 'suspended'))
    )
    """,
    "CREATE INDEX ix_vendors_owner ON vendors (owner_id)",
    """
    CREATE TABLE offers (
        offer_id uuid NOT NULL,
        product_id uuid NOT NULL,
        vendor_id uuid NOT NULL,
        sku text NOT NULL,
        price bigint NOT NULL,
        currency text NOT NULL,
        min_quantity bigint NOT NULL,
        paused boolean NOT NULL,
        version integer NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_offers PRIMARY KEY (offer_id),
        CONSTRAINT fk_offers_product FOREIGN KEY (product_id) REFERENCES products,
        CONSTRAINT fk_offers_vendor FOREIGN KEY (vendor_id) REFERENCES vendors,
        CONSTRAINT uq_offers_sku UNIQUE (vendor_id, sku),
        CONSTRAINT ck_offers_price CHECK (price > 0),
        CONSTRAINT ck_offers_currency CHECK (currency = 'INR'),
        CONSTRAINT ck_offers_min_quantity CHECK (min_quantity > 0)
    )
    """,
    "CREATE INDEX ix_offers_product ON offers (product_id)",
    "CREATE INDEX ix_offers_vendor ON offers (vendor_id, offer_id)",
    """
    CREATE TABLE prices (
        offer_id uuid NOT NULL,
        offer_version integer NOT NULL,
        price bigint NOT NULL,
        currency text NOT NULL,
        since timestamptz NOT NULL,
        changed_by text NOT NULL,
        CONSTRAINT pk_prices PRIMARY KEY (offer_id, offer_version),
        CONSTRAINT fk_prices_offer FOREIGN KEY (offer_id) REFERENCES offers,
        CONSTRAINT ck_prices_price CHECK (price > 0)
    )
    """,
    """
    CREATE TABLE stocks (
        offer_id uuid NOT NULL,
        on_hand bigint NOT NULL,
        reserved bigint NOT NULL,
        filled bigint NOT NULL,
        CONSTRAINT pk_stocks PRIMARY KEY (offer_id),
        CONSTRAINT fk_stocks_offer FOREIGN KEY (offer_id) REFERENCES offers,
        CONSTRAINT ck_stocks_on_hand CHECK (on_hand >= 0),
        CONSTRAINT ck_stocks_reserved CHECK (reserved >= 0),
        CONSTRAINT ck_stocks_never_oversold CHECK (reserved <= on_hand)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE stock_movements (
        movement_id bigint GENERATED ALWAYS AS IDENTITY,
        offer_id uuid NOT NULL,
        on_hand_change bigint NOT NULL,
        reserved_change bigint NOT NULL,
        reason text NOT NULL,
        reservation_id uuid,
        moved_by text NOT NULL,
        moved_at timestamptz NOT NULL,
        CONSTRAINT pk_stock_movements PRIMARY KEY (movement_id),
        CONSTRAINT fk_stock_movements_offer FOREIGN KEY (offer_id) REFERENCES offers
    )
    """,
    "CREATE INDEX ix_stock_movements_offer ON stock_movements (offer_id, movement_id)",
    """
    CREATE TABLE reservations (
        reservation_id uuid NOT NULL,
        order_id uuid,
        expires_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_reservations PRIMARY KEY (reservation_id)
    )
    """,
    """
    CREATE TABLE reservation_lines (
        reservation_id uuid NOT NULL,
        offer_id uuid NOT NULL,
        quantity bigint NOT NULL,
        state text NOT NULL,
        CONSTRAINT pk_reservation_lines PRIMARY KEY (reservation_id, offer_id),
        CONSTRAINT fk_reservation_lines_reservation FOREIGN KEY (reservation_id)
            REFERENCES reservations,
        CONSTRAINT fk_reservation_lines_offer FOREIGN KEY (offer_id) REFERENCES offers,
        CONSTRAINT ck_reservation_lines_quantity CHECK (quantity > 0),
        CONSTRAINT ck_reservation_lines_state CHECK (
            state IN ('held', 'committed', 'released', 'lapsed', 'short')
        )
    )
    """,
    """
    CREATE TABLE listing_changes (
        change_id bigint GENERATED ALWAYS AS IDENTITY,
        product_id uuid NOT NULL,
        tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
        changed_at timestamptz NOT NULL,
        CONSTRAINT pk_listing_changes PRIMARY KEY (change_id)
    )
    """,
    "CREATE INDEX ix_listing_changes_tx ON listing_changes (tx)",
    "CREATE INDEX ix_listing_changes_changed_at ON listing_changes (changed_at)",
)
