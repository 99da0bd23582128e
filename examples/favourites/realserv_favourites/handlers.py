"""What becomes of favourites on command, and when a price changes."""

from bus.message import Nothing
from kernel.context import Context
from plugins.catalog.contract import GetProduct, PriceChanged
from realserv_favourites.contract import (
    AddFavourite,
    FavouriteCheaper,
    FavouriteView,
    RemoveFavourite,
)
from realserv_favourites.settings import FavouritesSettings
from realserv_favourites.store import FavouriteStore
from realserv_favourites.views import favourite_view


async def add_favourite(command: AddFavourite, ctx: Context) -> FavouriteView:
    """Put a product on the caller's list; catalog refuses one that does not exist."""
    await ctx.ask(GetProduct(product_id=command.product_id))
    async with ctx.transaction() as tx:
        row = await FavouriteStore(tx).add(command.product_id, ctx)
    shown = ctx.settings(FavouritesSettings).notices_shown
    return favourite_view(row, notices_since=ctx.now() - shown)


async def remove_favourite(command: RemoveFavourite, ctx: Context) -> Nothing:
    """Take a product off the caller's list."""
    async with ctx.transaction() as tx:
        await FavouriteStore(tx).remove(command.product_id, ctx)
    return Nothing()


async def tell_of_lower_price(event: PriceChanged, ctx: Context) -> None:
    """Tell every buyer who likes the product that an offer of it became cheaper."""
    async with ctx.transaction() as tx:
        if event.new_price >= event.old_price:
            return
        for user_id in await FavouriteStore(tx).note_price(event, ctx):
            tx.emit(
                FavouriteCheaper(
                    user_id=user_id,
                    product_id=event.product_id,
                    old_price=event.old_price,
                    new_price=event.new_price,
                )
            )
