"""What each credential of the bus may publish and subscribe to, derived from the declarations.

The server holds everybody to it, so what a declaration does not name cannot be said or heard:
messages between plugins are answered to whoever may publish them, and nobody else can.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from bus.discovery import PREFIX, VERBS
from bus.message import MessageType, describe
from bus.streams import (
    AUDIT_STREAM,
    DLQ_STREAM,
    ConsumerSpec,
    event_stream,
    reaction_consumers,
    work_stream,
    worker_consumer,
)
from kernel.embedded.nats import OPERATORS, NatsPermissions, UserKeys, accounts, users_of
from kernel.home import SWITCH_SUBJECT
from kernel.metrics import METRICS_SUBJECT
from kernel.models import models_of
from kernel.plugin import Access, DeclarationError, HandlerSpec, Plugin
from kernel.reactions import sources_of

CLI: Final = "cli"
DEPLOYER: Final = "deployer"
GATEWAY: Final = "gateway"
RESERVED: Final = frozenset({*OPERATORS, GATEWAY, "kernel"})
API: Final = "$JS.API"
READABLE: Final = (
    f"{API}.INFO",
    f"{API}.STREAM.NAMES",
    f"{API}.STREAM.LIST",
    f"{API}.STREAM.INFO.*",
    f"{API}.STREAM.MSG.GET.*",
    f"{API}.DIRECT.GET.>",
    f"{API}.CONSUMER.NAMES.*",
    f"{API}.CONSUMER.LIST.*",
    f"{API}.CONSUMER.INFO.*.*",
)
"""Requests to JetStream that change nothing."""


def grants_of(plugins: Iterable[Plugin]) -> dict[str, NatsPermissions]:
    """Return the permissions of every credential but ``admin``, which may do everything.

    Raises DeclarationError when a plugin bears the name of a credential that is not a plugin's.
    """
    declared = list(plugins)
    taken = sorted(plugin.name for plugin in declared if plugin.name in RESERVED)
    if taken:
        raise DeclarationError(
            f"no plugin may be called {', '.join(taken)}: the bus has such users"
        )
    grants = {plugin.name: plugin_grant(plugin, declared) for plugin in declared}
    grants[GATEWAY] = gateway_grant(declared)
    grants[DEPLOYER] = deployer_grant()
    grants[CLI] = operator_grant(declared)
    return grants


def plugin_grant(plugin: Plugin, plugins: Iterable[Plugin]) -> NatsPermissions:
    """Return what a plugin may: say what it declares, pull its own consumers, answer who asks it.

    Under its own name it may say all: its outbox may hold what an earlier version declared. It may
    answer in the inboxes of those who may ask it, whose last token nobody can guess; and once to
    whoever else asked it, such as a tool of an operator. That second permission alone would not do:
    the server forgets whom it let answer when it reads its configuration again.
    """
    return NatsPermissions(
        publish=_sorted(
            _spoken(plugin), _pulled(plugin), _read(plugin), _answered(plugin, plugins)
        ),
        subscribe=_sorted(_served(plugin), _bells(plugin), [inbox_of(plugin.name)]),
        allow_responses=True,
    )


def gateway_grant(plugins: Iterable[Plugin]) -> NatsPermissions:
    """Return what a host and its gateway may: send what has a route, or what anybody may send.

    Messages between plugins are not among it, whatever the gateway is made to say.
    """
    specs = [spec for plugin in plugins for spec in plugin.of_kind("command", "query")]
    asked = [_message(spec).subject for spec in specs if _is_for_users(spec)]
    bells = [f"evt.{bell}.>" for spec in specs if spec.http for bell in spec.http.bells]
    return NatsPermissions(
        publish=_sorted(asked, [METRICS_SUBJECT]),
        subscribe=_sorted(bells, [METRICS_SUBJECT, SWITCH_SUBJECT, inbox_of(GATEWAY)]),
        allow_responses=True,
    )


def deployer_grant() -> NatsPermissions:
    """Return what applies streams and consumers and sets the jobs' schedules may."""
    return NatsPermissions(
        publish=("$JS.>", "work.*.timer.*"), subscribe=(inbox_of(DEPLOYER), "_INBOX.>")
    )


