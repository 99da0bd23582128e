"""Signatures: made with the secret they hold, and with nothing else."""

import hmac
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from kernel.settings import Secret
from plugins.payment.signatures import is_checkout_signature, is_webhook_signature, sign

NEW = Secret("the new secret")
OLD = Secret("the old secret")


def test_a_signature_is_hmac_sha256_as_hex() -> None:
    expected = hmac.new(b"the new secret", b"body", sha256).hexdigest()

    assert sign(NEW, b"body") == expected


def test_the_checkout_signs_order_and_payment() -> None:
    signature = sign(NEW, b"order_1|pay_1")

    assert is_checkout_signature(
        signature, provider_order_id="order_1", provider_payment_id="pay_1", key_secret=NEW
    )


def test_a_checkout_signature_holds_for_its_payment_only() -> None:
    signature = sign(NEW, b"order_1|pay_1")

    assert not is_checkout_signature(
        signature, provider_order_id="order_1", provider_payment_id="pay_2", key_secret=NEW
    )


@given(st.binary(max_size=200))
def test_a_webhook_signed_with_any_known_secret_holds(body: bytes) -> None:
    assert is_webhook_signature(sign(OLD, body), body=body, secrets=(NEW, OLD))


@given(st.text(max_size=80), st.binary(max_size=50))
def test_any_other_text_is_no_signature(signature: str, body: bytes) -> None:
    assert not is_webhook_signature(signature, body=body, secrets=(NEW, OLD))


def test_a_signature_does_not_hold_for_the_same_json_written_otherwise() -> None:
    signature = sign(NEW, b'{"a":1}')

    assert not is_webhook_signature(signature, body=b'{"a": 1}', secrets=(NEW,))
