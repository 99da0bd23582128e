"""The doctor's checks. Each returns findings; one that cannot be made says so and ends no other."""

import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from bus.errors import ServiceError
from bus.jetstream import JetStreamError
from bus.jetstream import request as jetstream_request
from bus.streams import plan
from kernel.cli.census import hosts_by_plugin, instances
from kernel.cli.reach import (
    CREDENTIAL,
    POSTGRES_PORT,
    NotRunningError,
    listens,
    open_bus,
    open_home,
    require_addresses,
    require_listener,
)
from kernel.config import (
    BusSettings,
    Configuration,
    ConfigurationError,
    EmbeddedSettings,
    KernelSettings,
    RedisSettings,
)
from kernel.embedded.stack_folder import running_stack_info
from kernel.graph import PluginError, find_plugins, start_order
from kernel.host import GATEWAY_CREDENTIAL
from kernel.migrator import HOME, STORE, MigrationSet, migration_states, plugin_migrations
from kernel.plugin import Plugin
from kernel.preparation import DEPLOYER_CREDENTIAL, assets_of

Status = Literal["ok", "warning", "fault"]
GIB: Final = 1024**3
DISK_FAULT: Final = 1 * GIB
DISK_WARNING: Final = 5 * GIB
MIGRATE: Final = "run: realserv migrate"
START: Final = "start it: realserv up"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found, and what to do about it."""

    check: str
    status: Status
    found: str
    advice: str = ""


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """What is examined."""

    configuration: Configuration
    plugins: Mapping[str, Plugin]


Check = Callable[[Patient], Awaitable[Sequence[Finding]]]


async def examine(configuration: Configuration) -> list[Finding]:
    """Make all checks, in the order in which faults are best mended."""
    try:
        plugins = find_plugins()
        start_order(plugins)
    except PluginError as error:
        return [
            Finding(
                check="plugins",
                status="fault",
                found=error.message,
                advice="install what is missing, or remove what does not fit",
            )
        ]
    patient = Patient(configuration=configuration, plugins=plugins)
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        told = {finding.found for finding in findings}
        findings += [each for each in await _made(name, check, patient) if each.found not in told]
    return findings


async def _made(name: str, check: Check, patient: Patient) -> Sequence[Finding]:
    try:
        return await check(patient)
    except ConfigurationError as error:
        return [Finding(check=name, status="fault", found=fault) for fault in error.faults]
    except NotRunningError as error:
        return [Finding(check="servers", status="fault", found=error.message, advice=START)]
    except (ServiceError, JetStreamError, SQLAlchemyError, OSError) as error:
        return [Finding(check=name, status="fault", found=_one_line(error), advice=START)]


async def configuration_check(patient: Patient) -> Sequence[Finding]:
    """Every fault of the configuration with its place."""
    faults = patient.configuration.check({n: p.settings for n, p in patient.plugins.items()})
    if not patient.configuration.data.get("bus", {}).get("servers"):
        # What is missing before the first start, such as addresses and secrets, ``up`` generates.
        faults = [fault for fault in faults if not fault.endswith(" is missing")]
    return [
        Finding(check="configuration", status="fault", found=fault, advice="correct this setting")
        for fault in faults
    ] or [Finding(check="configuration", status="ok", found="no faults")]


async def ports_check(patient: Patient) -> Sequence[Finding]:
    """The gateway's ports: ours while it runs, free while it does not."""
    gateway = patient.configuration.data.get("gateway", {})
    is_running = await _is_running(patient)
    findings = []
    for key, default in (("port", 8000), ("internal_port", 9090)):
        host = str(gateway.get(key.replace("port", "host"), "127.0.0.1"))
        number = int(gateway.get(key, default))
        is_taken = await listens(host, number)
        found = f"{host}:{number} {'is answered' if is_taken else 'is free'}"
        status: Status = "ok" if is_taken == is_running else "fault"
        if status == "ok":
            advice = ""
        elif is_taken:
            advice = f"stop what listens there, or set REALSERV__GATEWAY__{key.upper()}"
        else:
            advice = "no host serves HTTP there: see the hosts' logs, or start one: realserv run --gateway"
        findings.append(Finding(check=f"gateway.{key}", status=status, found=found, advice=advice))
    return findings


async def postgres_check(patient: Patient) -> Sequence[Finding]:
    """The kernel's own database can be reached."""
    async with open_home(patient.configuration) as home:
        overrides = await home.overrides()
    found = f"answers; {len(overrides)} overrides of plugins"
    return [Finding(check="postgresql", status="ok", found=found)]


async def nats_check(patient: Patient) -> Sequence[Finding]:
    """NATS lets the operator in, and JetStream answers."""
    async with open_bus(patient.configuration) as bus:
        account = await jetstream_request(bus, "INFO")
    found = f"JetStream answers; {account['streams']} streams, {account['consumers']} consumers"
    return [Finding(check="nats", status="ok", found=found)]


async def redis_check(patient: Patient) -> Sequence[Finding]:
    """Redis answers; what needs it is only degraded without it."""
    require_addresses(patient.configuration)
    settings = patient.configuration.section("redis", RedisSettings)
    if settings.url is None:
        return [
            Finding(
                check="redis",
                status="warning",
                found="no address",
                advice="set REALSERV__REDIS__URL: what needs Redis is degraded",
            )
        ]
    client = Redis.from_url(settings.url.reveal(), socket_connect_timeout=2)
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return [
            Finding(check="redis", status="warning", found=_one_line(error), advice=START),
        ]
    finally:
        await client.aclose()
    return [Finding(check="redis", status="ok", found="answers")]


