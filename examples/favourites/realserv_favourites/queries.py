"""The caller's list of favourites."""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select

from kernel.context import Context
from kernel.ids import to_uuid, to_wire
from kernel.paging import open_cursor, seal_cursor
from kernel.sql import statement
from realserv_favourites.contract import FavouriteList, ListFavourites
from realserv_favourites.settings import FavouritesSettings
from realserv_favourites.tables import favourites
from realserv_favourites.views import favourite_view

LAST: Final = UUID(int=2**128 - 1)
"""Above every id: a first page begins below it."""

PAGE: Final = statement(
    select(
        favourites.c.favourite_id,
        favourites.c.product_id,
        favourites.c.added_at,
        favourites.c.old_paise,
        favourites.c.new_paise,
        favourites.c.noticed_at,
    )
    .where(
        favourites.c.user_id == bindparam("user_id"),
        favourites.c.favourite_id < bindparam("before"),
    )
    .order_by(favourites.c.favourite_id.desc())
    .limit(bindparam("rows"))
)


async def list_favourites(query: ListFavourites, ctx: Context) -> FavouriteList:
    """Give the caller's own favourites, newest first: an id carries the time at which it was made."""
    before = LAST if query.cursor is None else to_uuid(*open_cursor(query.cursor, str))
    rows = await ctx.db.fetch(
        PAGE, user_id=to_uuid(ctx.actor.id), before=before, rows=query.limit + 1
    )
    since = ctx.now() - ctx.settings(FavouritesSettings).notices_shown
    shown = rows[: query.limit]
    return FavouriteList(
        items=tuple(favourite_view(row, notices_since=since) for row in shown),
        next_cursor=(
            seal_cursor(to_wire("favourite", shown[-1]["favourite_id"]))
            if len(rows) > query.limit
            else None
        ),
    )
