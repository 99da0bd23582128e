"""HTTP routes as part of a handler's declaration. Paths are given without ``/api/v1``."""

from typing import Final, Literal

import msgspec

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """How one message is reached over HTTP.

    Path, query and body are merged into the message; the path wins, a field given twice is refused.
    ``raw`` hands the body over untouched: the message then has ``body: bytes`` and one ``str`` field
    for each named header (``x-razorpay-signature`` is ``x_razorpay_signature``).
    ``live`` streams changes: the message has ``after: int``, its reply ``changes`` of views with
    ``version: int`` and ``name: str``; ``bells`` names the plugins whose events about ``key`` ring.
    ``redirect`` answers 303 to the reply's ``location``; ``download`` answers the reply's ``content``
    as ``media_type`` and ``filename``.
    """

    method: Method
    path: str
    status: int = 200
    raw: tuple[str, ...] = ()
    is_raw: bool = False
    is_live: bool = False
    bells: tuple[str, ...] = ()
    key: str = ""
    is_redirect: bool = False
    is_download: bool = False
    timeout: float = 10.0

    @property
    def path_fields(self) -> tuple[str, ...]:
        """The names of the fields that the path carries."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


def Get(path: str, *, is_redirect: bool = False, is_download: bool = False) -> Route:  # noqa: N802  reads as HTTP
    """Declare ``GET path``."""
    return Route(method="GET", path=path, is_redirect=is_redirect, is_download=is_download)


def Post(path: str, *, status: int = 200, timeout: float = 10.0) -> Route:  # noqa: N802
    """Declare ``POST path``; 204 answers without a body."""
    return Route(method="POST", path=path, status=status, timeout=timeout)


def RawPost(path: str, *, headers: tuple[str, ...], status: int = 200) -> Route:  # noqa: N802
    """Declare a ``POST`` whose body reaches the plugin byte for byte, for signatures."""
    return Route(method="POST", path=path, status=status, raw=headers, is_raw=True)


def Put(path: str, *, status: int = 200) -> Route:  # noqa: N802
    """Declare ``PUT path``."""
    return Route(method="PUT", path=path, status=status)


def Patch(path: str, *, status: int = 200) -> Route:  # noqa: N802
    """Declare ``PATCH path``."""
    return Route(method="PATCH", path=path, status=status)


def Delete(path: str, *, status: int = 204) -> Route:  # noqa: N802
    """Declare ``DELETE path``."""
    return Route(method="DELETE", path=path, status=status)


def Live(path: str, *, key: str, bells: tuple[str, ...]) -> Route:  # noqa: N802
    """Declare a resumable server-sent event stream at ``GET path``."""
    return Route(method="GET", path=path, is_live=True, key=key, bells=bells)


API_PREFIX: Final = "/api/v1"
