"""When to try again: quickly at first in the same process, later by the clock, and when to give up."""

import random
from typing import Final

from bus.errors import ServiceError

QUICK: Final = (0.1, 0.4, 1.2)
"""Seconds before the quick tries in the same process: less than 2 s in all."""
LATER: Final = (2.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 3600.0, 3600.0, 3600.0, 3600.0)
"""Seconds before the later tries; after the last one an operator must look."""
MAX_DELIVERIES: Final = 50
"""Deliveries of one message, however they ended, before it is held to crash its handler."""


def delay_after(failures: int) -> float | None:
    """Return the seconds before the next later try, with jitter; None when it is given up."""
    if failures > len(LATER):
        return None
    return LATER[failures - 1] * random.uniform(0.8, 1.2)  # noqa: S311  spreads load


def is_worth_retrying(error: BaseException) -> bool:
    """Tell whether the same message may succeed later. A refusal will be refused again."""
    if isinstance(error, ServiceError):
        return error.to_wire().retryable
    return True
