"""Razorpay's signatures: HMAC-SHA256, written as hex, compared in constant time."""

import hmac
from collections.abc import Iterable
from hashlib import sha256

from kernel.settings import Secret


def sign(secret: Secret, message: bytes) -> str:
    """Return the signature of a message."""
    return hmac.new(secret.reveal().encode(), message, sha256).hexdigest()


def is_checkout_signature(
    signature: str, *, provider_order_id: str, provider_payment_id: str, key_secret: Secret
) -> bool:
    """Tell whether the checkout page's answer comes from the provider."""
    expected = sign(key_secret, f"{provider_order_id}|{provider_payment_id}".encode())
    return _is_same(signature, expected)


def is_webhook_signature(signature: str, *, body: bytes, secrets: Iterable[Secret]) -> bool:
    """Tell whether one of the secrets signed this very body. Every secret is tried, to take equal time."""
    matches = [_is_same(signature, sign(secret, body)) for secret in secrets]
    return any(matches)


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
