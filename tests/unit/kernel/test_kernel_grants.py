"""Grants of the bus: what the declarations name and nothing else."""

from itertools import chain

import pytest

from bus.message import describe
from kernel.embedded.nats import NatsPermissions
from kernel.grants import grants_of
from kernel.graph import find_plugins
from kernel.plugin import Access, DeclarationError, Plugin

PLUGINS = find_plugins()
GRANTS = grants_of(PLUGINS.values())


def requests_of(grant: NatsPermissions) -> set[str]:
    return {subject for subject in grant.publish if subject.startswith(("cmd.", "qry."))}


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_a_plugin_may_ask_what_it_declares_and_nothing_else(name: str) -> None:
    asked = {describe(message).subject for message in PLUGINS[name].asks}

    assert requests_of(GRANTS[name]) == asked


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_a_plugin_may_give_others_only_the_work_that_it_declares(name: str) -> None:
    told = {describe(message).work_subject for message in PLUGINS[name].tells}

    foreign = {
        subject
        for subject in GRANTS[name].publish
        if subject.startswith("work.") and not subject.startswith(f"work.{name}.")
    }

    assert foreign == {subject for subject in told if not subject.startswith(f"work.{name}.")}


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_a_plugin_states_facts_in_its_own_name_only(name: str) -> None:
    stated = {subject for subject in GRANTS[name].publish if subject.startswith("evt.")}

    assert stated == {f"evt.{name}.>"}


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_a_plugin_neither_makes_nor_deletes_streams_and_consumers(name: str) -> None:
    verbs = ("CREATE", "UPDATE", "DELETE", "RESTORE", "DURABLE")

    assert [s for s in GRANTS[name].publish if s.startswith("$JS.API") and _names(s, verbs)] == []


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_requests_to_a_plugin_are_taken_in_its_queue_only(name: str) -> None:
    taken = {s for s in GRANTS[name].subscribe if s.startswith(("cmd.", "qry."))}

    assert taken == {
        f"{spec.message.subject} {name}"
        for spec in PLUGINS[name].of_kind("command", "query")
        if spec.message is not None
    }


def test_nobody_but_operators_hears_the_answers_to_another() -> None:
    private = {
        name: [s for s in grant.subscribe if s.startswith(("_INBOX", ">"))]
        for name, grant in GRANTS.items()
        if name not in ("cli", "deployer")
    }

    assert private == {name: [f"_INBOX_{name}.>"] for name in private}


def test_what_is_spoken_between_plugins_is_not_the_gateways_to_say() -> None:
    specs = chain.from_iterable(p.of_kind("command", "query") for p in PLUGINS.values())
    internal = {s.message.subject for s in specs if s.message and s.allow is Access.INTERNAL}

    assert internal
    assert requests_of(GRANTS["gateway"]) & internal == set()


def test_the_gateway_may_send_everything_that_has_a_route() -> None:
    specs = chain.from_iterable(p.of_kind("command", "query") for p in PLUGINS.values())
    routed = {s.message.subject for s in specs if s.message and s.http}

    assert routed <= requests_of(GRANTS["gateway"])


@pytest.mark.parametrize("name", ["admin", "cli", "deployer", "gateway"])
def test_a_plugin_cannot_take_the_name_of_another_credential(name: str) -> None:
    plugin = Plugin(name, "1.0.0", summary="Cuckoo", package="plugins.cuckoo")

    with pytest.raises(DeclarationError, match=name):
        grants_of([plugin])


def _names(subject: str, verbs: tuple[str, ...]) -> bool:
    return any(f".{verb}" in subject for verb in verbs)
