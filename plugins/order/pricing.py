"""What an order costs: lines, tax, delivery. Parts always add up to the whole."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final, NamedTuple

from kernel.money import ZERO, Money, total
from plugins.order.assignment import Pick
from plugins.order.contract import OrderedLine
from plugins.order.errors import TotalTooLargeError
from plugins.order.taxes import TaxTable, tax_on

MAX_TOTAL: Final = Money(1_000_000_000 * 100)


class Amounts(NamedTuple):
    """The sums of a quote or an order; ``total`` = subtotal + tax + delivery - discount."""

    subtotal: Money
    tax: Money
    delivery: Money
    discount: Money
    total: Money


def price_line(pick: Pick, taxes: TaxTable, day: date) -> OrderedLine:
    """Freeze the price and the tax rate of a line at the day of supply."""
    offer, quantity = pick
    amount = quantity.price(offer.price)
    rate_bp = taxes.rate_bp(offer.hsn, day)
    return OrderedLine(
        offer_id=offer.offer_id,
        product_id=offer.product_id,
        hsn=offer.hsn,
        unit=offer.unit,
        quantity=quantity,
        unit_price=offer.price,
        amount=amount,
        tax_rate_bp=rate_bp,
        tax=tax_on(amount, rate_bp),
    )


def add_up(
    lines: Sequence[OrderedLine], deliveries: Iterable[Money], discount: Money = ZERO
) -> Amounts:
    """Add up an order; raises TotalTooLargeError above ten to the ninth rupees.

    A delivery fee is a price with its GST in it, so ``tax`` is that of the lines.
    """
    subtotal = total([line.amount for line in lines])
    tax = total([line.tax for line in lines])
    delivery = total(list(deliveries))
    whole = subtotal + tax + delivery - discount
    if whole > MAX_TOTAL:
        raise TotalTooLargeError
    return Amounts(subtotal, tax, delivery, discount, whole)
