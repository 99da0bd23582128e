"""GST by HSN and day of supply: effective-dated rates, and tax in two equal halves."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import date
from importlib.resources import files
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kernel.money import Money
from plugins.order.settings import OrderSettings

RATES_FILE: Final = "tax_rates.toml"


class TaxRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rate for all HSN and SAC codes with a prefix, from a day on."""

    prefix: Annotated[str, Meta(pattern=r"^[0-9]{0,8}$")]
    valid_from: date
    basis_points: Annotated[int, Meta(ge=0, le=10_000, multiple_of=2)]
    """Even, because CGST and SGST are each one half."""


class RateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole data file."""

    rates: Annotated[tuple[TaxRate, ...], Meta(min_length=1)]


class TaxTable:
    """All rates, looked up by the longest prefix that had a rate on the day."""

    def __init__(self, rates: Iterable[TaxRate]) -> None:
        self._days: dict[str, list[date]] = {}
        self._points: dict[str, list[int]] = {}
        for rate in sorted(rates, key=lambda rate: (rate.prefix, rate.valid_from)):
            days = self._days.setdefault(rate.prefix, [])
            if rate.valid_from in days:
                raise ValueError(f"HSN {rate.prefix!r} has two rates from {rate.valid_from}")
            days.append(rate.valid_from)
            self._points.setdefault(rate.prefix, []).append(rate.basis_points)
        if "" not in self._days:
            raise ValueError("the residual rate, of the empty prefix, is missing")

    def rate_bp(self, hsn: str, day: date) -> int:
        """Return the rate in basis points; raises LookupError for a day before the first rate."""
        for length in range(len(hsn), -1, -1):
            days = self._days.get(hsn[:length])
            if days is not None:
                index = bisect_right(days, day)
                if index:
                    return self._points[hsn[:length]][index - 1]
        raise LookupError(f"no GST rate for HSN {hsn} on {day}")


def tax_on(amount: Money, rate_bp: int) -> Money:
    """Return the tax: half of it rounded half up, and doubled, so that CGST and SGST are equal."""
    half = amount.share(rate_bp // 2)
    return half + half


def load_taxes() -> TaxTable:
    """Read the data file; raises msgspec.ValidationError or ValueError when it is wrong."""
    text = files("plugins.order").joinpath(RATES_FILE).read_text(encoding="utf-8")
    return TaxTable(msgspec.toml.decode(text, type=RateFile).rates)


@asynccontextmanager
async def open_taxes(_settings: OrderSettings) -> AsyncIterator[TaxTable]:
    """Provide the rates to the plugin's handlers."""
    yield load_taxes()
