"""Configuration: TOML files, then the environment; decoded strictly, all faults named at once.

``REALSERV__PLUGINS__ORDER__PAYMENT_WINDOW=PT15M`` sets ``payment_window`` of ``[plugins.order]``.
"""

import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from bus.codec import convert, to_plain
from bus.errors import ServiceError, UndecodableError
from kernel.database import PoolSettings
from kernel.settings import Secret, Settings

S = TypeVar("S", bound=Settings)

ENV_PREFIX: Final = "REALSERV__"
Profile = Literal["development", "staging", "production", "test"]


class ConfigurationError(ServiceError):
    """The configuration has faults; each is named with its place."""

    code = "kernel.configuration_error"
    title = "The configuration is not valid"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class KernelSettings(Settings, frozen=True, kw_only=True):
    """The kernel's own settings."""

    profile: Profile = "development"
    """The name of the profile, for logs."""
    database: Secret
    """Address of the kernel's own database."""
    drain_seconds: Annotated[float, Meta(ge=0.1, le=30)] = 8.0
    """Seconds that work in flight gets to end when the process stops."""
    switch_poll_seconds: Annotated[float, Meta(ge=0.1, le=60)] = 2.0
    """Seconds between two looks at what operators switched, should the news get lost."""


class BusSettings(Settings, frozen=True, kw_only=True):
    """How to reach NATS."""

    servers: str
    """Addresses of the NATS servers, separated by commas."""
    keys_dir: str = ""
    """Folder of nkey seeds, one file ``<plugin>.nk`` for each credential; empty for none."""
    tls_ca: str = ""
    """File of the authorities that may have signed the servers' certificates; empty for no TLS."""
    tls_cert: str = ""
    """File of the certificate that we show to servers that ask for one."""
    tls_key: str = ""
    """File of the private key of ``tls_cert``."""
    local_calls: bool = True
    """Whether a call to a plugin of the same process takes the short way."""
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Copies of each stream; 3 on a cluster."""


class DatabaseSettings(Settings, frozen=True, kw_only=True):
    """Where the plugins' databases are, unless a plugin names its own."""

    url: Secret
    """Address with ``{plugin}`` in the place of the database's name."""
    pool: PoolSettings = PoolSettings()
    """Connections of each plugin on each host."""


class RedisSettings(Settings, frozen=True, kw_only=True):
    """Where Redis is."""

    url: Secret | None = None
    """Address of Redis; without it what needs Redis is degraded."""
    prefix: str = "realserv"
    """What every key begins with."""


class TelemetrySettings(Settings, frozen=True, kw_only=True):
    """Logs and traces."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or coloured text for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least grave lines that are written."""
    otlp_endpoint: str = ""
    """Address of an OTLP/HTTP collector for traces; empty for none."""
    sample_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Share of the traces that are recorded."""


class EmbeddedSettings(Settings, frozen=True, kw_only=True):
    """The servers that ``realserv up`` starts by itself."""

    folder: str = ".realserv"
    """Where data, credentials and logs lie."""
    nats_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Port of NATS; 0 for a free one."""
    postgres_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Port of PostgreSQL; 0 for a free one."""
    redis_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Port of Redis; 0 for a free one."""
    hosts: Annotated[int, Meta(ge=0, le=64)] = 0
    """Host processes; 0 for one per core."""
    stand_ins: bool = True
    """Whether local stand-ins play the outside providers."""
    demo: bool = True
    """Whether an empty market is filled with the demonstration catalogue."""


