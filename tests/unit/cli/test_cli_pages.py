"""What the commands show without a running system."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec import Meta

from bus.jetstream import StoredMessage
from kernel.cli.diagnosis import Patient, configuration_check, credentials_check, disk_check
from kernel.cli.plugin_page import page_of, setting_rows
from kernel.cli.root import realserv
from kernel.cli.settings_in_force import as_toml, settings_in_force
from kernel.config import Configuration, ConfigurationError
from kernel.dead_letter_office import letter_of
from kernel.graph import find_plugins
from kernel.plugin import Plugin
from kernel.settings import Secret, Settings

PLUGINS = find_plugins()
NOWHERE = Path("/nonexistent")


class CommonSettings(Settings, frozen=True, kw_only=True):
    """Settings that others build on."""

    wait: timedelta = timedelta(seconds=2)
    """How long to wait."""


class SomeSettings(CommonSettings, frozen=True, kw_only=True):
    """Settings of a test."""

    api_key: Secret
    """The key at the provider."""
    most: Annotated[int, Meta(ge=1)] = 5
    """How many at the most,
    in all."""
    silent: bool = False


def shown(*words: str, folder: Path = NOWHERE) -> Result:
    environment = {"REALSERV__BUS__SERVERS": "", "REALSERV__EMBEDDED__FOLDER": str(folder)}
    return CliRunner().invoke(realserv, list(words), env=environment)


def test_settings_are_shown_with_type_default_and_the_sentence_below_them() -> None:
    rows = {row.name: row for row in setting_rows(SomeSettings)}

    assert list(rows) == ["wait", "api_key", "most", "silent"]
    assert (rows["wait"].kind, rows["wait"].default) == ("timedelta", "PT2S")
    assert rows["wait"].sentence == "How long to wait."
    assert (rows["api_key"].is_required, rows["api_key"].default) == (True, None)
    assert (rows["most"].kind, rows["most"].default) == ("int", 5)
    assert rows["most"].sentence == "How many at the most,\nin all."
    assert rows["silent"].sentence == ""


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda plugin: plugin.name)
def test_every_setting_of_every_plugin_has_a_sentence(plugin: Plugin) -> None:
    assert [row.name for row in setting_rows(plugin.settings) if not row.sentence] == []


def test_the_page_of_a_plugin_tells_its_routes_subjects_and_permissions() -> None:
    page = page_of(PLUGINS["catalog"])

    routes = {f"{route.method} {route.path}": route.allow for route in page.routes}
    subjects = {row.subject: row.does for row in page.subjects}
    assert routes["GET /api/v1/catalog/products"] == "public"
    assert routes["POST /api/v1/catalog/products"] == "products:create"
    assert subjects["qry.catalog.list_products.v1"] == "answers"
    assert subjects["evt.catalog.price_changed.v1.<slot>.<offer_id>"] == "emits"
    assert subjects["evt.vendor.vendor_approved.v1.*.>"] == "reacts"
    assert "catalog.price_changed.v1" in page.emits
    assert page.permissions[0].roles == ("vendor", "admin")


def test_a_plugin_is_shown_to_people_and_to_programs() -> None:
    text = shown("plugin", "show", "payment")
    data = shown("plugin", "show", "payment", "--json")

    assert "[plugins.payment]" in text.output
    assert msgspec.json.decode(data.output)["name"] == "payment"


def test_settings_in_force_are_the_given_ones_over_the_defaults_with_secrets_masked() -> None:
    plugin = Plugin("some", "1.0.0", summary="Some.", package="some", settings=SomeSettings)
    given = {
        "database": {"url": "postgresql://realserv:very-secret@db/{plugin}"},
        "plugins": {"some": {"api_key": "also-secret", "most": 7}},
    }

    found = settings_in_force(Configuration(given), {"some": plugin})

    assert found["plugins"]["some"] == {
        "enabled": True,
        "wait": "PT2S",
        "most": 7,
        "silent": False,
        "api_key": "***",
    }
    assert found["database"]["url"] == "postgresql://***@db/{plugin}"
    assert found["database"]["pool"]["max_size"] == 5
    assert "secret" not in as_toml(found)


def test_the_configuration_is_shown_as_toml() -> None:
    result = shown("config", "show")

    assert result.exit_code == 0
    assert "[plugins.order]" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("plugin", "list"),
        ("plugin", "disable", "order"),
        ("token", "--as", "asha@buyer.example"),
        ("nats-context",),
        ("dlq", "list"),
    ],
    ids=" ".join,
)
def test_without_a_running_system_a_command_says_how_to_start_one(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = shown(*words, folder=tmp_path)

    assert result.exit_code != 0
    assert "realserv up" in str(result.exception)


def test_the_doctor_says_that_nothing_runs_and_ends_with_1(tmp_path: Path) -> None:
    result = shown("doctor", "--json", folder=tmp_path)

    servers = [row for row in msgspec.json.decode(result.output) if row["check"] == "servers"]
    assert result.exit_code == 1
    assert [row["advice"] for row in servers] == ["start it: realserv up"]


def a_patient(data: dict[str, object]) -> Patient:
    return Patient(configuration=Configuration(data), plugins=PLUGINS)


def seeds_in(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / f"{name}.nk").touch(mode=0o600)


async def test_the_doctor_names_each_fault_of_the_configuration() -> None:
    found = await configuration_check(a_patient({"telemetry": {"log_level": "loud"}, "kernl": {}}))

    assert [finding.status for finding in found] == ["fault", "fault"]
    assert "telemetry.log_level" in found[0].found
    assert found[1].found == "[kernl] is not known"


async def test_the_doctor_misses_the_seed_of_each_that_connects(tmp_path: Path) -> None:
    names = ("gateway", "deployer", "cli", *PLUGINS)
    seeds_in(tmp_path, [name for name in names if name != "order"])
    bus = {"servers": "nats://127.0.0.1:4222", "keys_dir": str(tmp_path)}

    (finding,) = await credentials_check(a_patient({"bus": bus}))

    assert (finding.status, finding.found) == ("fault", f"no {tmp_path / 'order.nk'}")


async def test_the_doctor_measures_the_disk_of_a_folder_that_is_still_to_be_made(
    tmp_path: Path,
) -> None:
    embedded = {"folder": str(tmp_path / "not" / "yet")}

    (finding,) = await disk_check(a_patient({"embedded": embedded}))

    assert finding.found.endswith(f"at {tmp_path}")


def test_a_dead_letter_is_read_from_subject_and_headers() -> None:
    message = StoredMessage(
        7,
        "dlq.order.confirm_paid_order",
        {
            "Nats-Time-Stamp": "2026-05-01T10:00:00.123456789Z",
            "ce-id": "01999b3e-7c00-7abc-8def-0123456789ab",
            "ce-type": "payment.payment_captured.v1",
            "realserv-reason": "order.illegal_move: no",
            "realserv-origin": "EVT_PAYMENT",
            "realserv-failures": "5",
        },
        b"{}",
    )

    letter = letter_of(message)

    assert (letter.sequence, letter.plugin, letter.handler) == (7, "order", "confirm_paid_order")
    assert letter.stored_at == datetime(2026, 5, 1, 10, 0, 0, 123456, UTC)
    assert (letter.reason, letter.failures) == ("order.illegal_move: no", 5)


def test_a_configuration_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[bus")

    result = shown("config", "show", "--config", str(path), folder=tmp_path)

    assert isinstance(result.exception, ConfigurationError)
    assert "own.toml" in str(result.exception)
