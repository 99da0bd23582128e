"""Vendors' sales by day, read from the model that ``projections`` folds."""

from datetime import date, timedelta
from typing import Final

from kernel.context import Context, Row
from kernel.errors import invalid_field
from kernel.ids import to_uuid
from kernel.money import Money
from kernel.sql import statement
from plugins.order.contract import ListSales, SalesByDay, SalesOfDay
from plugins.order.days import day_in_india
from plugins.order.errors import InboxNotFoundError
from plugins.order.sourcing import vendors_of_caller

USUAL_DAYS: Final = 30
LONGEST: Final = timedelta(days=366)

SALES_OF_VENDOR: Final = statement(
    """
    SELECT ordered_on, count(*) AS sub_orders,
        cast(sum(amount) AS bigint) AS ordered,
        cast(coalesce(sum(amount) FILTER (WHERE state = 'delivered'), 0) AS bigint) AS delivered,
        cast(coalesce(sum(amount) FILTER (WHERE state = 'cancelled'), 0) AS bigint) AS cancelled
    FROM vendor_sales
    WHERE vendor_id = :vendor_id AND ordered_on BETWEEN :since AND :until
    GROUP BY ordered_on ORDER BY ordered_on DESC
    """
)


async def list_sales(query: ListSales, ctx: Context) -> SalesByDay:
    """Add up what was ordered of a vendor, for its people and for staff."""
    until = query.until or day_in_india(ctx.now())
    since = query.since or date.fromordinal(max(1, until.toordinal() - USUAL_DAYS + 1))
    if not timedelta() <= until - since <= LONGEST:
        raise invalid_field("since", "must be before until, by a year at the most")
    if not ctx.actor.may("sales:read_any") and query.vendor_id not in await vendors_of_caller(ctx):
        raise InboxNotFoundError
    rows = await ctx.db.fetch(
        SALES_OF_VENDOR, vendor_id=to_uuid(query.vendor_id), since=since, until=until
    )
    return SalesByDay(vendor_id=query.vendor_id, days=tuple(_day(row) for row in rows))


def _day(row: Row) -> SalesOfDay:
    return SalesOfDay(
        day=row["ordered_on"],
        sub_orders=row["sub_orders"],
        ordered=Money(row["ordered"]),
        delivered=Money(row["delivered"]),
        cancelled=Money(row["cancelled"]),
    )
