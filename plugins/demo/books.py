"""Does the day add up? Each order against its own parts, its payment and its history. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from msgspec import Struct

from kernel.money import ZERO, Money
from plugins.demo.day import Fate
from plugins.demo.market import Outcome
from plugins.order.contract import OrderView
from plugins.payment.contract import PaymentView


class Row(Struct, frozen=True, kw_only=True):
    """Orders that ended in one way."""

    status: str
    orders: int
    total: Money


class Summary(Struct, frozen=True, kw_only=True):
    """A day in figures. ``faults`` is empty when all adds up."""

    orders: int
    by_status: tuple[Row, ...]
    refused: dict[str, int]
    sub_orders: int
    reassigned: int
    paid: Money
    refunded: Money
    cash: Money
    seconds: float
    mean_placing_ms: float
    mean_confirming_ms: float
    mean_settling_ms: float
    faults: tuple[str, ...]


def summary_of(outcomes: Sequence[Outcome], *, seconds: float) -> Summary:
    """Count a day and say what does not add up."""
    orders = [one.order for one in outcomes if one.order is not None]
    payments = [one.payment for one in outcomes if one.payment is not None]
    return Summary(
        orders=len(outcomes),
        by_status=_rows(orders),
        refused=dict(Counter(one.refusal for one in outcomes if one.refusal)),
        sub_orders=sum(len(order.sub_orders) for order in orders),
        reassigned=sum(1 for one in outcomes if _was_reassigned(one)),
        paid=_sum(p.captured for p in payments if p.method == "razorpay"),
        refunded=_sum(p.refunded for p in payments),
        cash=_sum(p.captured for p in payments if p.method == "cod"),
        seconds=round(seconds, 2),
        mean_placing_ms=_mean_ms(one.placed_in for one in outcomes),
        mean_confirming_ms=_mean_ms(one.confirmed_in for one in outcomes),
        mean_settling_ms=_mean_ms(one.settled_in for one in outcomes),
        faults=tuple(fault for one in outcomes for fault in faults_of(one)),
    )


def faults_of(outcome: Outcome) -> list[str]:
    """Return what does not add up in one order; nothing for one that was refused."""
    if outcome.refusal:
        return []
    order, payment = outcome.order, outcome.payment
    if order is None or payment is None or outcome.history is None:
        return [f"plan {outcome.plan.number}: it came to no end"]
    faults = [*_sums(order), *_money(order, payment), *_ends(outcome, order)]
    versions = [change.version for change in outcome.history.changes]
    if versions != list(range(1, order.version + 1)):
        faults.append(f"its history has the steps {versions}, it is at version {order.version}")
    return [f"{order.order_id}: {fault}" for fault in faults]


def _sums(order: OrderView) -> Iterable[str]:
    lines = [line for part in order.sub_orders for line in part.lines]
    if _sum(line.amount for line in lines) != order.subtotal:
        yield "its lines are not its subtotal"
    if _sum(line.tax for line in lines) != order.tax:
        yield "the tax of its lines is not its tax"
    charged = order.subtotal.amount + order.tax.amount + order.delivery.amount
    if charged - order.discount.amount != order.total.amount:
        yield "its parts are not its total"


def _money(order: OrderView, payment: PaymentView) -> Iterable[str]:
    if payment.amount != order.total:
        yield f"its payment is over {payment.amount.amount} instead of {order.total.amount}"
    owed = order.total if order.status == "completed" else ZERO
    kept = payment.captured.amount - payment.refunded.amount
    if kept != owed.amount:
        yield f"{kept} paise were kept instead of {owed.amount}"


def _ends(outcome: Outcome, order: OrderView) -> Iterable[str]:
    wanted = {
        Fate.DELIVERED: {"completed"},
        Fate.DECLINED: {"completed"},
        Fate.CANCELLED: {"cancelled"},
        Fate.REJECTED: {"completed", "cancelled"},
    }[outcome.plan.fate]
    if order.status not in wanted:
        yield f"it is {order.status} and should be {' or '.join(sorted(wanted))}"
    ended = "delivered" if order.status == "completed" else "cancelled"
    if any(part.status != ended for part in order.sub_orders):
        yield f"it is {order.status}, and not all of its parts are {ended}"


def _was_reassigned(outcome: Outcome) -> bool:
    is_rejected = outcome.plan.fate is Fate.REJECTED
    return is_rejected and outcome.order is not None and outcome.order.status == "completed"


def _rows(orders: Sequence[OrderView]) -> tuple[Row, ...]:
    counted = Counter(order.status for order in orders)
    return tuple(
        Row(
            status=status,
            orders=number,
            total=_sum(order.total for order in orders if order.status == status),
        )
        for status, number in sorted(counted.items())
    )


def _sum(amounts: Iterable[Money]) -> Money:
    return sum(amounts, ZERO)


def _mean_ms(seconds: Iterable[float]) -> float:
    """Return the mean of those that happened, in milliseconds."""
    happened = [one for one in seconds if one > 0]
    return round(fmean(happened) * 1000, 1) if happened else 0.0
