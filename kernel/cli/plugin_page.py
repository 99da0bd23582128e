"""All that a declaration says of a plugin, as plain data for pages and programs."""

import ast
import inspect
import re
import textwrap
from typing import Any

import msgspec

from bus.codec import to_plain
from bus.message import Message, describe
from kernel.http import API_PREFIX
from kernel.jobs import job_subject
from kernel.plugin import Access, HandlerSpec, Plugin
from kernel.settings import Settings


class PermissionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A permission and who has it from the start."""

    name: str
    summary: str
    roles: tuple[str, ...]


class RouteRow(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP route and the message it carries."""

    method: str
    path: str
    message: str
    allow: str


class SubjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """A subject on the bus and what the plugin does there."""

    subject: str
    does: str
    summary: str


class SettingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A setting with the sentence that stands under its field."""

    name: str
    kind: str
    is_required: bool
    default: Any
    sentence: str


class PluginPage(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin's declaration."""

    name: str
    version: str
    summary: str
    package: str
    needs: tuple[str, ...]
    wants: tuple[str, ...]
    asks: tuple[str, ...]
    tells: tuple[str, ...]
    emits: tuple[str, ...]
    permissions: tuple[PermissionRow, ...]
    routes: tuple[RouteRow, ...]
    subjects: tuple[SubjectRow, ...]
    settings: tuple[SettingRow, ...]


def page_of(plugin: Plugin) -> PluginPage:
    """Return the page of a plugin; nothing of it needs to run."""
    return PluginPage(
        name=plugin.name,
        version=plugin.version,
        summary=plugin.summary,
        package=plugin.package,
        needs=plugin.needs,
        wants=plugin.wants,
        asks=_names(plugin.asks),
        tells=_names(plugin.tells),
        emits=_names(plugin.emits),
        permissions=tuple(
            PermissionRow(name=p.name, summary=p.summary, roles=p.roles) for p in plugin.permissions
        ),
        routes=tuple(
            RouteRow(
                method=spec.http.method,
                path=API_PREFIX + spec.http.path,
                message=spec.message.full_name,
                allow=spec.allow.value if isinstance(spec.allow, Access) else spec.allow,
            )
            for spec in plugin.handlers
            if spec.http is not None and spec.message is not None
        ),
        subjects=(*_handled(plugin), *_emitted(plugin)),
        settings=setting_rows(plugin.settings),
    )


def setting_rows(kind: type[Settings]) -> tuple[SettingRow, ...]:
    """Return the settings of a Struct, each with its sentence."""
    sentences = field_sentences(kind)
    return tuple(
        SettingRow(
            name=field.encode_name,
            kind=_type_name(field.type),
            is_required=field.required,
            default=None if field.required else to_plain(default_of(field)),
            sentence=sentences.get(field.name, ""),
        )
        for field in msgspec.structs.fields(kind)
    )


def default_of(field: Any) -> Any:
    """Return the value that a field has when nobody gives one."""
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory()


def field_sentences(kind: type[Any]) -> dict[str, str]:
    """Return the sentence under each field of a Struct, those of its bases too."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not issubclass(each, msgspec.Struct) or each is msgspec.Struct:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        if isinstance(tree, ast.ClassDef):
            found |= _sentences_in(tree)
    return found


def _sentences_in(tree: ast.ClassDef) -> dict[str, str]:
    found = {}
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[line.target.id] = inspect.cleandoc(str(below.value.value))
    return found


def _handled(plugin: Plugin) -> list[SubjectRow]:
    return [
        SubjectRow(subject=subject, does=does, summary=spec.summary)
        for spec in plugin.handlers
        for subject, does in _places(plugin, spec)
    ]


def _places(plugin: Plugin, spec: HandlerSpec) -> list[tuple[str, str]]:
    if spec.kind == "job":
        return [(job_subject(plugin.name, spec.name), f"job {spec.schedule} {spec.timezone}")]
    if spec.message is None:
        return []
    if spec.kind in ("command", "query"):
        return [(spec.message.subject, "answers")]
    if spec.kind == "effect":
        return [(spec.message.work_subject, "effect")]
    does = "reacts" if spec.kind == "react" else f"folds into {spec.model}"
    return [(f"{spec.message.subject}.*.>", does)]


def _emitted(plugin: Plugin) -> list[SubjectRow]:
    return [
        SubjectRow(
            subject=f"{event.subject}.<slot>.<{event.key}>",
            does="emits",
            summary=(inspect.getdoc(event.cls) or "").partition("\n")[0],
        )
        for event in map(describe, plugin.emits)
    ]


def _names(kinds: tuple[type[Message], ...]) -> tuple[str, ...]:
    return tuple(describe(kind).full_name for kind in kinds)


def _type_name(kind: Any) -> str:
    if hasattr(kind, "__metadata__"):
        return _type_name(kind.__origin__)
    if isinstance(kind, type) and not hasattr(kind, "__args__"):
        return kind.__name__
    return re.sub(r"(?:[a-z_]+\.)+(?=[A-Za-z])", "", str(kind))
