"""Who acts. It travels in a signed token on requests, and as bare ids on durable messages."""

from typing import Literal

import msgspec

ActorKind = Literal["anonymous", "user", "plugin", "operator"]


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The one on whose behalf a message is handled; roles and permissions only on requests."""

    kind: ActorKind
    id: str = ""
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    session: str = ""

    def may(self, permission: str) -> bool:
        """Tell whether the actor holds a permission."""
        return permission in self.permissions

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else self.kind


ANONYMOUS = Actor(kind="anonymous")


def parse_actor(text: str) -> Actor:
    """Rebuild the actor of a durable message: kind and id, no permissions."""
    kind, _, identity = text.partition(":")
    if kind in ("user", "plugin", "operator"):
        return Actor(kind=kind, id=identity)  # type: ignore[arg-type]  # the line above narrowed it
    return ANONYMOUS
