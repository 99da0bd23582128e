"""The files that deploy the system, read once for the tests that check them."""

import re
import string
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
COMPOSE_TEXT: Final = (ROOT / "compose.yaml").read_text()
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
DOCKERFILE: Final = (ROOT / "deploy" / "Dockerfile").read_text()
HAPROXY: Final = (ROOT / "deploy" / "haproxy.cfg").read_text()

OURS: Final = {name: s for name, s in SERVICES.items() if s["image"].startswith("realserv:")}
HOSTS: Final = {name: s for name, s in OURS.items() if s.get("command", [""])[0] == "run"}
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::?([-?])([^}]*))?\}")


def variables_of(text: str) -> set[str]:
    """Return the names that compose takes from ``.env``."""
    return {found[1] for found in _VARIABLE.finditer(text)}


def filled(text: str, values: dict[str, str]) -> str:
    """Put values in the place of ``${NAME}``, as compose does."""
    return _VARIABLE.sub(lambda found: values.get(found[1]) or found[3], text)


def environment_of(service: str, values: dict[str, str]) -> dict[str, str]:
    """Return what a service's processes find in their environment."""
    return {k: filled(str(v), values) for k, v in SERVICES[service].get("environment", {}).items()}


def replicas_of(service: str) -> int:
    """Return how many containers a service has."""
    replicas: int = SERVICES[service].get("deploy", {}).get("replicas", 1)
    return replicas


def option_of(service: str, option: str) -> str:
    """Return what follows an option in a service's command."""
    command: list[str] = SERVICES[service]["command"]
    return command[command.index(option) + 1]


def mounts_of(service: str) -> list[tuple[str, str]]:
    """Return pairs of what is mounted and where."""
    pairs = (volume.split(":") for volume in SERVICES[service].get("volumes", []))
    return [(pair[0], pair[1]) for pair in pairs]


def is_plain(text: str) -> bool:
    """Tell whether a text can stand in an address without being escaped."""
    return set(text) <= set(string.ascii_letters + string.digits + "-_")
