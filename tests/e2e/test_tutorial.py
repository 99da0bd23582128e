"""The tutorial does what it says: its lines are run as they stand, and each answer is compared with the one it shows."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from kernel.testing.system import ADMIN_PASSWORD, running_system

TUTORIAL: Final = Path(__file__).parents[2] / "docs" / "tutorial.md"
SECONDS: Final = 100.0
BLOCK: Final = re.compile(r"^```(bash|json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REST: Final = "…"
JOURNEY: Final = [
    "/identity/register",
    "/identity/login",
    "/identity/refresh",
    "/identity/logout",
    "/identity/me",
    "/vendors",
    "/vendors/{}/approve",
    "/vendors/{}/sub-orders",
    "/catalog/products",
    "/catalog/products/{}",
    "/catalog/offers",
    "/catalog/offers/{}",
    "/catalog/offers/{}/stock",
    "/orders/quote",
    "/orders",
    "/orders/{}",
    "/orders/{}/history",
    "/orders/{}/live",
    "/orders/{}/cancel",
    "/payments/{}",
    "/payments/{}/verify",
    "/payments/webhooks/razorpay",
    "/notifications",
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Step(NamedTuple):
    """One block of lines, and what the tutorial shows below it."""

    number: int
    lines: str
    language: str
    shown: str

    def __str__(self) -> str:
        return f"{self.number}-{self.lines.splitlines()[0][:60]}"


def steps_of(tutorial: str) -> list[Step]:
    """Return all blocks in order."""
    steps: list[Step] = []
    for language, text in BLOCK.findall(tutorial):
        if language == "bash":
            steps.append(Step(len(steps), text, "", ""))
        else:
            steps[-1] = steps[-1]._replace(language=language, shown=text)
    return steps


STEPS: Final = steps_of(TUTORIAL.read_text(encoding="utf-8"))
SHOWING: Final = [step for step in STEPS if step.language]


def script_of(steps: list[Step]) -> str:
    """Return all blocks as one program: ``$OUT/<number>`` gets what a block prints."""
    parts = ["set -euo pipefail", "trap 'echo \"step $STEP failed\" >&2' ERR"]
    parts += [f'STEP={step.number}\n{{\n{step.lines}}} > "$OUT/{step.number}"' for step in steps]
    return "\n".join(parts)


@pytest.fixture(scope="module")
async def printed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[int, str]]:
    """What each block printed, run against a whole system."""
    out = tmp_path_factory.mktemp("tutorial")
    async with running_system("one-bus") as system:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TMPDIR": str(out),
            "OUT": str(out),
            "API": system.url,
            "GENERATED": str(system.supervisor.generated_file),
            "REALSERV__PLUGINS__IDENTITY__ADMIN_PASSWORD": ADMIN_PASSWORD,
        }
        bash = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            script_of(STEPS),
            cwd=out,
            env=environment,
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaints = await asyncio.wait_for(bash.communicate(), SECONDS)
        outputs = {step.number: read(out / str(step.number)) for step in STEPS}
        assert bash.returncode == 0, f"{complaints.decode()}\n{outputs}"
        yield outputs


def read(path: Path) -> str:
    """Return what stands in a file, empty when there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def values_in(text: str) -> list[Any]:
    """Return the JSON values that stand one behind the other in a text."""
    return list(_values_in(text.strip()))


def _values_in(text: str) -> Iterator[Any]:
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:].lstrip()


def unlike(actual: Any, shown: Any, place: str = "") -> list[str]:
    """Return where an answer differs from the one shown; ``…`` in a shown text stands for any text."""
    if isinstance(shown, str) and REST in shown:
        fits = shown == REST or (isinstance(actual, str) and fits_text(actual, shown))
        return [] if fits else [f"{place}: {actual!r} instead of {shown!r}"]
    if isinstance(shown, dict) and isinstance(actual, dict):
        faults = [f"{place}: {name!r} is one-sided" for name in shown.keys() ^ actual.keys()]
        for name in shown.keys() & actual.keys():
            faults += unlike(actual[name], shown[name], f"{place}.{name}")
        return faults
    if isinstance(shown, list) and isinstance(actual, list):
        is_open = shown[-1:] == [REST]
        fixed = shown[:-1] if is_open else shown
        if len(actual) < len(fixed) or (len(actual) > len(fixed) and not is_open):
            return [f"{place}: {len(actual)} items instead of {len(fixed)}"]
        return [
            fault
            for number, one in enumerate(fixed)
            for fault in unlike(actual[number], one, f"{place}[{number}]")
        ]
    if type(actual) is not type(shown) or actual != shown:
        return [f"{place}: {actual!r} instead of {shown!r}"]
    return []


def fits_text(actual: str, shown: str) -> bool:
    """Tell whether a text is the one shown, ``…`` standing for any part of it."""
    pattern = ".*".join(re.escape(part) for part in shown.split(REST))
    return re.fullmatch(pattern, actual, re.DOTALL) is not None


def missing_lines(actual: str, shown: str) -> list[str]:
    """Return the shown lines that do not come, in this order, in what was printed."""
    lines = iter(actual.splitlines())
    return [line for line in shown.splitlines() if not any(fits_text(one, line) for one in lines)]


def differences(step: Step, actual: str) -> list[str]:
    """Return how a block's output differs from what the tutorial shows."""
    if step.language == "text":
        return missing_lines(actual, step.shown)
    return unlike(values_in(actual), values_in(step.shown))


@pytest.mark.parametrize("step", SHOWING, ids=str)
async def test_a_step_prints_what_the_tutorial_shows(printed: dict[int, str], step: Step) -> None:
    assert differences(step, printed[step.number]) == [], printed[step.number]


def test_every_call_whose_answer_is_printed_is_compared() -> None:
    silent = [
        str(step)
        for step in STEPS
        if not step.language and re.search(r"^curl (?!.*> )", step.lines, re.MULTILINE)
    ]

    assert silent == []


def test_it_walks_every_path_of_the_main_journey() -> None:
    lines = "".join(step.lines for step in STEPS)
    walked = {
        re.sub(r"\$[A-Z_]+", "{}", path).split("?")[0]
        for path in re.findall(r'\$API(/[^" ]*)', lines)
    }

    steps = set(re.findall(r'-X POST "\$(?:BAGS|DAYS)/([a-z]+)"', lines))
    assert sorted(set(JOURNEY) - walked) == []
    assert steps == {"accept", "reject", "dispatch", "deliver"}
