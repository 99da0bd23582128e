"""Recorded facts of a journey mean today what they meant when they were recorded."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bus.codec import decoder
from bus.jetstream import StoredMessage
from bus.message import Event, MessageType, describe
from kernel.graph import find_plugins
from kernel.models import Projector, in_runs
from kernel.sql import statement
from kernel.testing import PluginHarness
from kernel.upcasting import upcasters_of
from plugins.catalog.fold import StockFold
from plugins.order.plugin import plugin as order
from plugins.payment.ledger import entry_of
from tests.contract.record_streams import FOLDER, RecordedFact, recorded

RECORDINGS: Final = sorted(FOLDER.glob("*.jsonl"))
SALES: Final = statement("SELECT * FROM vendor_sales ORDER BY sub_order_id")
UPCASTERS: Final = upcasters_of(find_plugins().values())
EVENTS: Final[dict[str, MessageType]] = {
    describe(event).subject: describe(event)
    for plugin in find_plugins().values()
    for event in plugin.emits
}


def of(plugin: str) -> list[Path]:
    return [path for path in RECORDINGS if path.name.startswith(f"{plugin}.")]


def read(fact: RecordedFact) -> Event:
    stem, payload = UPCASTERS.read(fact.subject, bytes(fact.body))
    event: Event = decoder(EVENTS[stem].cls)(payload)
    return event


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_every_recorded_fact_is_read_by_todays_contract(path: Path) -> None:
    facts = recorded(path)

    keys = [
        (describe(type(event)), describe(type(event)).key_of(event)) for event in map(read, facts)
    ]

    assert [fact.subject.rpartition(".")[2] for fact in facts] == [key for _, key in keys]
    assert [fact.subject for fact in facts if fact.subject.split(".")[3] == "v1"] == [
        message.event_subject(key) for message, key in keys if message.version == 1
    ]


@pytest.mark.parametrize("path", of("catalog"), ids=lambda path: path.stem)
def test_recorded_stock_adds_up(path: Path) -> None:
    fold = StockFold()

    for fact in recorded(path):
        fold.apply(read(fact))

    assert all(0 <= fold.reserved[offer] <= on_hand for offer, on_hand in fold.on_hand.items())


@pytest.mark.parametrize("path", of("payment"), ids=lambda path: path.stem)
def test_the_recorded_ledger_sums_to_zero(path: Path) -> None:
    entries = [entry for fact in recorded(path) if (entry := entry_of(read(fact))) is not None]

    assert entries
    assert sum(line.amount.amount for entry in entries for line in entry.lines) == 0


@pytest.mark.parametrize("path", of("order"), ids=lambda path: path.stem)
async def test_the_sales_model_is_what_it_was_when_the_facts_were_recorded(
    path: Path, database: str
) -> None:
    facts = [
        StoredMessage(place, fact.subject, {}, bytes(fact.body))
        for place, fact in enumerate(recorded(path), start=1)
    ]
    writes = Projector(order.of_kind("project"), UPCASTERS).writes(facts)

    async with PluginHarness.open(order, database) as harness:
        async with harness.runtime.database.connection() as connection:
            for prepared, rows in in_runs(writes):
                await connection.executemany(prepared.sql, rows)
        found = [dict(row) for row in await harness.runtime.database.fetch(SALES)]

    kept = path.with_suffix(".sales.json")
    assert _as_kept(found) == msgspec.json.decode(kept.read_bytes())
    assert Counter(row["state"] for row in found)["delivered"] > 0


def _as_kept(rows: list[dict[str, Any]]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(rows))
