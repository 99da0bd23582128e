"""Cron schedules: five fields with a time zone, as people write them, for a server that wants six."""

import re
from typing import Final
from zoneinfo import ZoneInfo

_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
)
_PART: Final = re.compile(r"^(\*|\d+(?:-\d+)?)(?:/(\d+))?$")


class ScheduleError(ValueError):
    """A cron expression that nobody can follow."""


def server_cron(expression: str) -> str:
    """Check five fields and put the seconds before them; raises ScheduleError naming the field."""
    fields = expression.split()
    if len(fields) != 5:
        raise ScheduleError(f"{expression!r} must have 5 fields, it has {len(fields)}")
    for text, (name, low, high) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            _check(part, name, low, high, expression)
    return " ".join(["0", *fields])


def cron_headers(expression: str, timezone: str, target: str) -> dict[str, str]:
    """Return the headers of a schedule message that fires by cron."""
    ZoneInfo(timezone)
    return {
        "Nats-Schedule": server_cron(expression),
        "Nats-Schedule-Target": target,
        "Nats-Schedule-Time-Zone": timezone,
    }


def _check(part: str, name: str, low: int, high: int, expression: str) -> None:
    match = _PART.match(part)
    if match is None:
        raise ScheduleError(f"{part!r} is no {name} in {expression!r}")
    numbers = [int(number) for number in re.findall(r"\d+", match[1])]
    if any(not low <= number <= high for number in numbers) or numbers != sorted(numbers):
        raise ScheduleError(f"{part!r} is out of range for {name} in {expression!r}")
    if match[2] is not None and not 1 <= int(match[2]) <= high:
        raise ScheduleError(f"{part!r} steps out of range for {name} in {expression!r}")
