"""Points in time as operators write them: ``2026-05-01``, ``2026-05-01T10:00+05:30``, ``90m``, ``7d``."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import rich_click as click

INDIA: Final = ZoneInfo("Asia/Kolkata")
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Moment(click.ParamType[datetime]):
    """A date or time, Indian unless it says otherwise, or how long ago."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the moment in UTC."""
        if isinstance(value, datetime):
            return value
        ago = re.fullmatch(r"(\d{1,6})([smhd])", value)
        if ago:
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * SECONDS[ago[2]])
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a time such as 2026-05-01T10:00 nor an age such as 2h")
        return (moment if moment.tzinfo else moment.replace(tzinfo=INDIA)).astimezone(UTC)


MOMENT: Final = Moment()


def shown(moment: datetime | None) -> str:
    """Return a moment for people, in the time of their machine."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
