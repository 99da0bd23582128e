"""The settings of catalog."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from kernel.settings import Settings


class CatalogSettings(Settings, frozen=True, kw_only=True):
    """How fresh and how large the searchable listings of one process are."""

    checks_per_second: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """How often lists ask the database whether anything changed; beyond it a list may be a hundredth of a second old."""

    remembered_answers: Annotated[int, Meta(ge=0, le=100_000)] = 512
    """How many answers of the list are remembered until a listing changes."""

    changes_kept: timedelta = timedelta(hours=1)
    """How long notes of changed listings are kept; a process that looked away for half of it loads all anew."""
