"""What can go wrong on the way to an answer, and how it is written in message headers.

``ServiceError`` is the wire form of every refusal: the kernel's error families derive from it, so
one class becomes ``Nats-Service-Error`` headers on the bus and problem details over HTTP.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec


class FieldFault(msgspec.Struct, frozen=True):
    """One field of the input that was refused: where it stands, and why."""

    field: str
    message: str


class ServiceError(Exception):
    """A refusal with a stable code. ``retryable`` says whether the same request may succeed later."""

    code: ClassVar[str] = "bus.error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    title: ClassVar[str] = "The service failed"

    def __init__(
        self,
        message: str | None = None,
        *,
        errors: tuple[FieldFault, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or self.title)
        self.message = message or self.title
        self.errors = errors
        self.retry_after = retry_after

    def to_wire(self) -> "WireError":
        """Return the form in which this error crosses the bus."""
        return WireError(
            code=self.code,
            status=self.status,
            title=self.title,
            message=self.message,
            retryable=self.retryable,
            retry_after=self.retry_after,
            errors=self.errors,
        )


class WireError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an error reply; the code and status stand in the headers as well."""

    code: str
    status: int
    title: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    errors: tuple[FieldFault, ...] = ()


class RemoteError(ServiceError):
    """An error that another part answered; it keeps that part's code, status and text."""

    code: ClassVar[str] = "bus.remote_error"

    def __init__(self, wire: WireError) -> None:
        super().__init__(wire.message, errors=wire.errors, retry_after=wire.retry_after)
        self.wire = wire

    def to_wire(self) -> WireError:
        """Return the error as it was received."""
        return self.wire


class NoResponderError(ServiceError):
    """Nobody serves the subject now. Known at once, without waiting for the deadline."""

    code = "bus.no_responder"
    status = 503
    retryable = True
    title = "The service is not available now"


class DeadlineError(ServiceError):
    """The answer did not come within the remaining time. Whether the work was done is unknown."""

    code = "bus.deadline_exceeded"
    status = 504
    retryable = True
    title = "The service did not answer in time"


class OverloadedError(ServiceError):
    """The service has as much in flight as it admits. Nothing was started."""

    code = "bus.overloaded"
    status = 503
    retryable = True
    title = "The service is busy"


class DisconnectedError(ServiceError):
    """There is no connection to the bus now. Nothing was sent."""

    code = "bus.disconnected"
    status = 503
    retryable = True
    title = "The bus cannot be reached"


class NotGrantedError(ServiceError):
    """The NATS server lets this credential not say or hear it. Nothing was sent; its grants are behind."""

    code = "bus.not_granted"
    status = 500
    retryable = True
    title = "The bus does not let this part say that"


class MessageTooLargeError(ServiceError):
    """A payload is over 1 MiB; larger things go by presigned upload."""

    code = "bus.message_too_large"
    status = 413
    title = "The message is too large"


class UndecodableError(ServiceError):
    """The payload is not the message that the subject promises. Never retried."""

    code = "bus.undecodable"
    status = 422
    title = "The message cannot be read"


class InternalError(ServiceError):
    """A defect. The caller is told nothing of its inside; the log has it."""

    code = "bus.internal_error"
    status = 500
    retryable = True
    title = "An internal error happened"


ERROR_HEADER = "Nats-Service-Error"
ERROR_CODE_HEADER = "Nats-Service-Error-Code"
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WireError)


def encode_error(error: ServiceError) -> tuple[bytes, dict[str, str]]:
    """Return payload and headers of an error reply."""
    wire = error.to_wire()
    headers = {ERROR_HEADER: wire.code, ERROR_CODE_HEADER: str(wire.status)}
    return _encoder.encode(wire), headers


def decode_error(payload: bytes, headers: Mapping[str, str]) -> RemoteError:
    """Rebuild the error of a reply that carries error headers, even one that others wrote."""
    try:
        return RemoteError(_decoder.decode(payload))
    except msgspec.DecodeError:
        status = headers.get(ERROR_CODE_HEADER, "500")
        code = headers[ERROR_HEADER]
        return RemoteError(
            WireError(
                code=code,
                status=int(status) if status.isascii() and status.isdigit() else 500,
                title="The service failed",
                message=code,
            )
        )
