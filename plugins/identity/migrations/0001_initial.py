"""Users, sessions, refresh tokens."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE users (
            user_id uuid NOT NULL,
            email text NOT NULL,
            email_key text NOT NULL,
            name text NOT NULL,
            phone text,
            roles text[] NOT NULL,
            password_hash text NOT NULL,
            status text NOT NULL,
            version integer NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT users_pk PRIMARY KEY (user_id),
            CONSTRAINT users_email_key_uq UNIQUE (email_key),
            CONSTRAINT users_status_ck CHECK (status IN ('active', 'suspended')),
            CONSTRAINT users_roles_ck CHECK (
                cardinality(roles) > 0
                AND roles <@ ARRAY['buyer', 'vendor', 'support', 'finance', 'viewer', 'admin']
            )
        )
    """)
    op.execute("""
        CREATE TABLE sessions (
            session_id uuid NOT NULL,
            user_id uuid NOT NULL,
            status text NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            revoked_at timestamptz,
            revoked_for text,
            CONSTRAINT sessions_pk PRIMARY KEY (session_id),
            CONSTRAINT sessions_user_fk FOREIGN KEY (user_id) REFERENCES users (user_id),
            CONSTRAINT sessions_status_ck CHECK (status IN ('open', 'revoked')),
            CONSTRAINT sessions_revoked_for_ck CHECK (revoked_for IN ('log_out', 'reuse')),
            CONSTRAINT sessions_revoked_at_ck CHECK (
                (status = 'revoked') = (revoked_at IS NOT NULL)
            )
        )
    """)
    op.execute("CREATE INDEX sessions_user_ix ON sessions (user_id)")
    op.execute("CREATE INDEX sessions_expires_ix ON sessions (expires_at)")
    op.execute("""
        CREATE TABLE refresh_tokens (
            token_hash bytea NOT NULL,
            session_id uuid NOT NULL,
            issued_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            spent_at timestamptz,
            CONSTRAINT refresh_tokens_pk PRIMARY KEY (token_hash),
            CONSTRAINT refresh_tokens_session_fk FOREIGN KEY (session_id)
                REFERENCES sessions (session_id) ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX refresh_tokens_session_ix ON refresh_tokens (session_id)")
    op.execute("CREATE INDEX refresh_tokens_expires_ix ON refresh_tokens (expires_at)")


def downgrade() -> None:
    op.execute("DROP TABLE refresh_tokens")
    op.execute("DROP TABLE sessions")
    op.execute("DROP TABLE users")
