"""``realserv seed`` and ``realserv demo``: fill the market, and play a day of it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

import httpx
import rich_click as click
from msgspec import Struct
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bus.codec import encode
from kernel.cli.options import configured, running_configuration
from kernel.money import Money
from plugins.demo.assortment import assortment
from plugins.demo.books import Summary, summary_of
from plugins.demo.catalogue import demo_catalogue
from plugins.demo.day import buyers_of, plan_day
from plugins.demo.market import Market
from plugins.demo.people import Cast, Entrance, entering, entrance_of
from plugins.demo.seeding import Progress as Told
from plugins.demo.seeding import Seeder, is_wanting

MOST_PRODUCTS: Final = 200_000
MOST_ORDERS: Final = 10_000
EXIT_DOES_NOT_ADD_UP: Final = 1

_json = click.option("--json", "is_json", is_flag=True, help="Print the result as JSON.")


class Seeded(Struct, frozen=True, kw_only=True):
    """What a run of ``seed`` did."""

    products: int = 0
    vendors: int = 0
    offers: int = 0
    present: int = 0
    """Products and offers that were there already."""
    seconds: float = 0.0
    skipped: bool = False
    """Whether nothing was looked at, because the market is not empty."""


@click.command()
@configured
@click.option("--if-empty", is_flag=True, help="Do nothing when others have products there.")
@click.option(
    "--products",
    type=click.IntRange(1, MOST_PRODUCTS),
    help="Load so many invented products instead of the demonstration catalogue, for measuring.",
)
@_json
def seed(
    profile: str, configs: tuple[Path, ...], products: int | None, *, if_empty: bool, is_json: bool
) -> None:
    """Load the demonstration catalogue into the running system. What is there already stays.

    Example: realserv seed --products 10000
    """
    entrance = entrance_of(running_configuration(profile, configs))
    done = asyncio.run(_seed(entrance, products, only_if_empty=if_empty))
    if is_json:
        click.echo(encode(done))
    elif done.skipped:
        click.echo("The market is not empty; nothing was loaded.")
    else:
        click.echo(
            f"Added {done.products} products, {done.vendors} vendors and {done.offers} offers in "
            f"{done.seconds:.1f} s; {done.present} products and offers were there."
        )


@click.command()
@configured
@click.option(
    "--orders", type=click.IntRange(1, MOST_ORDERS), default=40, show_default=True, help="How many."
)
@click.option(
    "--seed", "number", type=int, default=1, show_default=True, help="Equal seeds, equal days."
)
@_json
def demo(
    profile: str, configs: tuple[Path, ...], orders: int, number: int, *, is_json: bool
) -> None:
    """Play a day of the market against the running system, and check that it adds up.

    Example: realserv demo --orders 100
    """
    entrance = entrance_of(running_configuration(profile, configs))
    summary = asyncio.run(_demo(entrance, orders, number))
    if is_json:
        click.echo(encode(summary))
    else:
        _show(summary)
    if summary.faults:
        sys.exit(EXIT_DOES_NOT_ADD_UP)


async def _seed(entrance: Entrance, products: int | None, *, only_if_empty: bool) -> Seeded:
    start = perf_counter()
    catalogue = demo_catalogue()
    if products is not None:
        catalogue = assortment(catalogue, products)
    async with entering(entrance) as stranger:
        if only_if_empty and not await is_wanting(stranger, catalogue):
            return Seeded(skipped=True)
        seeder = Seeder(Cast(stranger, entrance), catalogue)
        with _bar("loading the catalogue", seeder.size) as seeder.progress:
            await seeder.load()
    added = seeder.added
    return Seeded(
        products=added.products,
        vendors=added.vendors,
        offers=added.offers,
        present=seeder.size - added.products - added.offers,
        seconds=round(perf_counter() - start, 2),
    )


async def _demo(entrance: Entrance, orders: int, number: int) -> Summary:
    async with AsyncExitStack() as stack:
        stranger = await stack.enter_async_context(entering(entrance))
        provider = None
        if entrance.stand_in:
            provider = await stack.enter_async_context(
                httpx.AsyncClient(base_url=entrance.stand_in, timeout=30)
            )
        cast = Cast(stranger, entrance)
        seeder = Seeder(cast, demo_catalogue())
        with _bar("opening the shops", seeder.size) as seeder.progress:
            shops = await seeder.load()
        market = Market(cast, await cast.admin(), shops, provider)
        stalls = await market.open(orders)
        plans = plan_day(
            stalls,
            orders=orders,
            chance=Random(number),  # noqa: S311  a day of play, not a secret
            has_provider=provider is not None,
        )
        buyers = buyers_of(orders)
        with _bar("buyers come in", buyers) as progress:
            await market.admit(buyers, progress)
        start = perf_counter()
        with _bar("playing the day", len(plans)) as progress:
            outcomes = await market.play(plans, progress)
        return summary_of(outcomes, seconds=perf_counter() - start)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Told]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)


def _show(summary: Summary) -> None:
    console = Console()
    orders = Table("orders", "number", "total", title="A day of the market")
    for row in summary.by_status:
        orders.add_row(row.status, str(row.orders), _rupees(row.total))
    for code, number in sorted(summary.refused.items()):
        orders.add_row(f"refused: {code}", str(number), "")
    console.print(orders)
    figures = Table("", "", title="In figures", show_header=False)
    figures.add_row("parts of orders", str(summary.sub_orders))
    figures.add_row("taken over by another vendor", str(summary.reassigned))
    figures.add_row("paid online", _rupees(summary.paid))
    figures.add_row("of that refunded", _rupees(summary.refunded))
    figures.add_row("paid in cash", _rupees(summary.cash))
    figures.add_row("placing, on average", f"{summary.mean_placing_ms:.0f} ms")
    figures.add_row("until paid online and confirmed", f"{summary.mean_confirming_ms:.0f} ms")
    figures.add_row("until over and accounted for", f"{summary.mean_settling_ms:.0f} ms")
    figures.add_row("the whole day", f"{summary.seconds:.1f} s")
    console.print(figures)
    if not summary.faults:
        console.print("Everything adds up.", style="green")
        return
    console.print(f"{len(summary.faults)} things do not add up:", style="red")
    for fault in summary.faults:
        console.print(f"  - {fault}", markup=False)


def _rupees(money: Money) -> str:
    return f"₹{money.amount / 100:,.2f}"
