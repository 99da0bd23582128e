"""Switching plugins never goes behind the back of those that need them."""

from collections.abc import Mapping

import pytest

from kernel.cli.census import Instance, hosts_by_plugin
from kernel.cli.plugin_states import state_rows
from kernel.cli.switching import PluginNeededError, Switches, UnknownPluginError
from kernel.config import Configuration
from kernel.home import Home, Override
from kernel.plugin import Plugin
from kernel.switchboard import SwitchState

OPERATOR = "asha@site"


class FakeHome(Home):
    """The switches in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Override] = {}

    async def overrides(self) -> dict[str, Override]:
        return dict(self.rows)

    async def override(self, plugin: str, *, is_enabled: bool, reason: str, operator: str) -> None:
        self.rows[plugin] = Override(is_enabled, reason, operator)

    async def reset(self, plugin: str, *, operator: str) -> bool:
        return self.rows.pop(plugin, None) is not None


def a_plugin(name: str, *needs: str) -> Plugin:
    return Plugin(name, "1.0.0", summary=f"About {name}.", package=name, needs=needs)


PLUGINS = {
    plugin.name: plugin
    for plugin in (
        a_plugin("users"),
        a_plugin("shop", "users>=1"),
        a_plugin("cart", "shop"),
        a_plugin("mail"),
    )
}


async def the_switches(home: FakeHome, *, off_by_default: str = "") -> Switches:
    data = {"kernel": {"database": "postgresql://x/kernel"}}
    sections = {off_by_default: {"enabled": False}} if off_by_default else {}
    switches = Switches(home, Configuration({**data, "plugins": sections}), PLUGINS, OPERATOR)
    await switches.load()
    return switches


def switched(home: FakeHome) -> dict[str, bool]:
    return {name: override.is_enabled for name, override in home.rows.items()}


async def test_a_plugin_that_nobody_needs_is_switched_off_with_reason_and_operator() -> None:
    home = FakeHome()

    done = await (await the_switches(home)).disable("mail", reason="moves", is_cascade=False)

    assert done.names == ("mail",)
    assert home.rows == {"mail": Override(is_enabled=False, reason="moves", set_by=OPERATOR)}


async def test_a_plugin_that_others_need_is_refused_with_all_their_names() -> None:
    home = FakeHome()

    with pytest.raises(PluginNeededError, match="users is needed by cart, shop"):
        await (await the_switches(home)).disable("users", reason="", is_cascade=False)

    assert home.rows == {}


async def test_a_cascade_switches_off_from_the_end_of_the_chain() -> None:
    home = FakeHome()

    done = await (await the_switches(home)).disable("users", reason="", is_cascade=True)

    assert done.names == ("cart", "shop", "users")
    assert switched(home) == {"cart": False, "shop": False, "users": False}


async def test_dependents_that_are_off_already_hinder_nothing() -> None:
    home = FakeHome()
    home.rows["cart"] = Override(is_enabled=False, reason="", set_by="ravi@site")

    done = await (await the_switches(home)).disable("shop", reason="", is_cascade=False)

    assert done.names == ("shop",)
    assert home.rows["cart"].set_by == "ravi@site"


async def test_switching_on_says_what_the_plugin_waits_for() -> None:
    home = FakeHome()
    await (await the_switches(home)).disable("users", reason="", is_cascade=True)

    done = await (await the_switches(home)).enable("cart", reason="", is_cascade=False)

    assert done.names == ("cart",)
    assert done.waits_for == ("shop", "users")


async def test_a_cascade_switches_on_from_the_beginning_of_the_chain() -> None:
    home = FakeHome()
    await (await the_switches(home)).disable("users", reason="", is_cascade=True)

    done = await (await the_switches(home)).enable("cart", reason="", is_cascade=True)

    assert done == (("users", "shop", "cart"), ())
    assert switched(home) == {"users": True, "shop": True, "cart": True}


async def test_a_reset_drops_the_override() -> None:
    home = FakeHome()
    await (await the_switches(home)).disable("mail", reason="", is_cascade=False)

    first = await (await the_switches(home)).reset("mail")
    second = await (await the_switches(home)).reset("mail")

    assert (first, second) == (True, False)
    assert home.rows == {}


async def test_a_reset_does_not_switch_off_what_others_need() -> None:
    home = FakeHome()
    home.rows["shop"] = Override(is_enabled=True, reason="", set_by=OPERATOR)

    with pytest.raises(PluginNeededError, match="shop is off by default, and cart need it"):
        await (await the_switches(home, off_by_default="shop")).reset("shop")

    assert switched(home) == {"shop": True}


@pytest.mark.parametrize("verb", ["enable", "disable"])
async def test_an_unknown_plugin_is_refused_with_the_known_ones(verb: str) -> None:
    switches = await the_switches(FakeHome())

    with pytest.raises(UnknownPluginError, match="Installed are cart, mail, shop, users"):
        await getattr(switches, verb)("nonsense", reason="", is_cascade=False)


@pytest.mark.parametrize(
    ("is_on", "hosts", "state"),
    [
        (True, ("host1",), "running"),
        (True, (), "missing"),
        (False, ("host1",), "stopping"),
        (False, (), "disabled"),
    ],
)
def test_the_state_says_what_is_wanted_and_what_is(
    is_on: bool,
    hosts: tuple[str, ...],
    state: str,
) -> None:
    states: Mapping[str, SwitchState] = {"mail": SwitchState(default=is_on, override=None)}

    (row,) = state_rows({"mail": PLUGINS["mail"]}, states, {"mail": hosts})

    assert (row.state, row.hosts, row.override_text) == (state, hosts, "-")


def test_an_override_is_shown_with_who_and_why() -> None:
    override = Override(is_enabled=False, reason="moves", set_by=OPERATOR)

    (row,) = state_rows(
        {"mail": PLUGINS["mail"]}, {"mail": SwitchState(default=True, override=override)}, {}
    )

    assert row.override_text == "disabled by asha@site: moves"


def test_hosts_are_named_once_and_foreign_services_by_their_id() -> None:
    found = [
        Instance(name="mail", id="a-1", version="1", metadata={"host": "host2"}),
        Instance(name="mail", id="a-2", version="1", metadata={"host": "host1"}),
        Instance(name="mail", id="a-3", version="1", metadata={"host": "host1"}),
        Instance(name="other", id="x9", version="3"),
    ]

    assert hosts_by_plugin(found) == {"mail": ("host1", "host2"), "other": ("x9",)}
