"""Plugins in the order of their needs, and configuration whose faults are all named at once."""

from collections.abc import Mapping
from typing import Any

import pytest

from kernel.config import (
    BusSettings,
    Configuration,
    ConfigurationError,
    decode_settings,
    from_environment,
    load_configuration,
    masked,
    merge,
)
from kernel.graph import (
    BrokenPluginError,
    CircularPluginsError,
    IncompatiblePluginError,
    MissingPluginError,
    dependents_of,
    start_order,
)
from kernel.plugin import PUBLIC, DeclarationError, Plugin
from kernel.settings import Secret, Settings
from tests.sample_plugin.contract import AddToTally
from tests.sample_plugin.stage import a_plugin, add_to_tally


class SampleSettings(Settings, frozen=True, kw_only=True):
    """Settings of the sample."""

    password: Secret
    """A secret, which has no default."""
    retries: int = 3
    """A number."""
    is_open: bool = True
    """A switch."""
    zones: tuple[str, ...] = ()
    """A list."""


def named(name: str, *needs: str, version: str = "1.0.0") -> Plugin:
    return Plugin(name, version, summary="", package="x", needs=needs)


def graph(*plugins: Plugin) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in plugins}


def names(plugins: list[Plugin]) -> list[str]:
    return [plugin.name for plugin in plugins]


def test_plugins_start_after_all_they_need_and_otherwise_by_name() -> None:
    plugins = graph(named("a", "c"), named("b"), named("c", "d>=1,<2"), named("d"))

    assert names(start_order(plugins)) == ["d", "c", "a", "b"]


def test_F23_the_order_does_not_depend_on_who_was_found_first() -> None:
    plugins = [named("z"), named("m", "z"), named("a", "m")]

    assert names(start_order(graph(*plugins))) == names(start_order(graph(*reversed(plugins))))


@pytest.mark.parametrize(
    ("plugins", "error", "text"),
    [
        pytest.param(
            [named("a", "b")], MissingPluginError, "a needs b, which is not installed", id="missing"
        ),
        pytest.param(
            [named("a", "b>=2"), named("b")],
            IncompatiblePluginError,
            "a needs b>=2, but b is 1.0.0",
            id="incompatible",
        ),
        pytest.param(
            [named("a", "b"), named("b", "c"), named("c", "a")],
            CircularPluginsError,
            "a -> b -> c -> a",
            id="circular",
        ),
        pytest.param(
            [named("x", "a"), named("a", "b"), named("b", "a")],
            CircularPluginsError,
            "a -> b -> a",
            id="a circle without its way in",
        ),
        pytest.param([named("a", "a")], CircularPluginsError, "a -> a", id="itself"),
        pytest.param([named("a", "b >>> 2")], BrokenPluginError, "b >>> 2", id="unreadable"),
    ],
)
def test_F22_F23_missing_incompatible_and_circular_needs_are_different_errors(
    plugins: list[Plugin], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as found:
        start_order(graph(*plugins))

    assert text in str(found.value)


def test_dependents_are_all_who_need_a_plugin_through_others_too() -> None:
    plugins = [named("a", "b"), named("b", "c>=1"), named("c"), named("d")]

    assert dependents_of("c", plugins) == {"a", "b"}


def test_a_handler_for_another_plugins_message_is_refused() -> None:
    plugin = Plugin("other", "1.0.0", summary="", package="x")

    with pytest.raises(DeclarationError, match="belongs to sample"):
        plugin.command(AddToTally, add_to_tally, allow=PUBLIC)


def test_a_handler_declared_twice_is_refused() -> None:
    plugin = a_plugin()
    plugin.command(AddToTally, add_to_tally, allow=PUBLIC)

    with pytest.raises(DeclarationError, match="twice"):
        plugin.command(AddToTally, add_to_tally, allow=PUBLIC)


def test_all_faults_of_settings_are_named_at_once() -> None:
    data = {"retries": "many", "is_open": "perhaps", "colour": "red"}

    found, faults = decode_settings(SampleSettings, data, "plugins.sample")

    assert found is None
    assert sorted(fault.partition(":")[0] for fault in faults) == [
        "plugins.sample.colour is not known",
        "plugins.sample.is_open",
        "plugins.sample.password is missing",
        "plugins.sample.retries",
    ]


def test_settings_are_read_from_the_texts_of_the_environment() -> None:
    environment = {
        "REALSERV__PLUGINS__SAMPLE__PASSWORD": "pw",
        "REALSERV__PLUGINS__SAMPLE__RETRIES": "5",
        "REALSERV__PLUGINS__SAMPLE__IS_OPEN": "false",
        "REALSERV__PLUGINS__SAMPLE__ZONES": '["a", "b"]',
        "HOME": "/nowhere",
    }

    data = from_environment(environment)
    found, faults = decode_settings(SampleSettings, data["plugins"]["sample"], "plugins.sample")

    assert faults == []
    assert found == SampleSettings(
        password=Secret("pw"), retries=5, is_open=False, zones=("a", "b")
    )
    assert set(data) == {"plugins"}


@pytest.mark.parametrize("password", ["", 5, None, ["x"]])
def test_a_secret_that_is_none_is_a_fault(password: Any) -> None:
    assert decode_settings(SampleSettings, {"password": password}, "p")[1] != []


def test_a_fault_never_shows_the_secret() -> None:
    _, faults = decode_settings(SampleSettings, {"password": {"in": "hunter2"}}, "p")

    assert "hunter2" not in str(faults)


def test_the_environment_lies_over_the_files_and_overrides_over_both() -> None:
    configuration = load_configuration(
        environment={"REALSERV__BUS__SERVERS": "nats://env", "REALSERV__BUS__REPLICAS": "3"},
        overrides={"bus": {"servers": "nats://override"}},
    )

    bus = configuration.section("bus", BusSettings)

    assert (bus.servers, bus.replicas) == ("nats://override", 3)


@pytest.mark.parametrize("profile", ["development", "staging", "production"])
def test_every_profile_that_is_shipped_can_be_read(profile: str) -> None:
    assert load_configuration(profile=profile, environment={}).source == profile


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"moon\.toml"):
        load_configuration(profile="moon", environment={})


