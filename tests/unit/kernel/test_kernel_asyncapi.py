"""The AsyncAPI document is complete, and each of its references leads somewhere."""

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from bus.message import describe
from kernel.asyncapi import asyncapi_document
from kernel.graph import find_plugins, start_order

PLUGINS = start_order(find_plugins())
DOCUMENT = asyncapi_document(PLUGINS)
COMPONENT_NAME = re.compile(r"[\w.-]+")
MESSAGE_REF = re.compile(r"#/channels/([\w.-]+)/messages/([\w.-]+)")

REFERENCE = {
    "type": "object",
    "required": ["$ref"],
    "properties": {"$ref": {"type": "string", "pattern": "^#/"}},
    "additionalProperties": False,
}
STRUCTURE = {
    # What the specification 3.0.0 demands of the objects that we use.
    "type": "object",
    "required": ["asyncapi", "info", "channels", "operations", "components"],
    "additionalProperties": False,
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {"type": "object", "required": ["title", "version"]},
        "defaultContentType": {"const": "application/json"},
        "channels": {
            "additionalProperties": {
                "type": "object",
                "required": ["address", "messages"],
                "additionalProperties": False,
                "properties": {
                    "address": {"type": ["string", "null"]},
                    "messages": {"minProperties": 1, "additionalProperties": REFERENCE},
                    "parameters": {
                        "additionalProperties": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "description": {"type": "string"},
                                "enum": {"type": "array", "items": {"type": "string"}},
                            },
                        }
                    },
                },
            }
        },
        "operations": {
            "additionalProperties": {
                "type": "object",
                "required": ["action", "channel", "messages"],
                "additionalProperties": False,
                "patternProperties": {"^x-": {}},
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "channel": REFERENCE,
                    "title": {"type": "string"},
                    "description": {"type": "string"},
                    "tags": {"type": "array", "items": {"required": ["name"]}},
                    "bindings": {"type": "object", "required": ["nats"]},
                    "messages": {"type": "array", "items": REFERENCE, "minItems": 1},
                    "reply": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "address": {"required": ["location"]},
                            "channel": REFERENCE,
                            "messages": {"type": "array", "items": REFERENCE},
                        },
                    },
                },
            }
        },
        "components": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "schemas": {"type": "object"},
                "messages": {
                    "additionalProperties": {
                        "type": "object",
                        "required": ["name", "payload"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "summary": {"type": "string"},
                            "headers": REFERENCE,
                            "payload": {"type": "object"},
                        },
                    }
                },
            },
        },
    },
}


def references_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references_in(inner)


def follow(reference: str) -> Any:
    found: Any = DOCUMENT
    for word in reference.removeprefix("#/").split("/"):
        found = found.get(word, {}) if isinstance(found, dict) else None
    return found or None


def test_the_document_has_the_structure_of_asyncapi_3() -> None:
    faults = [error.message for error in Draft202012Validator(STRUCTURE).iter_errors(DOCUMENT)]

    assert faults == []


def test_each_reference_leads_to_an_object() -> None:
    broken = [each for each in set(references_in(DOCUMENT)) if not isinstance(follow(each), dict)]

    assert broken == []


def test_an_operations_messages_are_those_of_its_own_channel() -> None:
    wrong = [
        name
        for name, operation in DOCUMENT["operations"].items()
        for part in (operation, operation.get("reply"))
        if part
        for message in part["messages"]
        if not message["$ref"].startswith(f"{part['channel']['$ref']}/messages/")
    ]

    assert wrong == []


def test_every_parameter_of_an_address_is_described() -> None:
    wrong = [
        name
        for name, channel in DOCUMENT["channels"].items()
        if set(re.findall(r"{(\w+)}", channel["address"] or ""))
        != set(channel.get("parameters", {}))
    ]

    assert wrong == []


def test_names_of_components_are_allowed_ones() -> None:
    names = [name for kind in DOCUMENT["components"].values() for name in kind]

    assert [name for name in names if not COMPONENT_NAME.fullmatch(name)] == []


def test_each_schema_is_a_json_schema() -> None:
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)

    schemas = DOCUMENT["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not meta.is_valid(schema)] == []


def test_every_declared_command_query_and_event_has_its_channel() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    answered = {
        spec.message.subject
        for plugin in PLUGINS
        for spec in plugin.of_kind("command", "query")
        if spec.message
    }
    emitted = {
        f"{describe(event).subject}.{{slot}}.{{key}}"
        for plugin in PLUGINS
        for event in plugin.emits
    }
    told = {describe(command).work_subject for plugin in PLUGINS for command in plugin.tells}

    assert answered | emitted | told <= addresses


def test_a_request_is_answered_by_its_view_or_a_refusal() -> None:
    operation = DOCUMENT["operations"]["identity.get_me.v1.answer"]

    assert operation["action"] == "receive"
    assert operation["x-allow"] == "logged_in"
    assert operation["bindings"] == {"nats": {"queue": "identity"}}
    assert [message["$ref"].rpartition("/")[2] for message in operation["reply"]["messages"]] == [
        "identity.get_me.v1.reply",
        "refusal",
    ]


def test_a_fact_is_sent_by_its_owner_and_received_by_those_who_react() -> None:
    channel = {"$ref": "#/channels/vendor.vendor_approved.v1"}
    who = {
        name: operation["action"]
        for name, operation in DOCUMENT["operations"].items()
        if operation["channel"] == channel
    }

    assert who["vendor.vendor_approved.v1.emit"] == "send"
    assert who["catalog.reacts.vendor.vendor_approved.v1"] == "receive"
