"""The plugin of ``docs/how-to/write-a-plugin.md`` is typed, fits the house, and passes its own tests."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how-to" / "write-a-plugin.md").read_text()
FILES = dict(re.findall(r"^`([\w/.]+)`\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
CONFTEST = (ROOT / "kernel/scaffold/plugin/tests/conftest.py.tmpl").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's files as package ``thanks`` and its test beside it."""
    package = tmp_path / "thanks"
    (package / "migrations").mkdir(parents=True)
    (package / "__init__.py").write_text('"""Stars for vendors."""\n')
    for name, text in FILES.items():
        ((tmp_path if name.startswith("test_") else package) / name).write_text(text)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{folder}:{ROOT}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_page_has_every_file_that_the_house_asks_for() -> None:
    assert {"contract.py", "errors.py", "store.py", "handlers.py", "plugin.py"} <= FILES.keys()
    assert "test_thanks.py" in FILES


def test_the_page_s_plugin_passes_its_own_tests(folder: Path) -> None:
    found = run(
        folder,
        "pytest",
        "-q",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        ".",
        "test_thanks.py",
    )

    assert found.returncode == 0, found.stdout + found.stderr


def test_the_page_s_plugin_is_typed(folder: Path) -> None:
    found = run(folder, "mypy", "--strict", "--exclude", "migrations", "-p", "thanks")

    assert found.returncode == 0, found.stdout


def test_the_page_s_plugin_passes_the_linter(folder: Path) -> None:
    config = str(ROOT / "pyproject.toml")

    found = run(
        folder,
        "ruff",
        "check",
        "--no-cache",
        "--config",
        config,
        "--exclude",
        "migrations",
        "thanks",
    )

    assert found.returncode == 0, found.stdout


def test_the_page_s_entry_point_names_the_declaration() -> None:
    [block] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

    entry = tomllib.loads(block)["project"]["entry-points"]["realserv.plugins"]

    assert entry == {"thanks": "thanks.plugin:plugin"}
    assert 'package="thanks"' in FILES["plugin.py"]
