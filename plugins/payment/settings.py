"""Settings of payment: the provider's address and keys, and how long to wait for it."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from kernel.settings import Secret, Settings


class PaymentSettings(Settings, frozen=True, kw_only=True):
    """The account at Razorpay, or at the local stand-in that behaves like it."""

    key_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-9;-~]+$")]
    """The public key id, which the buyer's checkout page shows."""
    key_secret: Secret
    """The secret of that key: for calls, and for the signature of the checkout."""
    webhook_secrets: Annotated[tuple[Secret, ...], Meta(min_length=1, max_length=4)]
    """The webhook's secret, then the former ones: after a rotation old events still come signed by those."""
    base_url: Annotated[str, Meta(pattern=r"^https?://[^\s?#]+$")] = "https://api.razorpay.com/v1"
    """Where the provider's API lives."""
    timeout: timedelta = timedelta(seconds=8)
    """How long one call may take."""
    retries: Annotated[int, Meta(ge=0, le=5)] = 2
    """How often a call that may safely arrive twice is repeated at once."""
    concurrency: Annotated[int, Meta(ge=1, le=100)] = 8
    """Calls under way at once, per process."""
    authorization_kept: timedelta = timedelta(days=3)
    """How long the provider keeps an authorisation that is not captured, before it gives it back."""
    has_unique_receipts: bool = True
    """Have the provider answer a repeated order with the first one; off for accounts that know no ``unique_receipt``."""
    ask_after: timedelta = timedelta(minutes=10)
    """After how much silence the provider is asked about a payment or a refund."""
    webhook_bodies_kept: timedelta = timedelta(days=90)
    """How long the raw bodies of webhooks are kept: they hold what the provider knows of the buyer."""
