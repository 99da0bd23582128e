"""The table of favourites. It holds ids and prices, no personal data."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    Uuid,
)

metadata: Final = MetaData()

favourites: Final = Table(
    "favourites",
    metadata,
    Column("favourite_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("product_id", Uuid, nullable=False),
    Column("added_at", DateTime(timezone=True), nullable=False),
    Column("old_paise", BigInteger),
    Column("new_paise", BigInteger),
    Column("noticed_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("favourite_id", name="favourites_pk"),
    UniqueConstraint("user_id", "product_id", name="favourites_product_uq"),
    Index("favourites_page_ix", "user_id", "favourite_id"),
    Index("favourites_product_ix", "product_id", "user_id"),
)
