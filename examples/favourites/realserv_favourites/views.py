"""Rows as the contract shows them."""

from datetime import datetime

from kernel.context import Row
from kernel.ids import to_wire
from kernel.money import Money
from realserv_favourites.contract import FavouriteView, PriceNotice


def favourite_view(row: Row, *, notices_since: datetime) -> FavouriteView:
    """Return a favourite, with its notice unless that is older than ``notices_since``."""
    notice = None
    if row["noticed_at"] is not None and row["noticed_at"] >= notices_since:
        notice = PriceNotice(
            old_price=Money(row["old_paise"]),
            new_price=Money(row["new_paise"]),
            noticed_at=row["noticed_at"],
        )
    return FavouriteView(
        product_id=to_wire("product", row["product_id"]), added_at=row["added_at"], notice=notice
    )
