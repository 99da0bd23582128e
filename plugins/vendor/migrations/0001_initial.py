"""Vendors and the capacity of their days."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vendors (
            vendor_id uuid NOT NULL,
            owner_id uuid NOT NULL,
            name text NOT NULL,
            status text NOT NULL,
            lat double precision NOT NULL,
            lon double precision NOT NULL,
            service_radius_km double precision NOT NULL,
            orders_per_day integer NOT NULL,
            gstin text,
            pan text,
            state_code text NOT NULL,
            suspended_for text,
            version integer NOT NULL,
            registered_at timestamptz NOT NULL,
            CONSTRAINT vendors_pk PRIMARY KEY (vendor_id),
            CONSTRAINT vendors_status_ck CHECK (status IN ('pending', 'approved', 'suspended')),
            CONSTRAINT vendors_orders_per_day_ck CHECK (orders_per_day > 0),
            CONSTRAINT vendors_service_radius_ck CHECK (service_radius_km > 0)
        )
    """)
    op.execute("CREATE INDEX vendors_owner_ix ON vendors (owner_id)")
    op.execute("""
        CREATE TABLE capacity_takes (
            sub_order_id uuid NOT NULL,
            vendor_id uuid NOT NULL,
            day date NOT NULL,
            status text NOT NULL,
            lapses_at timestamptz NOT NULL,
            changed_at timestamptz NOT NULL,
            CONSTRAINT capacity_takes_pk PRIMARY KEY (sub_order_id, vendor_id),
            CONSTRAINT capacity_takes_vendor_fk FOREIGN KEY (vendor_id)
                REFERENCES vendors (vendor_id),
            CONSTRAINT capacity_takes_status_ck CHECK (
                status IN ('held', 'committed', 'released')
            )
        )
    """)
    op.execute("""
        CREATE INDEX capacity_takes_held_ix ON capacity_takes (vendor_id, day, lapses_at)
        WHERE status = 'held'
    """)
    op.execute("""
        CREATE INDEX capacity_takes_changed_ix ON capacity_takes (changed_at)
        WHERE status <> 'committed'
    """)
    op.execute("""
        CREATE TABLE capacity_days (
            vendor_id uuid NOT NULL,
            day date NOT NULL,
            committed integer NOT NULL,
            CONSTRAINT capacity_days_pk PRIMARY KEY (vendor_id, day),
            CONSTRAINT capacity_days_vendor_fk FOREIGN KEY (vendor_id)
                REFERENCES vendors (vendor_id),
            CONSTRAINT capacity_days_committed_ck CHECK (committed >= 0)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE capacity_days")
    op.execute("DROP TABLE capacity_takes")
    op.execute("DROP TABLE vendors")
