"""Vendors: what may become of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kernel.errors import Invalid
from kernel.geo import Place
from plugins.vendor.contract import (
    CapacityChanged,
    VendorApproved,
    VendorRegistered,
    VendorSuspended,
)
from plugins.vendor.domain import Vendor
from plugins.vendor.errors import IllegalVendorMoveError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
VENDOR = "vendor_01k9z7x3c8e4m9r2t5v6w7y8z0"
OWNER = "user_01k9z7x3c8e4m9r2t5v6w7y8z0"


def a_vendor(**overrides: Any) -> Vendor:
    fields: dict[str, Any] = {
        "vendor_id": VENDOR,
        "owner_id": OWNER,
        "name": "Charminar Cement",
        "status": "pending",
        "location": Place(17.3616, 78.4747),
        "service_radius_km": 12.0,
        "orders_per_day": 20,
        "gstin": None,
        "pan": None,
        "state_code": "36",
        "suspended_for": None,
        "version": 1,
        "registered_at": NOON,
    }
    return Vendor(**fields | overrides)


def a_registered_vendor(**overrides: Any) -> Vendor:
    fields: dict[str, Any] = {
        "vendor_id": VENDOR,
        "owner_id": OWNER,
        "name": "Charminar Cement",
        "location": Place(17.3616, 78.4747),
        "service_radius_km": 12.0,
        "orders_per_day": 20,
        "gstin": None,
        "pan": None,
        "home_state_code": "36",
        "at": NOON,
    }
    return Vendor.register(**fields | overrides)


def test_a_new_vendor_waits_for_approval() -> None:
    vendor = a_registered_vendor()

    assert (vendor.status, vendor.state_code, vendor.version) == ("pending", "36", 1)
    assert vendor.facts == [VendorRegistered(vendor_id=VENDOR, owner_id=OWNER)]


def test_the_state_of_a_vendor_is_that_of_its_gstin() -> None:
    vendor = a_registered_vendor(gstin="27AAPFU0939F1ZV")

    assert vendor.state_code == "27"


def test_a_vendor_with_a_wrong_gstin_is_not_registered() -> None:
    with pytest.raises(Invalid):
        a_registered_vendor(gstin="27AAPFU0939F1ZW")


def test_an_approved_vendor_may_sell() -> None:
    vendor = a_vendor()

    vendor.approve()

    assert vendor.status == "approved"
    assert vendor.facts == [VendorApproved(vendor_id=VENDOR, owner_id=OWNER)]


def test_approving_twice_is_the_same_as_approving_once() -> None:
    vendor = a_vendor(status="approved")

    vendor.approve()

    assert vendor.facts == []


def test_a_suspended_vendor_sells_no_more() -> None:
    vendor = a_vendor(status="approved")

    vendor.suspend(reason="Late too often")

    assert (vendor.status, vendor.suspended_for) == ("suspended", "Late too often")
    assert vendor.facts == [VendorSuspended(vendor_id=VENDOR, owner_id=OWNER)]


def test_suspending_twice_keeps_the_first_reason() -> None:
    vendor = a_vendor(status="suspended", suspended_for="Late too often")

    vendor.suspend(reason="Another")

    assert vendor.suspended_for == "Late too often"
    assert vendor.facts == []


def test_a_suspended_vendor_may_be_approved_again() -> None:
    vendor = a_vendor(status="suspended", suspended_for="Late too often")

    vendor.approve()

    assert (vendor.status, vendor.suspended_for) == ("approved", None)


def test_a_vendor_that_was_never_approved_cannot_be_suspended() -> None:
    vendor = a_vendor(status="pending")

    with pytest.raises(IllegalVendorMoveError):
        vendor.suspend(reason="Late too often")

    assert vendor.facts == []


def test_a_change_of_capacity_is_told() -> None:
    vendor = a_vendor(orders_per_day=20)

    vendor.change_capacity(30)

    assert vendor.orders_per_day == 30
    assert vendor.facts == [CapacityChanged(vendor_id=VENDOR, orders_per_day=30)]


def test_the_same_capacity_again_is_no_change() -> None:
    vendor = a_vendor(orders_per_day=20)

    vendor.change_capacity(20)

    assert vendor.facts == []
