"""What stands twice is compared: README against code, errors against each other, roles against the design."""

import inspect
from pathlib import Path

import pytest

from bus.codec import convert
from bus.errors import UndecodableError
from kernel.errors import ServiceError
from kernel.plugin import PUBLIC
from kernel.settings import Secret
from plugins.payment import errors
from plugins.payment.domain import MOVES
from plugins.payment.plugin import plugin
from plugins.payment.settings import PaymentSettings

README = Path(inspect.getfile(errors)).with_name("README.md")
ERRORS = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, ServiceError) and found.__module__ == errors.__name__
]


def test_the_state_diagram_of_the_readme_is_the_table_of_moves() -> None:
    assert MOVES.diagram() in README.read_text()


def test_every_error_code_is_unique_and_payments_own() -> None:
    codes = [error.code for error in ERRORS]

    assert len(set(codes)) == len(codes)
    assert {code.partition(".")[0] for code in codes} == {"payment"}


def test_every_error_and_setting_is_in_the_readme() -> None:
    text = README.read_text()
    names = [error.code for error in ERRORS] + list(plugin.settings.__struct_fields__)

    assert [name for name in names if f"`{name}`" not in text] == []


def test_only_the_webhook_is_open_to_everybody() -> None:
    public = [spec.name for spec in plugin.handlers if spec.allow is PUBLIC]

    assert public == ["receive_razorpay_webhook"]


def test_viewers_see_and_do_not_pay() -> None:
    of_viewers = {p.name for p in plugin.permissions if "viewer" in p.roles}

    assert of_viewers == {"payments:read", "payments:read_any"}


def test_settings_print_no_secret() -> None:
    settings = PaymentSettings(
        key_id="rzp_test_1", key_secret=Secret("sesame"), webhook_secrets=(Secret("sesame"),)
    )

    assert "sesame" not in repr(settings)


def test_settings_without_a_webhook_secret_are_refused() -> None:
    given = {"key_id": "rzp_test_1", "key_secret": "s", "webhook_secrets": []}

    with pytest.raises(UndecodableError, match="webhook_secrets"):
        convert(given, PaymentSettings)
