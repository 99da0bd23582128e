"""The Dockerfile copies and names only what exists, and what it runs has few rights."""

import re
import tomllib
from fnmatch import fnmatch

from packaging.specifiers import SpecifierSet

from tests.unit.deploy.deploy_files import DOCKERFILE, OURS, ROOT, SERVICES

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in DOCKERFILE.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def of_kind(kind: str) -> list[str]:
    return [rest for instruction, rest in INSTRUCTIONS if instruction == kind]


def copied() -> list[str]:
    own = (line.split() for line in of_kind("COPY") if not line.startswith("--from"))
    return [source for words in own for source in words[:-1]]


def test_everything_that_is_copied_exists() -> None:
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_everything_that_is_copied_reaches_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]

    assert "*" in lines
    assert [s for s in copied() if not any(fnmatch(s, pattern) for pattern in let_in)] == []


def test_every_package_of_the_wheel_is_copied() -> None:
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert {*wheel["packages"], *wheel["force-include"]} <= set(copied())


def test_it_is_built_in_one_stage_and_runs_in_another_on_a_supported_python() -> None:
    stages = of_kind("FROM")
    [version] = {found[1] for stage in stages if (found := re.match(r"python:([\d.]+)-", stage))}

    assert len(stages) == 2
    assert SpecifierSet(PYPROJECT["project"]["requires-python"]).contains(version)


def test_it_does_not_run_as_root() -> None:
    assert of_kind("USER") == ["realserv"]


def test_it_has_a_health_check() -> None:
    [check] = of_kind("HEALTHCHECK")

    assert "/tmp/ready" in check


def test_its_entry_point_is_a_command_of_the_distribution() -> None:
    [entry_point] = of_kind("ENTRYPOINT")

    assert entry_point == '["realserv"]'
    assert "realserv" in PYPROJECT["project"]["scripts"]


def test_what_is_left_out_are_dependencies_that_only_embedded_servers_need() -> None:
    [without] = of_kind("ARG")
    left_out = set(re.findall(r"--no-install-package (\S+)", without.strip('"')))
    named = {re.split(r"[><=~!\[]", line)[0] for line in PYPROJECT["project"]["dependencies"]}

    assert {name.rstrip('"') for name in left_out} <= named


def test_every_file_that_a_service_runs_is_in_the_image() -> None:
    [_, script] = SERVICES["credentials"]["entrypoint"]

    assert f"COPY deploy/credentials.py {script}" in DOCKERFILE


def test_compose_builds_it() -> None:
    builds = [found["build"] for found in OURS.values()]

    assert all(build == {"context": ".", "dockerfile": "deploy/Dockerfile"} for build in builds)
