"""The published language of favourites."""

from datetime import datetime
from typing import ClassVar, Final

from bus.message import Command, Event, Nothing, Query, View
from kernel.money import Money
from kernel.paging import Cursor, Limit
from plugins.catalog.contract import ProductId
from plugins.identity.contract import UserId

OWNER: Final = "favourites"


class PriceNotice(View, frozen=True, kw_only=True):
    """An offer of the product became cheaper."""

    old_price: Money
    new_price: Money
    noticed_at: datetime


class FavouriteView(View, frozen=True, kw_only=True):
    """A favourite, with the newest notice of a lower price."""

    product_id: ProductId
    added_at: datetime
    notice: PriceNotice | None = None


class FavouriteList(View, frozen=True, kw_only=True):
    """A page of favourites."""

    items: tuple[FavouriteView, ...]
    next_cursor: str | None = None


class AddFavourite(Command[FavouriteView], frozen=True, kw_only=True):
    """Put a product on the caller's list. Adding it again changes nothing."""

    product_id: ProductId


class RemoveFavourite(Command[Nothing], frozen=True, kw_only=True):
    """Take a product off the caller's list. Removing it again changes nothing."""

    product_id: ProductId


class ListFavourites(Query[FavouriteList], frozen=True, kw_only=True):
    """List the caller's favourites, newest first."""

    limit: Limit = 20
    cursor: Cursor | None = None


class FavouriteCheaper(Event, frozen=True, kw_only=True):
    """An offer of a buyer's favourite product became cheaper."""

    KEY: ClassVar[str] = "user_id"

    user_id: UserId
    product_id: ProductId
    old_price: Money
    new_price: Money
