"""Error families. A plugin subclasses a family, one class per cause, and gives it a stable ``code``.

The same class becomes problem details over HTTP, error headers on the bus, and "refused, do not
retry" or "try again" in a consumer.
"""

from typing import ClassVar

from bus.errors import FieldFault, ServiceError

__all__ = [
    "Conflict",
    "Denied",
    "FieldFault",
    "Gone",
    "Invalid",
    "NotFound",
    "NothingHappened",
    "RateLimited",
    "ServiceError",
    "Unauthenticated",
    "Unavailable",
    "invalid_field",
]


class Invalid(ServiceError):  # noqa: N818  the family's name is the trade's word, not a suffix
    """The input breaks a rule that the caller could have known."""

    code: ClassVar[str] = "kernel.invalid"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The request is not valid"


class Unauthenticated(ServiceError):  # noqa: N818
    """Nobody is known to be calling, or the credential does not hold."""

    code: ClassVar[str] = "kernel.unauthenticated"
    status: ClassVar[int] = 401
    title: ClassVar[str] = "Log in first"


class Denied(ServiceError):  # noqa: N818
    """The caller is known and may not do this."""

    code: ClassVar[str] = "kernel.denied"
    status: ClassVar[int] = 403
    title: ClassVar[str] = "You may not do this"


class NotFound(ServiceError):  # noqa: N818
    """There is no such thing, or none that this caller may see."""

    code: ClassVar[str] = "kernel.not_found"
    status: ClassVar[int] = 404
    title: ClassVar[str] = "There is no such thing"


class Conflict(ServiceError):  # noqa: N818
    """The state of things does not allow this now."""

    code: ClassVar[str] = "kernel.conflict"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The current state does not allow this"


class Gone(ServiceError):  # noqa: N818
    """There was such a thing; it is no more."""

    code: ClassVar[str] = "kernel.gone"
    status: ClassVar[int] = 410
    title: ClassVar[str] = "It is no longer there"


class RateLimited(ServiceError):  # noqa: N818
    """Too many requests; ``retry_after`` says when to come back."""

    code: ClassVar[str] = "kernel.rate_limited"
    status: ClassVar[int] = 429
    retryable: ClassVar[bool] = True
    title: ClassVar[str] = "Too many requests"


class Unavailable(ServiceError):  # noqa: N818
    """Something that is needed is away; the same request may succeed later."""

    code: ClassVar[str] = "kernel.unavailable"
    status: ClassVar[int] = 503
    retryable: ClassVar[bool] = True
    title: ClassVar[str] = "The service is not available now"


def invalid_field(field: str, message: str) -> Invalid:
    """Return the refusal of one field, for rules that the type cannot say."""
    return Invalid(f"{field}: {message}", errors=(FieldFault(field, message),))


class NothingHappened(Unavailable):
    """An effect failed before its provider took it: repeating it cannot double anything."""

    code: ClassVar[str] = "kernel.nothing_happened"
    title: ClassVar[str] = "The provider was not reached"