async def credentials_check(patient: Patient) -> Sequence[Finding]:
    """A seed for each that connects, readable by its owner alone."""
    require_addresses(patient.configuration)
    folder = patient.configuration.section("bus", BusSettings).keys_dir
    if not folder:
        return [
            Finding(
                check="credentials",
                status="warning",
                found="bus.keys_dir names no folder: everybody connects without a credential",
                advice="set REALSERV__BUS__KEYS_DIR to a folder of seeds",
            )
        ]
    names = (GATEWAY_CREDENTIAL, DEPLOYER_CREDENTIAL, CREDENTIAL, *sorted(patient.plugins))
    faults = [finding for name in names for finding in _seed_faults(Path(folder), name)]
    return faults or [
        Finding(check="credentials", status="ok", found=f"{len(names)} seeds in {folder}")
    ]


async def migrations_check(patient: Patient) -> Sequence[Finding]:
    """Every database is at the version of the code."""
    require_addresses(patient.configuration)
    address = patient.configuration.section("kernel", KernelSettings).database.reveal()
    await require_listener(address, POSTGRES_PORT, "PostgreSQL")
    findings = await _migrations("kernel", address, HOME)
    for name, plugin in sorted(patient.plugins.items()):
        url = patient.configuration.plugin_database(name)
        findings += await _migrations(name, url, STORE, plugin_migrations(name, plugin.package))
    count = len(patient.plugins) + 1
    return findings or [
        Finding(check="migrations", status="ok", found=f"{count} databases are current")
    ]


async def streams_check(patient: Patient) -> Sequence[Finding]:
    """Streams and consumers are as declared."""
    require_addresses(patient.configuration)
    replicas = patient.configuration.section("bus", BusSettings).replicas
    streams, consumers = assets_of(patient.plugins.values(), replicas)
    async with open_bus(patient.configuration) as bus:
        changes = await plan(bus, streams, consumers)
    if not changes:
        found = f"{len(streams)} streams and {len(consumers)} consumers are as declared"
        return [Finding(check="streams", status="ok", found=found)]
    return [
        Finding(
            check="streams",
            status="fault",
            found=f"to {change.verb}: {change.asset} {' '.join(change.differences)}".rstrip(),
            advice=MIGRATE,
        )
        for change in changes
    ]


async def plugins_check(patient: Patient) -> Sequence[Finding]:
    """Each plugin that is on is answered by a host."""
    async with open_home(patient.configuration) as home, open_bus(patient.configuration) as bus:
        overrides = await home.overrides()
        hosts = hosts_by_plugin(await instances(bus))
    on = {
        name
        for name in patient.plugins
        if (
            overrides[name].is_enabled
            if name in overrides
            else patient.configuration.is_enabled(name)
        )
    }
    missing = sorted(on - set(hosts))
    if not missing:
        return [Finding(check="plugins", status="ok", found=f"{len(on)} are on and answer")]
    return [
        Finding(
            check="plugins",
            status="fault",
            found=f"{name} is on, and no host answers for it",
            advice=f"look for plugin_failed in the hosts' logs, or start one: realserv run --plugins {name}",
        )
        for name in missing
    ]


async def disk_check(patient: Patient) -> Sequence[Finding]:
    """There is room where the embedded servers keep their data."""
    folder = Path(patient.configuration.section("embedded", EmbeddedSettings).folder).resolve()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    status: Status = "ok"
    if free < DISK_WARNING:
        status = "fault" if free < DISK_FAULT else "warning"
    advice = (
        ""
        if status == "ok"
        else f"make room, or move the data: REALSERV__EMBEDDED__FOLDER ({place})"
    )
    found = f"{free / GIB:.1f} GiB free at {place}"
    return [Finding(check="disk", status=status, found=found, advice=advice)]


CHECKS: Final[Mapping[str, Check]] = {
    "configuration": configuration_check,
    "ports": ports_check,
    "postgresql": postgres_check,
    "nats": nats_check,
    "redis": redis_check,
    "credentials": credentials_check,
    "migrations": migrations_check,
    "streams": streams_check,
    "plugins": plugins_check,
    "disk": disk_check,
}


async def _is_running(patient: Patient) -> bool:
    folder = Path(patient.configuration.section("embedded", EmbeddedSettings).folder).resolve()
    if running_stack_info(folder) is not None:
        return True
    try:
        async with open_bus(patient.configuration) as bus:
            return bool(await instances(bus))
    except ServiceError:
        return False


def _seed_faults(folder: Path, name: str) -> list[Finding]:
    path = folder / f"{name}.nk"
    if not path.exists():
        advice = f"{START}, which makes it" if name.isidentifier() else "make a seed for it"
        return [Finding(check="credentials", status="fault", found=f"no {path}", advice=advice)]
    if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.stat().st_uid == os.geteuid():
        return [
            Finding(
                check="credentials",
                status="fault",
                found=f"{path} can be read by others",
                advice=f"chmod 600 {path}",
            )
        ]
    return []


async def _migrations(name: str, url: str, *sets: MigrationSet) -> list[Finding]:
    try:
        states = await migration_states(url, *sets)
    except (ServiceError, SQLAlchemyError, OSError) as error:
        return [
            Finding(
                check=f"migrations {name}", status="fault", found=_one_line(error), advice=MIGRATE
            )
        ]
    return [
        Finding(
            check=f"migrations {name}",
            status="fault",
            found=f"{state.name} is at {state.current or 'nothing'}, the code at {state.head}",
            advice=MIGRATE,
        )
        for state in states
        if not state.is_current
    ]


def _one_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
