"""Upcasters: a fact of an older version is brought up to today's when it is read; streams stay as they are.

Each upcaster takes one version to the next, so that a chain has neither forks nor circles.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from bus.codec import plain
from bus.errors import UndecodableError
from bus.message import MessageType

Upcast = Callable[[dict[str, Any]], dict[str, Any]]


class Upcaster(NamedTuple):
    """Brings one version of a message to the next."""

    message: MessageType
    version: int
    """The version that it reads; it writes the one after it."""
    function: Upcast


class UpcastChainError(TypeError):
    """The upcasters of a message do not lead from every version they name to today's."""


class Upcasters:
    """All upcasters of all plugins; raises UpcastChainError for a chain that does not lead to today."""

    def __init__(self, declared: Iterable[Upcaster] = ()) -> None:
        by_message: dict[MessageType, dict[int, Upcast]] = {}
        for upcaster in declared:
            functions = by_message.setdefault(upcaster.message, {})
            if upcaster.version in functions:
                raise UpcastChainError(
                    f"{upcaster.message.full_name}: version {upcaster.version} is upcast twice"
                )
            functions[upcaster.version] = upcaster.function
        self._chains: dict[str, tuple[str, tuple[Upcast, ...]]] = {}
        for message, functions in by_message.items():
            _require_chain(message, functions)
            for version in functions:
                chain = tuple(functions[step] for step in range(version, message.version))
                self._chains[stem_of(message, version)] = message.subject, chain

    def read(self, subject: str, payload: bytes) -> tuple[str, bytes]:
        """Return the stem and the body of a fact as today's version has them; raises UndecodableError."""
        stem = ".".join(subject.split(".")[:4])
        known = self._chains.get(stem)
        if known is None:
            return stem, payload
        current, chain = known
        body = plain(payload)
        if not isinstance(body, dict):
            raise UndecodableError(f"{stem}: the body is no object")
        try:
            for upcast in chain:
                body = upcast(body)
        except (KeyError, TypeError, ValueError) as error:
            raise UndecodableError(f"{stem} cannot be upcast: {error!r}") from error
        return current, msgspec.json.encode(body)

    def today(self, subject: str) -> str:
        """Return the stem under which today's code knows a fact."""
        stem = ".".join(subject.split(".")[:4])
        known = self._chains.get(stem)
        return stem if known is None else known[0]

    def older(self, messages: Sequence[MessageType]) -> list[str]:
        """Return the stems under which older versions of these facts may stand in a stream."""
        current = {message.subject for message in messages}
        return [stem for stem, (today, _) in self._chains.items() if today in current]


def stem_of(message: MessageType, version: int) -> str:
    """Return the first four tokens of the subjects of one version of a message."""
    return f"{message.kind}.{message.owner}.{message.name}.v{version}"


def _require_chain(message: MessageType, functions: dict[int, Upcast]) -> None:
    beyond = [version for version in functions if not 1 <= version < message.version]
    if beyond:
        raise UpcastChainError(
            f"{message.full_name}: an upcaster from version {beyond[0]} does not lead to "
            f"{message.version}, and would never end"
        )
    missing = set(range(min(functions), message.version)) - set(functions)
    if missing:
        raise UpcastChainError(
            f"{message.full_name}: there is no upcaster from version {min(missing)} to "
            f"{min(missing) + 1}"
        )


NO_UPCASTERS: Final = Upcasters()


class Declares(Protocol):
    """A plugin's declaration, as far as it is about upcasters."""

    @property
    def upcasters(self) -> list[Upcaster]:
        """What it declares."""


def upcasters_of(plugins: Iterable[Declares]) -> Upcasters:
    """Gather what all plugins declare; raises UpcastChainError."""
    return Upcasters(upcaster for plugin in plugins for upcaster in plugin.upcasters)
