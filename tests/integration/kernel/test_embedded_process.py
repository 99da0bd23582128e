"""Child processes, run for real: ready, stopped, ended early, left behind."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel.embedded.errors import ChildExitedError, ChildNotReadyError, TooManyRestartsError
from kernel.embedded.process import ChildCommand, ChildProcess, birth_mark, end_leftover, run_to_end
from kernel.embedded.supervision import ProbedChild, RestartPolicy, keep_running

STUBBORN = "trap '' TERM; echo up; for i in $(seq 200); do sleep 0.05; done"
QUICK = RestartPolicy(restarts=2, first_pause=0.01)


def a_command(folder: Path, script: str) -> ChildCommand:
    return ChildCommand(
        name="worker",
        argv=("/bin/sh", "-c", script),
        log_file=folder / "worker.log",
        pid_file=folder / "worker.pid",
    )


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


async def refused() -> bool:
    raise ConnectionRefusedError


@pytest.fixture
async def sleeper(tmp_path: Path) -> AsyncIterator[ChildProcess]:
    child = await ChildProcess.start(a_command(tmp_path, "exec sleep 60"))
    yield child
    await child.stop()


async def test_a_child_that_ends_early_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = await ChildProcess.start(a_command(tmp_path, "echo no room on disk; exit 3"))

    with pytest.raises(ChildExitedError, match=r"worker ended with code 3(.|\n)*no room on disk"):
        await child.wait_ready(no, within=5)


async def test_the_log_of_an_earlier_start_is_kept_but_not_told_again(tmp_path: Path) -> None:
    await (await ChildProcess.start(a_command(tmp_path, "echo earlier"))).wait()
    child = await ChildProcess.start(a_command(tmp_path, "echo now; exit 1"))

    await child.wait()

    assert child.log_tail() == "now"
    assert (tmp_path / "worker.log").read_text() == "earlier\nnow\n"


async def test_a_child_that_does_not_become_ready_is_told_after_the_limit(
    sleeper: ChildProcess,
) -> None:
    with pytest.raises(ChildNotReadyError, match=r"not ready after 0\.05 s"):
        await sleeper.wait_ready(refused, within=0.05)


async def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    child = await ChildProcess.start(a_command(tmp_path, STUBBORN))
    await child.wait_ready(lambda: _logged(child, "up"), within=5)

    await child.stop(limit=0.1)

    assert child.exit_code == -signal.SIGKILL


async def test_stopping_twice_is_the_same_as_once(sleeper: ChildProcess, tmp_path: Path) -> None:
    await sleeper.stop()

    await sleeper.stop()

    assert not sleeper.is_running
    assert not (tmp_path / "worker.pid").exists()


async def test_an_end_on_request_is_no_failure(sleeper: ChildProcess) -> None:
    watch = asyncio.create_task(sleeper.wait_for_failure())

    await sleeper.stop()

    assert await watch is None


async def test_a_kill_by_somebody_else_is_a_failure(sleeper: ChildProcess) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)

    failure = await sleeper.wait_for_failure()

    assert "worker was ended by signal 9" in str(failure)


async def test_ctrl_c_at_the_terminal_does_not_reach_a_child(sleeper: ChildProcess) -> None:
    assert os.getpgid(sleeper.pid) != os.getpgid(0)


async def test_a_log_is_for_its_owner_only(sleeper: ChildProcess) -> None:
    assert sleeper.command.log_file.stat().st_mode & 0o777 == 0o600


async def test_a_program_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ChildExitedError, match="bad disk"):
        await run_to_end(a_command(tmp_path, "echo bad disk >&2; exit 1"), within=5)


async def test_a_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ChildNotReadyError):
        await run_to_end(a_command(tmp_path, "echo $$ > pid; exec sleep 60"), within=0.1)

    assert not (tmp_path / "worker.pid").exists()


async def test_a_child_is_not_started_from_a_thread_that_may_end_before_it(tmp_path: Path) -> None:
    refusals: list[str] = []

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="main thread") as refusal:
            asyncio.run(ChildProcess.start(a_command(tmp_path, "exec sleep 60")))
        refusals.append(str(refusal.value))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)

    assert len(refusals) == 1


async def test_a_leftover_that_does_not_end_by_itself_is_ended(sleeper: ChildProcess) -> None:
    pid_file = sleeper.command.pid_file
    assert pid_file is not None

    await end_leftover(pid_file, stop_signals=(signal.SIGTERM,), patience=0.05)

    assert await asyncio.wait_for(sleeper.wait(), timeout=5) == -signal.SIGTERM
    assert not pid_file.exists()


async def test_another_process_that_was_given_the_pid_is_left_alone(
    sleeper: ChildProcess, tmp_path: Path
) -> None:
    stale = tmp_path / "stale.pid"
    stale.write_text(f'{{"pid": {sleeper.pid}, "born": "long ago"}}')

    await end_leftover(stale, stop_signals=(signal.SIGTERM,), patience=0.05)

    assert sleeper.is_running
    assert not stale.exists()


async def test_a_child_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    mark = birth_mark(child)

    parent.kill()
    await parent.wait()
    await end_leftover(tmp_path / "worker.pid", stop_signals=(), patience=5)

    assert mark is not None
    assert birth_mark(child) is None


PARENT = """
import asyncio, sys, uvloop
from pathlib import Path
from kernel.embedded.process import ChildCommand, ChildProcess

async def main():
    folder = Path(sys.argv[1])
    child = await ChildProcess.start(ChildCommand(
        name="worker", argv=("sleep", "60"), log_file=folder / "log", pid_file=folder / "worker.pid"))
    print(child.pid, flush=True)
    await child.wait()

uvloop.run(main())
"""


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    child = ProbedChild(a_command(tmp_path, "exec sleep 60"), probe=yes, within=5)
    await child.start()
    failures: list[Exception] = []
    back = asyncio.Event()
    keeper = asyncio.create_task(
        keep_running(child, policy=QUICK, on_failure=failures.append, on_restart=back.set)
    )
    assert child.process is not None
    first = child.process.pid

    os.kill(first, signal.SIGKILL)
    await asyncio.wait_for(back.wait(), timeout=5)
    second = child.process.pid
    await child.stop()
    await asyncio.wait_for(keeper, timeout=5)

    assert second != first
    assert [str(failure).partition(".")[0] for failure in failures] == [
        "worker was ended by signal 9"
    ]


async def test_a_child_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    child = ProbedChild(a_command(tmp_path, "sleep 0.05; exit 1"), probe=yes, within=5)
    await child.start()
    failures: list[Exception] = []

    with pytest.raises(TooManyRestartsError, match="worker ended again after 2 restarts"):
        await keep_running(child, policy=QUICK, on_failure=failures.append)

    assert len(failures) == 3


async def _logged(child: ChildProcess, text: str) -> bool:
    return text in child.log_tail()
