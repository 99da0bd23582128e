"""The write side of favourites."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from kernel.context import Context, Row, Tx
from kernel.ids import to_uuid, to_wire
from kernel.sql import statement
from plugins.catalog.contract import PriceChanged
from realserv_favourites.tables import favourites

_ADD: Final = insert(favourites).values(
    favourite_id=bindparam("favourite_id"),
    user_id=bindparam("user_id"),
    product_id=bindparam("product_id"),
    added_at=bindparam("added_at"),
)
ADD: Final = statement(
    # The one that is there is written over with itself, so that it is returned.
    _ADD.on_conflict_do_update(
        constraint="favourites_product_uq", set_={"product_id": _ADD.excluded.product_id}
    ).returning(
        favourites.c.product_id,
        favourites.c.added_at,
        favourites.c.old_paise,
        favourites.c.new_paise,
        favourites.c.noticed_at,
    )
)
REMOVE: Final = statement(
    delete(favourites).where(
        favourites.c.user_id == bindparam("user_id"),
        favourites.c.product_id == bindparam("product_id"),
    )
)
LOCK_FRIENDS: Final = statement(
    # Locked in one order, so that two offers of a product that change at once do not block each other.
    select(favourites.c.user_id)
    .where(favourites.c.product_id == bindparam("product_id"))
    .order_by(favourites.c.user_id)
    .with_for_update()
)
NOTE_PRICE: Final = statement(
    update(favourites)
    .where(favourites.c.product_id == bindparam("known_product_id"))
    .values(
        old_paise=bindparam("old_paise"),
        new_paise=bindparam("new_paise"),
        noticed_at=bindparam("noticed_at"),
    )
)


class FavouriteStore:
    """Saves favourites."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, product_id: str, ctx: Context) -> Row:
        """Add a product to the actor's list; returns the row, the older one when it was there."""
        row = await self._tx.fetchrow(
            ADD,
            favourite_id=ctx.new_uuid(),
            user_id=to_uuid(ctx.actor.id),
            product_id=to_uuid(product_id),
            added_at=ctx.now(),
        )
        assert row is not None, "an insert that updates on conflict returns its row"
        return row

    async def remove(self, product_id: str, ctx: Context) -> None:
        """Take a product off the actor's list."""
        await self._tx.execute(
            REMOVE, user_id=to_uuid(ctx.actor.id), product_id=to_uuid(product_id)
        )

    async def note_price(self, event: PriceChanged, ctx: Context) -> Sequence[str]:
        """Note a new price at all favourites of the product; returns whose they are."""
        product_id = to_uuid(event.product_id)
        rows = await self._tx.fetch(LOCK_FRIENDS, product_id=product_id)
        await self._tx.execute(
            NOTE_PRICE,
            known_product_id=product_id,
            old_paise=event.old_price.amount,
            new_paise=event.new_price.amount,
            noticed_at=ctx.now(),
        )
        return [to_wire("user", row["user_id"]) for row in rows]
