"""What the pages name exists: files, links, make targets, commands of ours."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich_click as click

from kernel.cli.root import realserv

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
FOLDERS = "bus|kernel|gateway|plugins|configs|tests|bench|docs|deploy|examples|.ci"
PATH_IN_TEXT = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")
COMMAND = re.compile(
    r"(?:\$ |^|`|\(|&& )(?:\.venv/bin/)?realserv ([a-z][^`|)#\n\\]*)", re.MULTILINE
)


def without_reference(text: str) -> str:
    """Leave out nothing but what stands between the marks of a diagram."""
    return re.sub(r"^```mermaid\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links_of(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_reference(page.read_text())):
        if "://" not in target and not target.startswith("#"):
            yield target.partition("#")[0]


def find_command(words: list[str]) -> str:
    """Return what is wrong with a command line of ours, or an empty text."""
    command: click.Command | None = realserv
    for place, word in enumerate(words):
        if not isinstance(command, click.Group) or word.startswith("--"):
            return _unknown_options(command, words[place:])
        command = command.get_command(click.Context(command), word)
        if command is None:
            return f"realserv {' '.join(words)}: there is no {word}"
    return ""


def _unknown_options(command: click.Command | None, words: list[str]) -> str:
    known = {option for param in command.params for option in param.opts} if command else set()
    unknown = [w.partition("=")[0] for w in words if w.startswith("--")]
    return " ".join(word for word in unknown if word not in {*known, "--help"})


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = [target for target in links_of(page) if not (page.parent / target).exists()]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = PATH_IN_TEXT.findall(without_reference(page.read_text()))

    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text()))

    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_of_ours_exists_with_its_options(page: Path) -> None:
    lines = [found.strip() for found in COMMAND.findall(page.read_text())]

    wrong = [find_command(shlex.split(line, comments=True)) for line in lines]

    assert [problem for problem in wrong if problem] == []


def test_make_help_names_every_target_that_is_for_people() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))

    assert set(re.findall(r"^([a-z]+):.*## ", text, re.MULTILINE)) == targets


def test_every_decision_is_in_the_list_and_says_how_it_is_kept() -> None:
    folder = ROOT / "docs" / "adr"
    decisions = sorted(path for path in folder.glob("[0-9]*.md"))
    contents = (folder / "README.md").read_text()

    assert [path.name for path in decisions if f"({path.name})" not in contents] == []
    assert [p.name for p in decisions if "\n## Enforced by\n" not in p.read_text()] == []
