"""Alembic's environment for every set of migrations; the kernel hands over an open connection."""

from alembic import context

attributes = context.config.attributes
connection = attributes["connection"]
schema = attributes["schema"]

context.configure(
    connection=connection,
    target_metadata=None,
    version_table_schema=schema,
    version_table=attributes["version_table"],
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
