"""Names of new plugins, and the templates they are made from."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.embedded.nats import USER_NAME
from kernel.scaffold import make_plugin
from kernel.scaffold.making import NAME, PluginExistsError, PluginNameError


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "Order",
        "9lives",
        "two words",
        "a-b",
        "a__b",
        "_ab",
        "ab_",
        "import",
        "email",
        "x" * 31,
    ],
)
def test_what_cannot_stand_in_subjects_and_packages_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(PluginNameError):
        make_plugin(name, into=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_name_of_an_installed_plugin_is_taken(tmp_path: Path) -> None:
    with pytest.raises(PluginExistsError, match="A plugin order is installed already"):
        make_plugin("order", into=tmp_path)


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    make_plugin("hire", into=tmp_path)

    with pytest.raises(PluginExistsError, match="is there already"):
        make_plugin("hire", into=tmp_path)


def test_the_summary_becomes_one_sentence_that_no_quote_breaks(tmp_path: Path) -> None:
    folder = make_plugin("hire", into=tmp_path, summary='tools "for"\nhire.')

    assert "summary=\"Tools 'for' hire.\"" in (folder / "realserv_hire" / "plugin.py").read_text()


def test_nothing_of_the_template_is_left(tmp_path: Path) -> None:
    folder = make_plugin("hire", into=tmp_path)

    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert len(texts) == 14
    assert [text for text in texts if "${" in text or "NAME" in text] == []


@given(st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= 30))
def test_every_name_is_one_of_a_nats_user_too(name: str) -> None:
    assert USER_NAME.fullmatch(name)
