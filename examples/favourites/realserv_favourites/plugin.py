"""The declaration of favourites."""

from typing import Final

from kernel.http import Delete, Get, Post
from kernel.plugin import Permission, Plugin
from plugins.catalog.contract import GetProduct, PriceChanged
from realserv_favourites import handlers, queries
from realserv_favourites.contract import (
    AddFavourite,
    FavouriteCheaper,
    ListFavourites,
    RemoveFavourite,
)
from realserv_favourites.settings import FavouritesSettings

KEEP: Final = "favourites:keep"
READ: Final = "favourites:read"

plugin: Final = Plugin(
    "favourites",
    "1.0.0",
    summary="A list of favourite products per buyer, told when a price falls.",
    package="realserv_favourites",
    settings=FavouritesSettings,
    needs=("identity", "catalog>=1"),
    asks=(GetProduct,),
    emits=(FavouriteCheaper,),
    permissions=(
        Permission(KEEP, "Keep a list of favourite products", roles=("buyer", "admin")),
        Permission(READ, "See one's own list of favourite products", roles=("buyer", "admin")),
    ),
)

plugin.command(
    AddFavourite, handlers.add_favourite, http=Post("/favourites", status=201), allow=KEEP
)
plugin.command(
    RemoveFavourite, handlers.remove_favourite, http=Delete("/favourites/{product_id}"), allow=KEEP
)
plugin.query(ListFavourites, queries.list_favourites, http=Get("/favourites"), allow=READ)
plugin.react(PriceChanged, handlers.tell_of_lower_price)
