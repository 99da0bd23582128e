"""Settings types: one frozen Struct per plugin, unknown keys refused, secrets that print as ``***``."""

from typing import Any

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every settings Struct. Durations are ``timedelta`` (ISO 8601 such as ``PT2M``)."""


class NoSettings(Settings, frozen=True, kw_only=True):
    """For a plugin without settings of its own."""


class Secret:
    """A secret text. It has no default, prints as ``***`` and never leaves in a message."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one call that needs it."""
        return self._text

    @classmethod
    def __from_wire__(cls, value: object) -> "Secret":
        if not isinstance(value, str) or not value:
            raise ValueError("expected a secret text that is not empty")
        return cls(value)

    @classmethod
    def __wire_schema__(cls) -> dict[str, Any]:
        return {"type": "string", "format": "password"}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__
