"""What payment refuses, one class per cause."""

from kernel.errors import (
    Conflict,
    Invalid,
    NotFound,
    NothingHappened,
    Unauthenticated,
    Unavailable,
)


class PaymentNotFoundError(NotFound):
    """There is no such payment, or none of the caller's. A new order's payment appears a moment later."""

    code = "payment.not_found"
    title = "There is no such payment"


class PaymentNotCreatedYetError(Unavailable):
    """A told command overtook the creation of its payment; it is tried again."""

    code = "payment.not_created_yet"
    title = "The payment is not created yet"


class BadSignatureError(Invalid):
    """The checkout's signature is not the provider's, or belongs to another payment."""

    code = "payment.bad_signature"
    title = "The payment's signature does not hold"


class NotPayableOnlineError(Conflict):
    """The payment is made in cash, or the provider has not opened it yet."""

    code = "payment.not_payable_online"
    title = "This payment cannot be made online now"


class BadWebhookSignatureError(Unauthenticated):
    """A webhook without the provider's signature. Nothing of it is kept."""

    code = "payment.bad_webhook_signature"
    title = "The webhook's signature does not hold"


class AmountMismatchError(Conflict):
    """The provider speaks of another amount than ours. Nothing is booked; finance must look."""

    code = "payment.amount_mismatch"
    title = "The provider's amount is not ours"


class IllegalPaymentMoveError(Conflict):
    """A payment cannot go from its state to that one: a defect, never the caller's doing."""

    code = "payment.illegal_move"
    title = "The payment cannot take this step"


class UnbalancedEntryError(Conflict):
    """A ledger entry whose lines do not add up to zero: a defect."""

    code = "payment.unbalanced_entry"
    title = "The ledger entry does not add up to zero"


class StalePaymentError(Conflict):
    """Somebody else changed the payment in between; the same request will do."""

    code = "payment.stale"
    retryable = True
    title = "The payment was changed in between"


class ProviderRefusedError(Conflict):
    """The provider understood and said no. Asking again gets the same answer."""

    code = "payment.provider_refused"
    title = "The payment provider refused"


class ProviderCredentialsError(NothingHappened):
    """The provider does not accept our key: an operator's matter, and no verdict on any payment."""

    code = "payment.provider_credentials"
    title = "The payment provider does not accept our credentials"


class ProviderUnreadableError(Unavailable):
    """The provider's answer is not what its documentation promises. What was done is unknown."""

    code = "payment.provider_unreadable"
    title = "The payment provider's answer cannot be read"


class RefundInFlightError(Unavailable):
    """The provider is still busy with the same refund."""

    code = "payment.refund_in_flight"
    title = "The refund is still being made"
