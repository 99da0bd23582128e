"""Which pages of other origins may call, and what their browsers are told (CORS)."""

from typing import Final

Headers = list[tuple[bytes, bytes]]


class Cors:
    """The origins whose pages may call with credentials, and what browsers are told about it."""

    METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
    REQUEST_HEADERS: Final = (
        b"authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, "
        b"x-correlation-id"
    )
    EXPOSED: Final = b"etag, location, retry-after, x-correlation-id"

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, origin: bytes | None) -> Headers:
        """Return what an answer to a page of this origin carries."""
        if not self._origins:
            return []
        if origin not in self._origins:
            return [(b"vary", b"origin")]
        return [
            (b"vary", b"origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", self.EXPOSED),
        ]

    def preflight(self, origin: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        """Return what the answer to a preflight carries besides; nothing for other origins."""
        if origin not in self._origins:
            return ()
        return (
            (b"access-control-allow-methods", self.METHODS),
            (b"access-control-allow-headers", self.REQUEST_HEADERS),
            (b"access-control-max-age", b"600"),
        )
