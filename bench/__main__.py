"""``make bench``: all scenarios, each beside its baseline of the same run, as ratios.

``python -m bench [--only reads,lists,quote,orders,events,replay,kernel] [--seconds 6] [--json FILE]``
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.scenarios import SCENARIOS

Scenario = Callable[[int], Coroutine[Any, Any, list[Figure]]]


def main() -> None:
    """Run what is asked for and print one table."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        sys.exit(
            f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}"
        )
    figures: list[Figure] = []
    console = Console()
    for name in names:
        console.print(f"measuring {name} …")
        figures += asyncio.run(SCENARIOS[name](options.seconds))
    console.print(_table(figures))
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))


def _table(figures: list[Figure]) -> Table:
    table = Table(
        "what", "measured", "baseline", "ratio", "floor", "kept", "p50 / p99 ms", "errors"
    )
    load = os.getloadavg()[0]
    table.caption = f"{os.cpu_count()} cores shared by servers, hosts and client; load {load:.1f}"
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:,.0f} {figure.unit}",
            f"{figure.baseline:,.0f}" if figure.baseline else "",
            f"{figure.ratio:.2f}" if figure.baseline else "",
            figure.floor_text,
            figure.verdict,
            figure.latency,
            str(figure.errors),
        )
    return table


if __name__ == "__main__":
    main()