def operator_grant(plugins: Sequence[Plugin]) -> NatsPermissions:
    """Return what the command line may: ask anybody, hear everything, read streams, send work again.

    It changes nothing that streams hold but dead letters, and no consumer but those that it makes
    itself to look at facts and dead letters.
    """
    seen = [event_stream(plugin.name) for plugin in plugins] + [DLQ_STREAM, AUDIT_STREAM]
    looks = [
        subject
        for stream in seen
        for subject in (
            f"{API}.CONSUMER.CREATE.{stream}",
            f"{API}.CONSUMER.CREATE.{stream}.>",
            f"{API}.CONSUMER.MSG.NEXT.{stream}.*",
            f"$JS.ACK.{stream}.>",
            f"$JS.ACK.*.*.{stream}.>",
        )
    ]
    spoken = ["cmd.>", "qry.>", "kernel.>", "wake.*", "work.*.do.*", f"{PREFIX}.>"]
    spoken.append(f"{API}.STREAM.MSG.DELETE.{DLQ_STREAM}")
    kept = [
        f"{API}.CONSUMER.CREATE.{consumer.stream}.{consumer.name}{end}"
        for plugin in plugins
        for consumer in _reacting(plugin)
        for end in ("", ".>")
    ]
    return NatsPermissions(
        publish=_sorted(spoken, READABLE, looks), publish_deny=_sorted(kept), subscribe=(">",)
    )


def accounts_block(keys: UserKeys, plugins: Iterable[Plugin]) -> str:
    """Return the ``accounts`` of a NATS server of one's own; seeds that are missing are made."""
    declared = list(plugins)
    names = (*OPERATORS, GATEWAY, *(plugin.name for plugin in declared))
    users = users_of(keys, names, grants_of(declared))
    text = msgspec.json.format(msgspec.json.encode(accounts(users)), indent=2).decode()
    return f"accounts: {text}\n"


def inbox_of(credential: str) -> str:
    """Return the subjects on which a credential receives its answers, and nobody else."""
    return f"_INBOX_{credential}.>"


def _spoken(plugin: Plugin) -> Iterator[str]:
    name = plugin.name
    for asked in plugin.asks:
        yield describe(asked).subject
    for told in plugin.tells:
        yield describe(told).work_subject
    yield f"evt.{name}.>"
    yield f"work.{name}.do.*"
    yield f"work.{name}.timer.*"
    yield f"dlq.{name}.>"
    yield f"wake.{name}"


def _pulled(plugin: Plugin) -> Iterator[str]:
    for consumer in (worker_consumer(plugin.name), *_reacting(plugin)):
        place = f"{consumer.stream}.{consumer.name}"
        yield f"{API}.CONSUMER.MSG.NEXT.{place}"
        yield f"$JS.ACK.{place}.>"
        yield f"$JS.ACK.*.*.{place}.>"


def _reacting(plugin: Plugin) -> Iterator[ConsumerSpec]:
    for source, specs in sources_of(plugin.of_kind("react")).items():
        yield from reaction_consumers(plugin.name, source, [_message(spec) for spec in specs])


def _read(plugin: Plugin) -> Iterator[str]:
    yield f"{API}.STREAM.PURGE.{work_stream(plugin.name)}"
    for source in {plugin.name, *_folded(plugin)}:
        yield f"{API}.STREAM.INFO.{event_stream(source)}"
        yield f"{API}.DIRECT.GET.{event_stream(source)}"


def _answered(plugin: Plugin, plugins: Iterable[Plugin]) -> Iterator[str]:
    served = plugin.of_kind("command", "query")
    if any(_is_for_users(spec) for spec in served):
        yield inbox_of(GATEWAY)
    messages = {_message(spec) for spec in served}
    for other in plugins:
        if any(describe(asked) in messages for asked in other.asks):
            yield inbox_of(other.name)


def _is_for_users(spec: HandlerSpec) -> bool:
    return spec.http is not None or spec.allow is Access.PUBLIC


def _served(plugin: Plugin) -> Iterator[str]:
    for spec in plugin.of_kind("command", "query"):
        yield f"{_message(spec).subject} {plugin.name}"
    for verb in VERBS:
        yield f"{PREFIX}.{verb}"
        yield f"{PREFIX}.{verb}.{plugin.name}"
        yield f"{PREFIX}.{verb}.{plugin.name}.*"


def _bells(plugin: Plugin) -> Iterator[str]:
    yield f"wake.{plugin.name}"
    for source in _folded(plugin):
        yield f"evt.{source}.>"


def _folded(plugin: Plugin) -> set[str]:
    return {source for _, source in models_of(plugin.of_kind("project"))}


def _message(spec: HandlerSpec) -> MessageType:
    if spec.message is None:
        raise DeclarationError(f"{spec.name} has no message")
    return spec.message


def _sorted(*parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({subject for part in parts for subject in part}))
