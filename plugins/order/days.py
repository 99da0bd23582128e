"""The trade's calendar: capacity and tax rates go by the day in India."""

from datetime import date, datetime, timedelta, timezone
from typing import Final

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")


def day_in_india(at: datetime) -> date:
    """Return the calendar day that it is in India at a moment."""
    return at.astimezone(IST).date()
