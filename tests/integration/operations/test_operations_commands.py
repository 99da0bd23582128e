"""The commands of operation on a running system, as a person gives them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus.connection import connect
from bus.jetstream import publish
from bus.jetstream import request as jetstream_request
from kernel.database import PoolSettings, open_database
from kernel.dead_letters import ORIGIN, REASON
from kernel.ids import new_uuid7
from kernel.sql import statement
from kernel.testing.market import Market, an_order, status_of, until
from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System, running_system

ACTS = statement("SELECT act, object FROM operator_acts ORDER BY id")
LAPSE = "work.catalog.do.lapse_reservation_v1"


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[System]:
    async with running_system() as running:
        yield running


@pytest.fixture(scope="module")
async def order(system: System) -> dict[str, Any]:
    """A confirmed order, cash on delivery."""
    market = await Market.enter(system.http, ADMIN_EMAIL, ADMIN_PASSWORD)
    shop = await market.shop()
    buyer = await market.buyer()
    placed: dict[str, Any] = await buyer.post(
        "/orders", an_order(await shop.stocked()), key="operations-1"
    )
    await until(
        lambda: status_of(buyer, placed["order_id"]), lambda status: status[0] == "confirmed"
    )
    return placed


async def told(system: System, *words: str) -> Any:
    return msgspec.json.decode(await system.command(*words, "--json"))


async def acts(system: System) -> list[tuple[str, str]]:
    database = await open_database(
        system.supervisor.configuration.data["kernel"]["database"], PoolSettings()
    )
    try:
        return [(row["act"], row["object"]) for row in await database.fetch(ACTS)]
    finally:
        await database.close()


def types_in(step: dict[str, Any]) -> set[str]:
    return {step["type"]}.union(*(types_in(caused) for caused in step["caused"]))


async def as_admin(system: System, subject: str, headers: dict[str, str] | None) -> None:
    """Publish a message, or without headers call the API of the streams."""
    bus = system.supervisor.configuration.data["bus"]
    seed = Path(bus["keys_dir"], "admin.nk")
    connection = await connect(bus["servers"], name="test", seed_file=seed)
    try:
        if headers is None:
            await jetstream_request(connection, subject)
        else:
            await publish(connection, subject, b"{}", headers)
    finally:
        await connection.close()


async def test_why_tells_the_whole_story_of_an_order(system: System, order: dict[str, Any]) -> None:
    found = await told(system, "why", order["order_id"])
    shown = await system.command("why", order["order_id"])

    (placing,) = [step for step in found if step["type"] == "order.place_order"]
    assert {"order.order_placed.v1", "order.order_confirmed.v1"} <= types_in(placing)
    assert placing["actor"].startswith("user:")
    assert "order.order_placed.v1" in shown


async def test_why_says_in_one_line_that_it_knows_nothing(system: System) -> None:
    with pytest.raises(RuntimeError, match="Nothing is known of order_01k9z7x3c8e4m9r2t5v6w7y8z0"):
        await system.command("why", "order_01k9z7x3c8e4m9r2t5v6w7y8z0")


async def test_the_outbox_of_a_working_system_is_empty_and_has_a_relay(
    system: System, order: dict[str, Any]
) -> None:
    found = await until(
        lambda: told(system, "outbox", "order", "payment"),
        lambda states: all(s["facts_waiting"] + s["others_waiting"] == 0 for s in states),
    )

    assert [state["plugin"] for state in found] == ["order", "payment"]
    assert all(state["relay_since"] and not state["fault"] for state in found)
    assert found[0]["published"] == found[0]["stream_ends_at"] > 0


async def test_the_tail_of_events_is_one_json_document_a_line(
    system: System, order: dict[str, Any]
) -> None:
    printed = await system.command("events", "tail", "--plugin", "order", "--from", "1")

    facts = [msgspec.json.decode(line) for line in printed.splitlines()]
    assert [fact["sequence"] for fact in facts] == list(range(1, len(facts) + 1))
    placed = next(fact for fact in facts if fact["type"] == "order.order_placed.v1")
    assert (placed["key"], placed["data"]["order_id"]) == (order["order_id"],) * 2


async def test_the_report_names_streams_owners_and_lag(
    system: System, order: dict[str, Any]
) -> None:
    found = {stream["name"]: stream for stream in await told(system, "streams", "report")}

    assert (found["EVT_ORDER"]["owner"], found["EVT_ORDER"]["is_declared"]) == ("realserv", True)
    assert found["EVT_ORDER"]["messages"] == found["EVT_ORDER"]["last"] > 0
    assert "worker" in {each["name"] for each in found["WORK_ORDER"]["consumers"]}
    assert await system.command("streams", "report")


async def test_a_consumer_that_is_missing_is_planned_and_applied(system: System) -> None:
    nothing = await told(system, "streams", "plan")
    await as_admin(system, "CONSUMER.DELETE.WORK_VENDOR.worker", None)

    with pytest.raises(RuntimeError):
        await system.command("streams", "plan")
    applied = await told(system, "streams", "apply")
    again = await told(system, "streams", "plan")

    assert (nothing, again) == ([], [])
    assert [(change["verb"], change["asset"]) for change in applied] == [
        ("create", "WORK_VENDOR/worker")
    ]
    assert ("streams create", "WORK_VENDOR/worker") in await acts(system)


async def test_a_letter_that_dies_again_keeps_the_time_of_its_first_death(system: System) -> None:
    identity = str(new_uuid7())
    headers = {
        "ce-id": identity,
        "ce-type": "catalog.lapse_reservation.v1",
        "ce-time": "2026-05-01T10:00:00+00:00",
        ORIGIN: LAPSE,
        REASON: "bus.undecodable: no",
    }
    await as_admin(system, "dlq.catalog.lapse_reservation", headers)
    (before,) = await told(system, "dlq", "list", "--plugin", "catalog")

    (act,) = await told(system, "dlq", "redrive", identity)
    (after,) = await until(
        lambda: told(system, "dlq", "list", "--plugin", "catalog"),
        lambda letters: letters and letters[0]["sequence"] > before["sequence"],
    )
    discarded = await told(system, "dlq", "discard", identity, "--reason", "a test")

    assert (act["result"], [each["result"] for each in discarded]) == ("sent", ["discarded"])
    assert after["first_died_at"] == before["stored_at"] == before["first_died_at"]
    assert after["stored_at"] > before["stored_at"]
    thing = f"catalog.lapse_reservation catalog.lapse_reservation.v1 {identity}"
    assert [("dlq redrive", thing), ("dlq discard: a test", thing)] == (await acts(system))[-2:]


async def test_all_dead_letters_are_meant_only_by_that_word(system: System) -> None:
    with pytest.raises(RuntimeError, match="--all"):
        await system.command("dlq", "redrive")
    with pytest.raises(RuntimeError, match="--reason"):
        await system.command("dlq", "discard", "--all")
    assert await system.command("dlq", "redrive", "--all", "--dry-run") == "0 of 0 (dry run)\n"
