"""GSTIN and PAN: what is refused, and why."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Invalid
from plugins.vendor.contract import Gstin
from plugins.vendor.tax_ids import (
    DIGITS,
    HOLDER_TYPES,
    STATE_CODES,
    check_character,
    check_tax_ids,
    state_code_of,
)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PANS = st.builds(
    lambda start, holder, name, number, end: f"{start}{holder}{name}{number:04}{end}",
    st.text(LETTERS, min_size=3, max_size=3),
    st.sampled_from(sorted(HOLDER_TYPES)),
    st.sampled_from(LETTERS),
    st.integers(0, 9999),
    st.sampled_from(LETTERS),
)
STEMS = st.builds(
    lambda state, pan, entity: f"{state}{pan}{entity}Z",
    st.sampled_from(sorted(STATE_CODES)),
    PANS,
    st.sampled_from(DIGITS[1:]),
)


@pytest.mark.parametrize("gstin", ["27AAPFU0939F1ZV", "29AAGCB7383J1Z4"])
def test_well_known_numbers_pass(gstin: str) -> None:
    check_tax_ids(gstin=gstin, pan=gstin[2:12])


@given(STEMS)
def test_every_number_with_its_own_check_character_passes(stem: str) -> None:
    gstin = stem + check_character(stem)

    check_tax_ids(gstin=gstin, pan=None)

    assert re.fullmatch(get_args(Gstin)[1].pattern, gstin)


@given(STEMS, st.sampled_from(DIGITS))
def test_every_other_check_character_is_refused(stem: str, wrong: str) -> None:
    gstin = stem + (wrong if wrong != check_character(stem) else "?")

    with pytest.raises(Invalid, match="wrong check character"):
        check_tax_ids(gstin=gstin, pan=None)


@given(STEMS, st.integers(7, 10), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(stem: str, place: int, step: int) -> None:
    digit = str((int(stem[place]) + step) % 10)
    mistyped = stem[:place] + digit + stem[place + 1 :] + check_character(stem)

    with pytest.raises(Invalid, match="wrong check character"):
        check_tax_ids(gstin=mistyped, pan=None)


def test_a_number_of_no_state_is_refused() -> None:
    stem = "39AAPFU0939F1Z"

    with pytest.raises(Invalid, match="code of a state"):
        check_tax_ids(gstin=stem + check_character(stem), pan=None)


@pytest.mark.parametrize(
    ("gstin", "pan", "field"),
    [(None, "AAPXU0939F", "pan"), ("27AAPXU0939F1ZV", None, "gstin")],
)
def test_a_pan_of_no_kind_of_holder_is_refused(
    gstin: str | None, pan: str | None, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        check_tax_ids(gstin=gstin, pan=pan)

    assert [fault.field for fault in refusal.value.errors] == [field]


def test_gstin_and_pan_must_belong_to_one_firm() -> None:
    with pytest.raises(Invalid) as refusal:
        check_tax_ids(gstin="27AAPFU0939F1ZV", pan="AAGCB7383J")

    assert [fault.field for fault in refusal.value.errors] == ["pan"]


def test_a_small_firm_has_neither() -> None:
    check_tax_ids(gstin=None, pan=None)


def test_the_state_is_that_of_the_gstin_or_the_home_state() -> None:
    assert state_code_of("27AAPFU0939F1ZV", default="36") == "27"
    assert state_code_of(None, default="36") == "36"
