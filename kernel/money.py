"""Money: whole paise with a currency. Parts of a sum always add up to the sum."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Currency = Literal["INR"]
Paise = Annotated[int, Meta(ge=-(10**15), le=10**15)]


class Money(msgspec.Struct, frozen=True, order=True):
    """An amount in paise. On the wire ``{"amount": 38000, "currency": "INR"}`` is 380 rupees."""

    amount: Paise
    currency: Currency = "INR"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other).amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other).amount, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __bool__(self) -> bool:
        return self.amount != 0

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} cannot be added")
        return other

    def split(self, weights: Sequence[int]) -> tuple["Money", ...]:
        """Split in proportion to the weights by largest remainder: the parts add up exactly.

        Equal remainders go to the earlier part. With only zero weights the parts are equal.
        """
        if not weights or min(weights) < 0:
            raise ValueError("weights must be given and not negative")
        total = sum(weights)
        if total == 0:
            return self.split([1] * len(weights))
        sign = -1 if self.amount < 0 else 1
        amount = abs(self.amount)
        floors = [amount * weight // total for weight in weights]
        left = amount - sum(floors)
        by_remainder = sorted(
            range(len(weights)), key=lambda i: (-(amount * weights[i] % total), i)
        )
        for index in by_remainder[:left]:
            floors[index] += 1
        return tuple(Money(sign * part, self.currency) for part in floors)

    def share(self, basis_points: int) -> "Money":
        """Return a share in hundredths of a percent, rounded half up on the absolute value."""
        sign = -1 if self.amount * basis_points < 0 else 1
        return Money(sign * ((abs(self.amount * basis_points) + 5_000) // 10_000), self.currency)

    def __str__(self) -> str:
        sign = "-" if self.amount < 0 else ""
        return f"{sign}{self.currency} {abs(self.amount) // 100:,}.{abs(self.amount) % 100:02d}"


ZERO = Money(0)
Price = Annotated[Money, Meta(description="A price: 1 paisa to 1 000 000 000 rupees")]


def total(parts: Sequence[Money]) -> Money:
    """Add up; nothing adds up to zero rupees."""
    return sum(parts, start=ZERO)


def check_price(price: Money) -> Money:
    """Return the price when it is one: above zero and at most 1 000 000 000 rupees; else ValueError."""
    if not 0 < price.amount <= 1_000_000_000 * 100:
        raise ValueError("a price is above 0 and at most 1 000 000 000 rupees")
    return price
