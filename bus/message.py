"""Messages: frozen Structs that say by their base what they are, and by their module whose they are.

A contract module names its owner once, ``OWNER = "order"``; a class ``PlaceOrder(Command[OrderView])``
there is ``cmd.order.place_order.v1`` on the bus. ``VERSION`` on a class makes it ``v2``.
"""

import re
import sys
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar, get_args, get_origin

import msgspec

from bus.codec import decoder

R = TypeVar("R")

SLOTS: Final = 16
"""Events are spread over this many slots by their key. Fixed for ever: subjects carry the slot."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_=@+:-]{1,200}")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Anything that travels on the bus."""

    VERSION: ClassVar[int] = 1


class Command(Message, Generic[R], frozen=True, kw_only=True):
    """A wish to change something; applied once per message identity, answered by ``R``."""


class Query(Message, Generic[R], frozen=True, kw_only=True):
    """A question; changes nothing, may be asked again freely, answered by ``R``."""


class Event(Message, frozen=True, kw_only=True):
    """A fact. ``KEY`` names the field by which facts are kept in order."""

    KEY: ClassVar[str]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """An answer or a part of one."""


class Nothing(View, frozen=True, kw_only=True):
    """The answer that says only: done."""


Kind = Literal["cmd", "qry", "evt"]
MessageT = TypeVar("MessageT", bound=Message)


class MessageType:
    """What is known of a message class: its owner, its names on the bus, its codec."""

    __slots__ = ("cls", "decode", "key", "kind", "name", "owner", "reply", "version")

    def __init__(self, cls: type[Message], kind: Kind, owner: str, reply: Any) -> None:
        self.cls = cls
        self.kind = kind
        self.owner = owner
        self.name = snake_case(re.sub(r"V\d+$", "", cls.__name__))
        self.version = cls.VERSION
        self.reply = reply
        self.key: str | None = getattr(cls, "KEY", None)
        self.decode: Callable[[bytes], Any] = decoder(cls)

    @property
    def full_name(self) -> str:
        """The name that logs, headers and reference pages use: ``order.place_order.v1``."""
        return f"{self.owner}.{self.name}.v{self.version}"

    @property
    def subject(self) -> str:
        """The subject of a request, or the stem of an event's subjects."""
        return f"{self.kind}.{self.owner}.{self.name}.v{self.version}"

    @property
    def work_subject(self) -> str:
        """The subject of the same command when it is told durably."""
        return f"work.{self.owner}.do.{self.name}_v{self.version}"

    def key_of(self, event: Message) -> str:
        """Return the key that orders this event."""
        if self.key is None:
            raise TypeError(f"{self.cls.__name__} is an event without KEY")
        return str(getattr(event, self.key))

    def event_subject(self, key: str) -> str:
        """Return the full subject of an event: stem, slot, key; raises ValueError for a wild key."""
        return f"{self.subject}.{slot_of(key)}.{one_token(key)}"


class UnownedMessageError(TypeError):
    """A message class stands in a module that names no ``OWNER``."""


@cache
def describe(cls: type[Message]) -> MessageType:
    """Return what is known of a message class; raises TypeError when its declaration is wrong."""
    owner = getattr(sys.modules[cls.__module__], "OWNER", None)
    if not isinstance(owner, str):
        raise UnownedMessageError(f"{cls.__module__} must name its OWNER to hold {cls.__name__}")
    if issubclass(cls, Event):
        if cls.__dict__.get("KEY", getattr(cls, "KEY", None)) not in cls.__struct_fields__:
            raise TypeError(f"{cls.__name__}.KEY must name one of its fields")
        return MessageType(cls, "evt", owner, None)
    for base in getattr(cls, "__orig_bases__", ()):
        if get_origin(base) is Command:
            return MessageType(cls, "cmd", owner, get_args(base)[0])
        if get_origin(base) is Query:
            return MessageType(cls, "qry", owner, get_args(base)[0])
    raise TypeError(f"{cls.__name__} must derive from Command[Reply], Query[Reply] or Event")


def snake_case(name: str) -> str:
    """``PlaceOrder`` is ``place_order``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def one_token(text: str) -> str:
    """Return a text that is one token of a subject; raises ValueError for dots, spaces and wild cards.

    A subject that the server refuses would hold up the outbox behind it.
    """
    if _TOKEN.fullmatch(text) is None:
        raise ValueError(f"{text[:60]!r} cannot be a part of a subject")
    return text


def slot_of(key: str) -> int:
    """Return the slot, 0 to 15, in which all events of a key travel."""
    return zlib.crc32(key.encode()) % SLOTS
