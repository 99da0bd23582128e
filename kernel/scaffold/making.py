"""Makes the distribution folder of a new plugin from the template files beside this module."""

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final

from kernel.errors import Conflict, Invalid
from kernel.testing.stack import plugin_names

NAME: Final = re.compile(r"[a-z]{2,}(_?[a-z0-9]+)*")
MAX_NAME: Final = 30
SUFFIX: Final = ".tmpl"
PACKAGE_FOLDER: Final = "package"


class PluginNameError(Invalid):
    """The name cannot be one of a plugin: it stands in subjects, streams, variables and packages."""

    code = "kernel.plugin_name_invalid"
    title = "This is no name for a plugin"


class PluginExistsError(Conflict):
    """There is a plugin or a folder of this name."""

    code = "kernel.plugin_exists"
    title = "There is one of this name"


def make_plugin(name: str, *, into: Path, summary: str = "") -> Path:
    """Make the folder ``into/name`` and return it; raises PluginNameError, PluginExistsError."""
    _require_name(name)
    folder = (into / name).resolve()
    if folder.exists():
        raise PluginExistsError(f"{folder} is there already")
    package = f"realserv_{name}"
    words = {
        "name": name,
        "package": package,
        "title": "".join(word.capitalize() for word in name.split("_")),
        "heading": name.replace("_", " ").capitalize(),
        "route": name.replace("_", "-"),
        "distribution": package.replace("_", "-"),
        "summary": _sentence(summary) or f"What {name.replace('_', ' ')} is for.",
        "realserv": version("realserv"),
    }
    for place, template in templates():
        path = folder / place.replace(PACKAGE_FOLDER, package, 1).replace("NAME", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(template).substitute(words))
    return folder


def templates() -> Iterator[tuple[str, str]]:
    """Return place and text of every template file."""
    yield from _templates_in(files("kernel.scaffold") / "plugin", "")


def _templates_in(folder: Traversable, place: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates_in(entry, f"{place}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield place + entry.name.removesuffix(SUFFIX), entry.read_text()


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > MAX_NAME or keyword.iskeyword(name):
        raise PluginNameError(
            f"{name!r} is no name for a plugin: small letters, digits and single underscores, "
            f"2 to {MAX_NAME} characters, beginning with two letters"
        )
    if name in plugin_names():
        raise PluginExistsError(f"A plugin {name} is installed already")
    if name in sys.stdlib_module_names:
        raise PluginNameError(f"{name} is a module of Python's own; take another name")


def _sentence(text: str) -> str:
    plain = " ".join(text.split()).replace('"', "'").replace("\\", "/").rstrip(".")
    return f"{plain[:1].upper()}{plain[1:]}." if plain else ""
