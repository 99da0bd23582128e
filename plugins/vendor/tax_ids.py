"""The tax numbers of Indian firms: GSTIN and PAN. Pure.

A GSTIN is 15 characters: state code, the firm's PAN, a count of its registrations in the state, the
letter Z, and a check character over the rest (base 36, weights 1 and 2 in turn).
"""

from typing import Final

from kernel.errors import invalid_field

DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
STATE_CODES: Final = frozenset({*(f"{code:02}" for code in range(1, 39)), "97"})
"""The states and union territories, 01 to 38, and 97 for other territory."""
HOLDER_TYPES: Final = frozenset("ABCFGHJLPT")
"""Fourth letter of a PAN: person, firm, company, trust, government and so on."""


def check_character(stem: str) -> str:
    """Return the check character of a GSTIN's first 14 characters."""
    total = 0
    for place, character in enumerate(stem):
        product = DIGITS.index(character) * (1 + place % 2)
        total += product // 36 + product % 36
    return DIGITS[-total % 36]


def check_tax_ids(*, gstin: str | None, pan: str | None) -> None:
    """Raise Invalid when a number is wrong in itself, or the two belong to different firms."""
    if pan is not None:
        _check_pan("pan", pan)
    if gstin is None:
        return
    if gstin[:2] not in STATE_CODES:
        raise invalid_field("gstin", "does not begin with the code of a state")
    _check_pan("gstin", gstin[2:12])
    if check_character(gstin[:14]) != gstin[14]:
        raise invalid_field("gstin", "has a wrong check character")
    if pan is not None and gstin[2:12] != pan:
        raise invalid_field("pan", "is not the PAN within the GSTIN")


def state_code_of(gstin: str | None, *, default: str) -> str:
    """Return the GST state code of a place of business."""
    return gstin[:2] if gstin else default


def _check_pan(field: str, pan: str) -> None:
    if pan[3] not in HOLDER_TYPES:
        raise invalid_field(field, "holds a PAN whose fourth letter names no kind of holder")
