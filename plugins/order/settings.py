"""Settings of the order plugin."""

from datetime import timedelta

from kernel.settings import Settings


class OrderSettings(Settings, frozen=True, kw_only=True):
    """Deadlines of an order's life."""

    payment_window: timedelta = timedelta(minutes=15)
    """How long a placed order waits for its online payment."""
    stock_grace: timedelta = timedelta(minutes=10)
    """How long stock is held beyond the payment deadline, for a payment that is reported late."""
    acceptance_window: timedelta = timedelta(minutes=30)
    """How long a vendor has to accept a sub-order before another vendor is sought."""
