"""The bodies that Razorpay accepts. What it does not know it refuses, as the provider does."""

import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from plugins.payment.standin.refusals import Refusal

T = TypeVar("T")

MOST_NOTES: Final = 15
Note = Annotated[str, Meta(max_length=256)]
Notes = dict[str, Note]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A body whose every field is known."""


class CaptureOptions(Strict):
    """When authorisations are captured and given back, in minutes."""

    automatic_expiry_period: int | None = None
    manual_expiry_period: int | None = None
    refund_speed: Literal["normal", "optimum"] = "normal"


class CaptureSettings(Strict):
    """Who captures."""

    capture: Literal["automatic", "manual"]
    capture_options: CaptureOptions | None = None


class OrderRequest(Strict):
    """``POST /v1/orders``."""

    amount: int
    currency: str
    receipt: str | None = None
    notes: Notes | list[Any] = []
    partial_payment: bool = False
    payment: CaptureSettings | None = None
    unique_receipt: bool = False


class CaptureRequest(Strict):
    """``POST /v1/payments/{id}/capture``."""

    amount: int
    currency: str = "INR"


class RefundRequest(Strict):
    """``POST /v1/payments/{id}/refund``."""

    amount: int | None = None
    speed: Literal["normal", "optimum"] = "normal"
    notes: Notes | list[Any] = []
    receipt: str | None = None


def read(kind: type[T], body: bytes) -> T:
    """Decode a body or refuse it the way Razorpay does."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        text = str(error)
        unknown = re.search(r"unknown field `([^`]+)`", text)
        if unknown:
            raise Refusal(
                f"{unknown[1]} is/are not required and should not be sent",
                field=unknown[1],
                reason="extra_field_sent",
            ) from error
        missing = re.search(r"required field `([^`]+)`", text)
        place = re.search(r"at `\$\.([^`]+)`", text)
        field = missing[1] if missing else place[1] if place else None
        what = "field is required" if missing else "is not valid"
        raise Refusal(f"The {field or 'input'} {what}.", field=field) from error
    except msgspec.DecodeError as error:
        raise Refusal("The request body is not valid JSON") from error


def check_order(request: OrderRequest) -> None:
    """Refuse an order that breaks a rule of the provider."""
    if request.amount < 100:
        raise Refusal("The amount must be at least INR 1.00", field="amount")
    if request.currency != "INR":
        raise Refusal("Currency is not supported", field="currency")
    check_text(request.receipt, "receipt")
    check_notes(request.notes)
    options = request.payment.capture_options if request.payment else None
    if options is None:
        return
    automatic, manual = options.automatic_expiry_period, options.manual_expiry_period
    if request.payment and request.payment.capture == "automatic" and automatic is None:
        raise Refusal(
            "The automatic expiry period field is required.", field="automatic_expiry_period"
        )
    if automatic is not None and automatic < 12:
        raise Refusal(
            "The automatic expiry period must be at least 12.", field="automatic_expiry_period"
        )
    if manual is not None and manual < (automatic or 12):
        raise Refusal(
            "The manual expiry period must not be less than the automatic expiry period.",
            field="manual_expiry_period",
        )


def check_text(text: str | None, field: str) -> None:
    """Refuse a receipt that is too long."""
    if text is not None and len(text) > 40:
        raise Refusal(f"The {field} may not be greater than 40 characters.", field=field)


def check_notes(notes: Notes | list[Any]) -> None:
    """Refuse notes that are no pairs, or too many."""
    if isinstance(notes, list) and notes:
        raise Refusal("The notes must be key-value pairs.", field="notes")
    if len(notes) > MOST_NOTES:
        raise Refusal(
            f"Number of fields in notes should be less than or equal to {MOST_NOTES}",
            field="notes",
        )


_KEY: Final = re.compile(r"[A-Za-z0-9_-]{10,}")


def check_idempotency_key(key: str | None) -> None:
    """Refuse a key that is too short or holds other characters."""
    if key is not None and not _KEY.fullmatch(key):
        raise Refusal("The idempotency key must be at least 10 characters, alnum, - or _.")
