"""Settings of favourites."""

from datetime import timedelta

from kernel.settings import Settings


class FavouritesSettings(Settings, frozen=True, kw_only=True):
    """What a deployment may decide about favourites."""

    notices_shown: timedelta = timedelta(days=30)
    """How long the list shows that a price fell."""
