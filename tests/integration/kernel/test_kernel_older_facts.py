"""A reaction is handed today's form of a fact that was stated in an older one."""

from datetime import UTC, datetime
from typing import Any

from bus.connection import Connection
from bus.message import describe
from kernel.database import Database
from kernel.ids import new_uuid7
from kernel.reactions import ENSURE_POSITIONS, Subscription
from kernel.unit_of_work import EventMark
from kernel.upcasting import Upcasters
from tests.sample_plugin.contract import TallyChanged
from tests.sample_plugin.stage import a_plugin, a_runtime, an_envelope, note_change
from tests.sample_plugin.store import JOURNAL


def name_number(body: dict[str, Any]) -> dict[str, Any]:
    """The form before the first had no name of its own for the number."""
    return {"tally_id": body["tally_id"], "number": body["n"]}


class OfOlderVersions(Upcasters):
    """Reads version 0, as if the sample's fact had had one."""

    def __init__(self) -> None:
        super().__init__()
        today = describe(TallyChanged).subject
        self._chains = {"evt.sample.tally_changed.v0": (today, (name_number,))}


async def test_a_reaction_sees_todays_form_of_an_older_fact(
    bus: Connection, sample_database: Database
) -> None:
    plugin = a_plugin()
    plugin.react(TallyChanged, note_change)
    runtime = a_runtime(plugin, sample_database, upcasters=OfOlderVersions())
    subscription = Subscription(runtime, bus, "sample", plugin.of_kind("react"))
    await sample_database.execute(ENSURE_POSITIONS, subscription=subscription.name, last=3)
    spec = subscription.spec_of("evt.sample.tally_changed.v0.3.t")
    envelope = an_envelope(
        TallyChanged, new_uuid7(), type="sample.tally_changed.v0", time=datetime.now(UTC)
    )

    assert spec is not None
    mark = EventMark(subscription.name, 0, 1, "t")
    await subscription.react(spec, b'{"tally_id":"t","n":7}', envelope, mark)

    rows = await sample_database.fetch(JOURNAL)
    assert [(row["tally_id"], row["number"]) for row in rows] == [("t", 7)]