def test_sections_and_plugins_that_nobody_knows_are_faults() -> None:
    configuration = Configuration({"buss": {}, "plugins": {"sampel": {}}})

    faults = configuration.check({"sample": SampleSettings})

    assert "[buss] is not known" in faults
    assert "[plugins.sampel] is not installed" in faults
    assert "plugins.sample.password is missing" in faults
    assert "bus.servers is missing" in faults


@pytest.mark.parametrize(
    "data", [{"bus": "nats://x"}, {"plugins": "all"}, {"plugins": {"sample": 5}}, {"kernel": []}]
)
def test_a_section_that_is_no_table_is_a_fault(data: Mapping[str, Any]) -> None:
    faults = Configuration(data).check({"sample": SampleSettings})

    assert any("must be a table" in fault for fault in faults)


def test_a_variable_that_is_a_value_and_a_table_at_once_is_a_fault() -> None:
    with pytest.raises(ConfigurationError, match="REALSERV__BUS__SERVERS"):
        from_environment({"REALSERV__BUS": "x", "REALSERV__BUS__SERVERS": "y"})


def test_configurations_are_laid_over_each_other_table_by_table() -> None:
    base: dict[str, Any] = {"a": {"b": 1, "c": 2}}

    merge(base, {"a": {"c": 3}, "d": {"e": 4}})

    assert base == {"a": {"b": 1, "c": 3}, "d": {"e": 4}}


def test_configuration_for_people_shows_no_secret() -> None:
    data = {
        "url": "postgresql://user:pw@host/db",
        "webhook_secret": "s",
        "keys_dir": "/keys",
        "nested": {"password": "p", "plain": 1},
        "own": Secret("x"),
    }

    assert masked(data) == {
        "url": "postgresql://***@host/db",
        "webhook_secret": "***",
        "keys_dir": "/keys",
        "nested": {"password": "***", "plain": 1},
        "own": "***",
    }
