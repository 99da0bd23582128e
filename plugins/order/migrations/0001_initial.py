"""Orders, sub-orders, lines and their history."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE orders (
            order_id uuid CONSTRAINT orders_pkey PRIMARY KEY,
            buyer_id uuid NOT NULL,
            status text NOT NULL
                CONSTRAINT orders_status_check
                CHECK (status IN ('placed', 'confirmed', 'completed', 'cancelled')),
            delivery_status text NOT NULL
                CONSTRAINT orders_delivery_status_check
                CHECK (delivery_status IN
                    ('waiting', 'preparing', 'on_the_way', 'delivered', 'cancelled')),
            payment_id uuid NOT NULL CONSTRAINT orders_payment_id_key UNIQUE,
            payment_method text NOT NULL
                CONSTRAINT orders_payment_method_check CHECK (payment_method IN ('cod', 'razorpay')),
            payment_status text NOT NULL
                CONSTRAINT orders_payment_status_check
                CHECK (payment_status IN
                    ('pending', 'captured', 'failed', 'refunded', 'cash_due', 'cash_collected')),
            reservation_id uuid NOT NULL,
            subtotal bigint NOT NULL,
            tax bigint NOT NULL,
            delivery bigint NOT NULL,
            discount bigint NOT NULL,
            total bigint NOT NULL,
            line1 text NOT NULL,
            city text NOT NULL,
            pincode text NOT NULL,
            lat double precision NOT NULL,
            lon double precision NOT NULL,
            placed_at timestamptz NOT NULL,
            pay_by timestamptz,
            cancel_reason text,
            version integer NOT NULL,
            CONSTRAINT orders_parts_add_up CHECK (total = subtotal + tax + delivery - discount)
        )
        """
    )
    op.execute("CREATE INDEX orders_of_buyer ON orders (buyer_id, placed_at DESC, order_id DESC)")
    op.execute(
        """
        CREATE TABLE sub_orders (
            sub_order_id uuid CONSTRAINT sub_orders_pkey PRIMARY KEY,
            order_id uuid NOT NULL
                CONSTRAINT sub_orders_order_id_fkey REFERENCES orders (order_id),
            position integer NOT NULL,
            vendor_id uuid NOT NULL,
            status text NOT NULL
                CONSTRAINT sub_orders_status_check
                CHECK (status IN ('waiting', 'assigned', 'accepted', 'dispatched', 'delivered',
                    'rejected', 'cancelled')),
            delivery bigint NOT NULL,
            reservation_id uuid NOT NULL,
            assignment integer NOT NULL,
            asked uuid[] NOT NULL,
            accept_by timestamptz,
            placed_at timestamptz NOT NULL,
            CONSTRAINT sub_orders_position_key UNIQUE (order_id, position)
        )
        """
    )
    op.execute(
        "CREATE INDEX sub_orders_of_vendor "
        "ON sub_orders (vendor_id, placed_at DESC, sub_order_id DESC)"
    )
    op.execute(
        """
        CREATE TABLE order_lines (
            sub_order_id uuid NOT NULL
                CONSTRAINT order_lines_sub_order_id_fkey REFERENCES sub_orders (sub_order_id),
            position integer NOT NULL,
            offer_id uuid NOT NULL,
            product_id uuid NOT NULL,
            hsn text NOT NULL,
            unit text NOT NULL,
            quantity bigint NOT NULL CONSTRAINT order_lines_quantity_check CHECK (quantity > 0),
            unit_price bigint NOT NULL,
            amount bigint NOT NULL,
            tax_rate_bp integer NOT NULL,
            tax bigint NOT NULL CONSTRAINT order_lines_equal_halves CHECK (tax % 2 = 0),
            CONSTRAINT order_lines_pkey PRIMARY KEY (sub_order_id, position)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE order_history (
            order_id uuid NOT NULL
                CONSTRAINT order_history_order_id_fkey REFERENCES orders (order_id),
            version integer NOT NULL,
            name text NOT NULL,
            at timestamptz NOT NULL,
            sub_order_id uuid,
            vendor_id uuid,
            reason text,
            note text,
            CONSTRAINT order_history_pkey PRIMARY KEY (order_id, version)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE order_history")
    op.execute("DROP TABLE order_lines")
    op.execute("DROP TABLE sub_orders")
    op.execute("DROP TABLE orders")
