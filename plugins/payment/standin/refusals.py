"""How Razorpay says no: an HTTP status and one error object, the same shape everywhere."""

from typing import Any


class Refusal(Exception):  # noqa: N818  the provider's answer, not a failure of ours
    """A call that the provider refuses."""

    def __init__(
        self,
        description: str,
        *,
        status: int = 400,
        code: str = "BAD_REQUEST_ERROR",
        field: str | None = None,
        reason: str = "input_validation_failed",
    ) -> None:
        super().__init__(description)
        self.description = description
        self.status = status
        self.code = code
        self.field = field
        self.reason = reason

    def to_json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        error: dict[str, Any] = {
            "code": self.code,
            "description": self.description,
            "source": "business",
            "step": "payment_initiation",
            "reason": self.reason,
            "metadata": {},
        }
        if self.field is not None:
            error["field"] = self.field
        return {"error": error}


def no_such_id() -> Refusal:
    """Return the refusal of an id that does not exist; Razorpay answers 400, not 404."""
    return Refusal("The id provided does not exist", reason="invalid_id")
