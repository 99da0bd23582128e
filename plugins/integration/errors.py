"""What integration refuses."""

from typing import ClassVar

from kernel.errors import NotFound


class PlaceNotFoundError(NotFound):
    """No source of places knows the pin code, or any locality near the point."""

    code: ClassVar[str] = "integration.place_not_found"
    title: ClassVar[str] = "No such place is known"
