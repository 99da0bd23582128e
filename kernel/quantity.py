"""Quantities: whole thousandths inside, a finite number with at most three decimals on the wire."""

from typing import Any, Final

from kernel.money import Money

MAX_THOUSANDTHS: Final = 1_000_000 * 1000


class Quantity:
    """How much of a unit: above 0, at most 1 000 000, in thousandths. ``Quantity(1500)`` is 1.5."""

    __slots__ = ("thousandths",)

    def __init__(self, thousandths: int) -> None:
        if not 0 < thousandths <= MAX_THOUSANDTHS:
            raise ValueError("a quantity is above 0 and at most 1000000")
        self.thousandths = thousandths

    @classmethod
    def of(cls, number: float) -> "Quantity":
        """Build from a number of units, such as 2.5; raises ValueError beyond three decimals."""
        return cls.__from_wire__(number)

    @classmethod
    def __from_wire__(cls, value: object) -> "Quantity":
        return cls(thousandths_of(value))

    def __to_wire__(self) -> float | int:
        return number_of(self.thousandths)

    @classmethod
    def __wire_schema__(cls) -> dict[str, Any]:
        return {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1_000_000,
            "multipleOf": 0.001,
        }

    def price(self, unit_price: Money) -> Money:
        """Return what this much costs, rounded half up to the paisa."""
        return Money((unit_price.amount * self.thousandths + 500) // 1000, unit_price.currency)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and other.thousandths == self.thousandths

    def __hash__(self) -> int:
        return hash(self.thousandths)

    def __repr__(self) -> str:
        return f"Quantity({self.thousandths})"

    def __str__(self) -> str:
        return str(number_of(self.thousandths))


class QuantityChange(Quantity):
    """A change of a quantity: up to 1 000 000 either way, not 0."""

    __slots__ = ()

    def __init__(self, thousandths: int) -> None:
        if thousandths == 0 or abs(thousandths) > MAX_THOUSANDTHS:
            raise ValueError("a change is not 0 and at most 1000000 either way")
        self.thousandths = thousandths

    @classmethod
    def __wire_schema__(cls) -> dict[str, Any]:
        return {
            "type": "number",
            "minimum": -1_000_000,
            "maximum": 1_000_000,
            "multipleOf": 0.001,
        }


class StockLevel(Quantity):
    """What is there: 0 to 1 000 000."""

    __slots__ = ()

    def __init__(self, thousandths: int) -> None:
        if not 0 <= thousandths <= MAX_THOUSANDTHS:
            raise ValueError("a stock level is at least 0 and at most 1000000")
        self.thousandths = thousandths

    @classmethod
    def __wire_schema__(cls) -> dict[str, Any]:
        return {"type": "number", "minimum": 0, "maximum": 1_000_000, "multipleOf": 0.001}


def thousandths_of(value: object) -> int:
    """Read a wire number; raises ValueError for anything but a finite number with three decimals."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")  # noqa: TRY004  msgspec turns ValueError into a field fault
    if not -1_000_000 <= value <= 1_000_000:
        raise ValueError("a quantity is at most 1000000")
    thousandths = round(value * 1000)
    if abs(value * 1000 - thousandths) > 1e-6:
        raise ValueError("at most three decimals")
    return thousandths


def number_of(thousandths: int) -> float | int:
    """Return the wire number: 1500 is 1.5, 2000 is 2."""
    return thousandths / 1000 if thousandths % 1000 else thousandths // 1000