class Configuration:
    """The whole configuration: sections still as data, decoded by whoever owns them."""

    def __init__(self, data: Mapping[str, Any], source: str = "") -> None:
        self.data = data
        self.source = source

    def section(self, name: str, kind: type[S]) -> S:
        """Decode one section; raises ConfigurationError with all its faults."""
        found, faults = decode_settings(kind, self.data.get(name, {}), name)
        if found is None:
            raise ConfigurationError(faults)
        return found

    def plugin_section(self, name: str) -> dict[str, Any]:
        """Return a plugin's own settings as data, without the kernel's keys."""
        return {key: value for key, value in self._plugin(name).items() if key not in PLUGIN_KEYS}

    def is_enabled(self, name: str) -> bool:
        """Tell whether a plugin is on by default."""
        value = self._plugin(name).get("enabled", True)
        return value if isinstance(value, bool) else str(value).lower() == "true"

    def plugin_database(self, name: str) -> str:
        """Return the address of a plugin's database."""
        own = self._plugin(name).get("database")
        if own:
            return str(own)
        return self.section("database", DatabaseSettings).url.reveal().replace("{plugin}", name)

    def check(
        self, plugins: Mapping[str, type[Settings]], *, only: Collection[str] | None = None
    ) -> list[str]:
        """Return all faults: of sections, of plugins' settings, and of keys that nobody knows.

        With ``only``, the settings of these plugins alone: a host needs no other plugin's secrets.
        """
        faults: list[str] = []
        for name, kind in SECTIONS.items():
            faults += decode_settings(kind, self.data.get(name, {}), name)[1]
        known = {*SECTIONS, "plugins", "gateway"}
        faults += [f"[{name}] is not known" for name in self.data if name not in known]
        sections = self.data.get("plugins", {})
        if not isinstance(sections, Mapping):
            return [*faults, "plugins must be a table"]
        faults += [f"[plugins.{name}] is not installed" for name in sections if name not in plugins]
        for name, settings in plugins.items():
            if only is not None and name not in only:
                continue
            place = f"plugins.{name}"
            if isinstance(sections.get(name, {}), Mapping):
                faults += decode_settings(settings, self.plugin_section(name), place)[1]
            else:
                faults.append(f"{place} must be a table")
        return faults

    def _plugin(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.data.get("plugins", {}).get(name, {})
        return found


SECRET_NAMES: Final = re.compile(r"password|secret|(^|_)(key|token)$")
PLUGIN_KEYS: Final = frozenset({"enabled", "database"})
SECTIONS: Final[dict[str, type[Settings]]] = {
    "kernel": KernelSettings,
    "bus": BusSettings,
    "database": DatabaseSettings,
    "redis": RedisSettings,
    "telemetry": TelemetrySettings,
    "embedded": EmbeddedSettings,
}


def decode_settings(kind: type[S], data: Any, place: str) -> tuple[S | None, list[str]]:
    """Decode a section field by field, so that every fault is found in one go."""
    if not isinstance(data, Mapping):
        return None, [f"{place} must be a table"]
    faults: list[str] = []
    values: dict[str, Any] = {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    faults += [f"{place}.{key} is not known" for key in data if key not in fields]
    for name, field in fields.items():
        if name not in data:
            if field.required:
                faults.append(f"{place}.{name} is missing")
            continue
        try:
            values[field.name] = _convert(data[name], field.type)
        except UndecodableError as error:
            inner = f".{error.errors[0].field}" if error.errors else ""
            text = error.errors[0].message if error.errors else error.message
            faults.append(f"{place}.{name}{inner}: {text}")
    if faults:
        return None, faults
    return kind(**values), []


def _convert(value: Any, kind: Any) -> Any:
    if isinstance(value, str) and value[:1] in "[{" and kind is not str:
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return convert(value, kind, strict=False)
    return convert(value, kind, strict=False)


def load_configuration(
    *,
    profile: str = "development",
    extra: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Configuration:
    """Read ``default.toml``, the profile, further files, the environment, then ``overrides``."""
    data: dict[str, Any] = {}
    folder = configs_folder()
    for path in (folder / "default.toml", folder / f"{profile}.toml", *extra):
        if not path.exists():
            raise ConfigurationError([f"{path.name}: there is no such configuration file"])
        try:
            merge(data, tomllib.loads(path.read_text()))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError([f"{path.name}: {error}"]) from error
    merge(data, from_environment(os.environ if environment is None else environment))
    merge(data, overrides or {})
    data.setdefault("kernel", {}).setdefault("profile", profile)
    return Configuration(data, profile)


def configs_folder() -> Path:
    """Return the folder of the shipped configuration files."""
    packaged = Path(str(files("kernel"))) / "_configs"
    return packaged if packaged.exists() else Path(str(files("kernel"))).parent / "configs"


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Turn ``REALSERV__SECTION__KEY`` variables into nested data; raises ConfigurationError."""
    data: dict[str, Any] = {}
    for name, value in sorted(environment.items()):
        if name.startswith(ENV_PREFIX):
            *path, last = name.removeprefix(ENV_PREFIX).lower().split("__")
            place: Any = data
            for part in path:
                place = place.setdefault(part, {}) if isinstance(place, dict) else place
            if not isinstance(place, dict) or isinstance(place.get(last), dict):
                raise ConfigurationError([f"{name}: a value and a table cannot have one name"])
            place[last] = value
    return data


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Lay one configuration over another, table by table."""
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def masked(value: Any, name: str = "") -> Any:
    """Return configuration data for people: secrets and credentials in addresses as ``***``."""
    if isinstance(value, Mapping):
        return {key: masked(inner, key) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, name) for inner in value]
    if SECRET_NAMES.search(name) and value:
        return "***"
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, str) and "://" in value and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    return to_plain(value)
