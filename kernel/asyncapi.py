"""AsyncAPI 3.0, derived from the declarations alone: every subject, who speaks there and what.

A request is a channel with an operation that replies; a fact is a channel whose address carries slot
and key; a told command is a channel of its owner's work queue.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bus.codec import MAX_PAYLOAD, schema_hook
from bus.errors import WireError
from bus.message import SLOTS, MessageType, describe
from kernel.plugin import Access, HandlerSpec, Plugin

ASYNCAPI: Final = "3.0.0"
VERSION: Final = "1.0.0"
SCHEMA_REF: Final = "#/components/schemas/{name}"
REFUSAL: Final = "refusal"
REQUEST_HEADERS: Final = "RequestHeaders"
DURABLE_HEADERS: Final = "DurableHeaders"
REFUSAL_HEADERS: Final = "RefusalHeaders"

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_CLOUD_EVENT: Final[Schema] = {
    "ce-id": {
        "type": "string",
        "format": "uuid",
        "description": "The message's identity for ever: a repeat carries the same.",
    },
    "ce-specversion": {"type": "string", "const": "1.0"},
    "ce-type": {"type": "string", "examples": ["order.order_placed.v1"]},
    "ce-source": {"type": "string", "description": "The plugin that speaks."},
    "ce-time": {"type": "string", "format": "date-time"},
    "realserv-correlation-id": {
        "type": "string",
        "description": "The same for all that one request causes.",
    },
    "realserv-causation-id": {
        "type": "string",
        "description": "The ce-id of the message that caused this one.",
    },
    "realserv-actor": {
        "type": "string",
        "description": "Who acted: kind and id, never a credential.",
    },
    "traceparent": {"type": "string", "description": "W3C trace context."},
}
HEADERS: Final[dict[str, Schema]] = {
    REQUEST_HEADERS: {
        "type": "object",
        "description": "All are optional: any NATS client can send a request.",
        "properties": {
            **_CLOUD_EVENT,
            "realserv-token": {
                "type": "string",
                "description": "A bus token; `realserv token --as EMAIL` prints one.",
            },
            "realserv-timeout-ms": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "How many milliseconds the caller still waits.",
            },
            "realserv-keyed": {
                "type": "string",
                "const": "1",
                "description": "This ce-id may come again: the first answer is then given again.",
            },
        },
    },
    DURABLE_HEADERS: {
        "type": "object",
        "required": ["ce-id", "ce-specversion", "ce-type", "ce-source", "ce-time"],
        "properties": {
            **_CLOUD_EVENT,
            "ce-subject": {"type": "string", "description": "The key of the fact."},
            "realserv-version": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "The version of the aggregate after this fact.",
            },
            "Nats-Msg-Id": _TEXT,
        },
    },
    REFUSAL_HEADERS: {
        "type": "object",
        "required": ["Nats-Service-Error", "Nats-Service-Error-Code"],
        "properties": {
            "Nats-Service-Error": {"type": "string", "examples": ["kernel.token_required"]},
            "Nats-Service-Error-Code": {"type": "string", "pattern": "^[1-5][0-9]{2}$"},
        },
    },
}


def asyncapi_document(plugins: Sequence[Plugin]) -> Schema:
    """Return the AsyncAPI document of what these plugins answer, do, say and react to."""
    spoken = _Spoken(plugins)
    for plugin in plugins:
        for spec in plugin.of_kind("command", "query"):
            spoken.request(plugin, spec)
        for spec in plugin.of_kind("command", "effect"):
            spoken.work(plugin, spec)
        for event in plugin.emits:
            spoken.emitted(plugin, describe(event))
        for command in plugin.tells:
            spoken.told(plugin, describe(command))
        for spec in plugin.of_kind("react", "project"):
            spoken.followed(plugin, spec)
    return spoken.document(plugins)


class _Spoken:
    """Channels, operations and messages, gathered plugin by plugin."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._told = {describe(kind) for plugin in plugins for kind in plugin.tells}
        self._channels: dict[str, Schema] = {}
        self._operations: dict[str, Schema] = {}
        self._messages: dict[str, tuple[Any, Schema]] = {}

    def request(self, plugin: Plugin, spec: HandlerSpec) -> None:
        message = _message_of(spec)
        name = message.full_name
        answer = f"{name}.reply"
        self._message(name, message.cls, REQUEST_HEADERS)
        self._message(answer, message.reply, None)
        self._message(REFUSAL, WireError, REFUSAL_HEADERS)
        self._channel(name, message.subject, [name])
        self._channel(answer, None, [answer, REFUSAL])
        self._operations[f"{name}.answer"] = {
            "action": "receive",
            "channel": _channel_ref(name),
            "title": spec.summary,
            "description": inspect.getdoc(message.cls) or "",
            "tags": [{"name": plugin.name}, {"name": spec.kind}],
            "bindings": {"nats": {"queue": plugin.name}},
            "messages": [_channel_message_ref(name, name)],
            "reply": {
                "address": {"location": "$message.header#/reply-to"},
                "channel": _channel_ref(answer),
                "messages": [
                    _channel_message_ref(answer, answer),
                    _channel_message_ref(answer, REFUSAL),
                ],
            },
            "x-allow": spec.allow.value if isinstance(spec.allow, Access) else spec.allow,
        }

    def work(self, plugin: Plugin, spec: HandlerSpec) -> None:
        message = _message_of(spec)
        if spec.kind == "command" and message not in self._told:
            return
        channel = self._work_channel(message)
        self._operations[f"{message.full_name}.{'do' if spec.kind == 'command' else 'effect'}"] = {
            "action": "receive",
            "channel": _channel_ref(channel),
            "title": spec.summary,
            "tags": [{"name": plugin.name}, {"name": spec.kind}],
            "messages": [_channel_message_ref(channel, channel)],
        }

    def told(self, plugin: Plugin, message: MessageType) -> None:
        channel = self._work_channel(message)
        self._operations[f"{plugin.name}.tells.{message.full_name}"] = {
            "action": "send",
            "channel": _channel_ref(channel),
            "tags": [{"name": plugin.name}, {"name": "tell"}],
            "messages": [_channel_message_ref(channel, channel)],
        }

    def emitted(self, plugin: Plugin, event: MessageType) -> None:
        channel = self._event_channel(event)
        self._operations[f"{event.full_name}.emit"] = {
            "action": "send",
            "channel": _channel_ref(channel),
            "title": _first_sentence(event.cls),
            "tags": [{"name": plugin.name}, {"name": "event"}],
            "messages": [_channel_message_ref(channel, channel)],
        }

    def followed(self, plugin: Plugin, spec: HandlerSpec) -> None:
        event = _message_of(spec)
        channel = self._event_channel(event)
        follows = f"{plugin.name}.reacts" if spec.kind == "react" else f"{plugin.name}.{spec.model}"
        self._operations[f"{follows}.{event.full_name}"] = {
            "action": "receive",
            "channel": _channel_ref(channel),
            "tags": [{"name": plugin.name}, {"name": spec.kind}],
            "messages": [_channel_message_ref(channel, channel)],
        }

    def document(self, plugins: Sequence[Plugin]) -> Schema:
        names = list(self._messages)
        found, components = msgspec.json.schema_components(
            [self._messages[name][0] for name in names],
            schema_hook=schema_hook,
            ref_template=SCHEMA_REF,
        )
        payloads = dict(zip(names, found, strict=True))
        document = {
            "asyncapi": ASYNCAPI,
            "info": {
                "title": "RealServ",
                "version": VERSION,
                "description": "Plain JSON with its metadata in headers (CloudEvents in binary mode), "
                f"at most {MAX_PAYLOAD} bytes. Requests are NATS request and reply; facts and told "
                "commands are kept in JetStream.",
                "license": {"name": "Apache-2.0"},
                "tags": [
                    {"name": plugin.name, "description": plugin.summary} for plugin in plugins
                ],
            },
            "defaultContentType": "application/json",
            "channels": dict(sorted(self._channels.items())),
            "operations": dict(sorted(self._operations.items())),
            "components": {
                "schemas": {**components, **HEADERS},
                "messages": {
                    name: {**self._messages[name][1], "payload": payloads[name]} for name in names
                },
            },
        }
        plain: Schema = msgspec.json.decode(msgspec.json.encode(document))
        return plain

    def _work_channel(self, message: MessageType) -> str:
        name = f"{message.full_name}.work"
        self._message(name, message.cls, DURABLE_HEADERS)
        self._channel(name, message.work_subject, [name])
        return name

    def _event_channel(self, event: MessageType) -> str:
        name = event.full_name
        self._message(name, event.cls, DURABLE_HEADERS)
        parameters: dict[str, Schema] = {
            "slot": {
                "description": f"crc32 of the key modulo {SLOTS}.",
                "enum": [str(slot) for slot in range(SLOTS)],
            },
            "key": {"description": f"The `{event.key}`: facts of one key stay in order."},
        }
        self._channel(name, f"{event.subject}.{{slot}}.{{key}}", [name], parameters)
        return name

    def _channel(
        self,
        name: str,
        address: str | None,
        messages: Iterable[str],
        parameters: Mapping[str, Schema] | None = None,
    ) -> None:
        channel: Schema = {
            "address": address,
            "messages": {
                message: {"$ref": f"#/components/messages/{message}"} for message in messages
            },
        }
        if parameters:
            channel["parameters"] = parameters
        self._channels[name] = channel

    def _message(self, name: str, kind: Any, headers: str | None) -> None:
        described: Schema = {"name": name, "summary": _first_sentence(kind)}
        if headers is not None:
            described["headers"] = {"$ref": SCHEMA_REF.format(name=headers)}
        self._messages[name] = (kind, described)


def _message_of(spec: HandlerSpec) -> MessageType:
    if spec.message is None:
        raise TypeError(f"{spec.name} handles no message")
    return spec.message


def _first_sentence(kind: Any) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _channel_ref(channel: str) -> Schema:
    return {"$ref": f"#/channels/{channel}"}


def _channel_message_ref(channel: str, message: str) -> Schema:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}
