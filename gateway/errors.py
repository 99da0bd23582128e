"""What the gateway itself refuses, one class per cause."""

from kernel.errors import Invalid, NotFound, ServiceError, Unauthenticated, Unavailable


class TokenMissingError(Unauthenticated):
    """The route needs a caller, and the request has no bearer token."""

    code = "gateway.token_missing"
    title = "Log in first"


class TokenExpiredError(Unauthenticated):
    """The access token was good once; refresh it."""

    code = "gateway.token_expired"
    title = "The access token has expired"


class TokenInvalidError(Unauthenticated):
    """The access token is not one that identity gave for this API."""

    code = "gateway.token_invalid"
    title = "The access token is not valid"


class KeysUnavailableError(Unavailable):
    """No public keys are known yet, and identity is away: no token can be verified now."""

    code = "gateway.keys_unavailable"
    title = "Access tokens cannot be verified now"


class PluginDisabledError(Unavailable):
    """The plugin behind this route is switched off."""

    code = "kernel.plugin_disabled"
    title = "This part of the service is switched off"


class TooManyStreamsError(Unavailable):
    """The process holds as many live streams as it admits."""

    code = "gateway.too_many_streams"
    title = "There are too many live streams now"


class MalformedJsonError(ServiceError):
    """The body is not JSON, or is nested too deeply to be read."""

    code = "gateway.malformed_json"
    status = 400
    title = "The body is not readable JSON"


class MalformedRequestError(ServiceError):
    """The request line, a header or the query string cannot be read."""

    code = "gateway.malformed_request"
    status = 400
    title = "The request cannot be read"


class BodyTooLargeError(ServiceError):
    """The body is over the limit; larger things go by presigned upload."""

    code = "gateway.body_too_large"
    status = 413
    title = "The body is too large"


class BodyTooSlowError(ServiceError):
    """The body did not arrive in time."""

    code = "gateway.body_too_slow"
    status = 408
    retryable = True
    title = "The body did not arrive in time"


class UnsupportedMediaTypeError(ServiceError):
    """The body is of a type, or packed in a way, that this route does not read."""

    code = "gateway.unsupported_media_type"
    status = 415
    title = "The body must be JSON"


class FieldGivenTwiceError(Invalid):
    """A field stands in two of path, query and body, or twice in the query."""

    code = "gateway.field_given_twice"
    title = "A field was given twice"


class UnknownParameterError(Invalid):
    """The query has a parameter that this route does not know."""

    code = "gateway.unknown_parameter"
    title = "A query parameter is not known"


class IdempotencyKeyError(Invalid):
    """The Idempotency-Key is empty, too long or not printable."""

    code = "gateway.idempotency_key_invalid"
    title = "The Idempotency-Key is not valid"


class NoSuchRouteError(NotFound):
    """Nothing is served at this path."""

    code = "gateway.no_such_route"
    title = "Nothing is served here"


class MethodNotAllowedError(ServiceError):
    """The path is served, but not by this method; ``Allow`` names those that are."""

    code = "gateway.method_not_allowed"
    status = 405
    title = "The method is not allowed here"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"Allowed are {allowed}")
        self.allowed = allowed


class ReplyError(Exception):
    """A plugin's reply lacks what its route promises: a defect, answered as an internal error."""
