"""The reference pages are what the declarations make now, and the declarations say enough."""

import msgspec
import pytest

from docs import generate
from gateway.settings import GatewaySettings
from kernel.config import SECTIONS
from kernel.settings import Settings

PAGES = generate.pages()
KINDS: list[type[Settings]] = [
    *SECTIONS.values(),
    GatewaySettings,
    *(plugin.settings for plugin in generate.own_plugins()),
]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_page_is_up_to_date(name: str) -> None:
    assert (generate.FOLDER / name).read_text() == PAGES[name], "run: make docs"


def test_no_page_is_left_from_earlier() -> None:
    assert {path.name for path in generate.FOLDER.glob("*.md")} == PAGES.keys()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_says_what_it_is_for(kind: type[Settings]) -> None:
    silent = {field.name for field in msgspec.structs.fields(kind)} - generate.field_sentences(
        kind
    ).keys()

    assert silent == set()


def test_every_error_code_belongs_to_one_class() -> None:
    codes = [kind.code for kind in generate.error_classes()]

    assert sorted({code for code in codes if codes.count(code) > 1}) == []


def test_every_error_says_what_it_means() -> None:
    silent = [
        kind.__name__ for kind in generate.error_classes() if not generate.first_paragraph(kind)
    ]

    assert silent == []


def test_every_error_code_begins_with_its_owner() -> None:
    owners = {"bus", "kernel", "gateway", "demo", *(p.name for p in generate.own_plugins())}

    strange = [
        kind.code for kind in generate.error_classes() if kind.code.partition(".")[0] not in owners
    ]

    assert strange == []
