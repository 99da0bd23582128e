"""What identity refuses, one class per cause."""

from kernel.errors import Conflict, FieldFault, Invalid, NotFound, Unauthenticated, Unavailable


class EmailTakenError(Conflict):
    """Somebody has registered with this e-mail, in whatever case it was typed."""

    code = "identity.email_taken"
    title = "This e-mail is registered already"


class WeakPasswordError(Invalid):
    """The password is one that attackers try first."""

    code = "identity.weak_password"
    title = "This password is too easy to guess"

    def __init__(self, reason: str) -> None:
        super().__init__(f"password: {reason}", errors=(FieldFault("password", reason),))


class BadCredentialsError(Unauthenticated):
    """E-mail and password do not belong together; it is not said which of them is wrong."""

    code = "identity.bad_credentials"
    title = "E-mail or password is wrong"


class HashingBusyError(Unavailable):
    """More passwords wait to be checked than this host takes. Nothing was started."""

    code = "identity.busy"
    title = "Too many people are logging in just now"

    def __init__(self) -> None:
        super().__init__(retry_after=1)


class BadRefreshTokenError(Unauthenticated):
    """The refresh token is none of ours, or so old that it was forgotten."""

    code = "identity.bad_refresh_token"
    title = "This refresh token is not known"


class RefreshTokenReusedError(Unauthenticated):
    """A refresh token came that was spent before: it may be stolen, so its session was ended."""

    code = "identity.refresh_token_reused"
    title = "This refresh token was used before; the session is ended"


class SessionExpiredError(Unauthenticated):
    """The session was not renewed in time."""

    code = "identity.session_expired"
    title = "The session has expired; log in again"


class SessionEndedError(Unauthenticated):
    """The session was ended before its time."""

    code = "identity.session_revoked"
    title = "The session was ended; log in again"


class UserSuspendedError(Unauthenticated):
    """The user may not use the system now."""

    code = "identity.user_suspended"
    title = "This user is suspended"


class UserNotFoundError(NotFound):
    """There is no such user."""

    code = "identity.user_not_found"
    title = "There is no such user"
