"""A plugin as ``realserv plugin new`` makes it keeps the rules from its first minute."""

import asyncio
import os
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from kernel.scaffold import make_plugin


async def ended(folder: Path, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *words,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.parametrize("name", ["hire", "tools_for_hire_and_their_parts"])
async def test_a_new_plugin_passes_lint_and_format(tmp_path: Path, name: str) -> None:
    folder = make_plugin(name, into=tmp_path)

    lint = await ended(folder, "ruff", "check", "--no-cache", ".")
    layout = await ended(folder, "ruff", "format", "--check", "--diff", "--no-cache", ".")

    assert lint[0] == 0, lint[1]
    assert layout[0] == 0, layout[1]


async def test_a_new_plugin_passes_strict_types(tmp_path: Path) -> None:
    folder = make_plugin("tool_hire", into=tmp_path)

    code, said = await ended(folder, "mypy", "--cache-dir", str(tmp_path / "types"), ".")

    assert code == 0, said


async def test_a_new_plugin_migrates_and_passes_its_own_tests(tmp_path: Path) -> None:
    folder = make_plugin("tool_hire", into=tmp_path, summary="tools for hire")

    code, said = await ended(folder, "pytest", "-q", "-p", "no:cacheprovider")

    assert code == 0, said
    assert "8 passed" in said


async def test_a_new_plugin_asks_for_the_realserv_that_made_it(tmp_path: Path) -> None:
    folder = make_plugin("tool_hire", into=tmp_path)

    (own,) = {d.version for d in distributions(name="realserv")}
    assert f'dependencies = ["realserv>={own}"]' in (folder / "pyproject.toml").read_text()
