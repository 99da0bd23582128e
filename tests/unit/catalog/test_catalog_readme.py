"""The README tells the state diagram and the settings as they are."""

from importlib.resources import files

from plugins.catalog.domain import MOVES
from plugins.catalog.plugin import plugin
from plugins.catalog.settings import CatalogSettings

README = (files("plugins.catalog") / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_the_legal_moves() -> None:
    assert MOVES.diagram() in README


def test_the_readme_names_every_setting() -> None:
    assert [name for name in CatalogSettings.__struct_fields__ if f"`{name}`" not in README] == []


def test_the_readme_names_every_message() -> None:
    handled = {spec.message.cls.__name__ for spec in plugin.handlers if spec.message}
    said = {message.__name__ for message in (*plugin.emits, *plugin.asks)}

    assert [name for name in sorted(handled | said) if name not in README] == []
