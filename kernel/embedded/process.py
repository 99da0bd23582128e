"""Child processes that end with their parent, whatever ends it.

The kernel of Linux signals a child when the *thread* that forked it ends; so children are started
from the main thread. Where there is no such mechanism (macOS), the pid file that each child leaves
lets the next start find and end what a killed parent left behind.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from kernel.embedded.errors import ChildExitedError, ChildNotReadyError
from kernel.embedded.private_files import write_private

TAIL_LINES: Final = 20
LOG_LIMIT: Final = 20 * 1024 * 1024
POLL: Final = 0.01
PR_SET_PDEATHSIG: Final = 1

Probe = Callable[[], Awaitable[bool]]
"""Asks a child whether it is ready. ``OSError`` and a time-out count as "not yet"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """What to run, where it logs, and which signals ask it to stop."""

    name: str
    argv: tuple[str, ...]
    log_file: Path
    pid_file: Path | None = None
    env: Mapping[str, str] | None = None
    launcher: tuple[str, ...] = ()
    """Programs that replace themselves by the child, such as ``unshare -U``."""
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    """Sent one after the other while the child does not end; SIGKILL comes last by itself.
    The first is also what the child receives when its parent dies."""


class BirthMark(msgspec.Struct, frozen=True, kw_only=True):
    """Names one process for ever: pids are given again, a pid with its time of birth is not."""

    pid: int
    born: str


def birth_mark(pid: int) -> BirthMark | None:
    """Return the mark of a living process; None when there is none, or only its unreaped remains."""
    born = _born_linux(pid) if sys.platform == "linux" else _born_elsewhere(pid)
    return BirthMark(pid=pid, born=born) if born else None


def _born_linux(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = text.rpartition(")")[2].split()
    state, start_ticks = after_name[0], after_name[19]
    return None if state in {"Z", "X"} else f"{boot}/{start_ticks}"


def _born_elsewhere(pid: int) -> str | None:
    answer = subprocess.run(  # noqa: S603  a fixed program and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


@dataclass(slots=True, kw_only=True)
class ChildProcess:
    """One running child. Made by ``start``; ``stop`` may be called at any time and again."""

    command: ChildCommand
    _process: asyncio.subprocess.Process
    _log_start: int
    _stopping: bool = field(default=False)
    _ready: bool = field(default=False)

    @classmethod
    async def start(cls, command: ChildCommand) -> Self:
        """Start the child in a session of its own, so that Ctrl-C reaches only its parent."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                f"{command.name} must be started from the main thread: a child ends with the thread that forked it"
            )
        argv, before_exec = bound_to_parent(command)
        with _open_log(command.log_file) as log:
            log_start = log.seek(0, os.SEEK_END)
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if command.env is None else dict(command.env),
                start_new_session=True,
                preexec_fn=before_exec,
            )
        child = cls(command=command, _process=process, _log_start=log_start)
        child._leave_pid_file()
        return child

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.returncode

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def is_ready(self) -> bool:
        """Whether it runs and a probe has said yes."""
        return self._ready and self.is_running

    async def wait_ready(self, probe: Probe, *, within: float, every: float = POLL) -> None:
        """Return when the probe says yes; raises ChildExitedError or ChildNotReadyError."""
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            if not self.is_running:
                raise self.exited()
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                if await asyncio.wait_for(probe(), timeout=left):
                    self._ready = True
                    return
            await asyncio.sleep(every)
        raise ChildNotReadyError(
            self.command.name, seconds=within, log_file=self.command.log_file, tail=self.log_tail()
        )

    async def wait(self) -> int:
        """Wait until it ends and return its exit code."""
        return await self._process.wait()

    async def wait_for_failure(self) -> ChildExitedError | None:
        """Wait until it ends; returns what to say about it, None when it was asked to."""
        await self._process.wait()
        return None if self._stopping else self.exited()

    async def stop(self, *, limit: float = 10.0) -> None:
        """Ask it to stop, more sternly after ``limit`` seconds each time, and return when it has."""
        self._stopping = True
        for request in (*self.command.stop_signals, signal.SIGKILL):
            if self.is_running:
                self.send(request)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), timeout=limit)
        if self.command.pid_file is not None and not self.is_running:
            self.command.pid_file.unlink(missing_ok=True)

    def send(self, request: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended meanwhile."""
        with suppress(ProcessLookupError):
            self._process.send_signal(request)

    def exited(self) -> ChildExitedError:
        """Return the error that tells how it ended."""
        return ChildExitedError(
            self.command.name,
            code=self._process.returncode if self._process.returncode is not None else 0,
            log_file=self.command.log_file,
            tail=self.log_tail(),
        )

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines that it has logged since this start."""
        with self.command.log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - 64 * 1024))
            text = log.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _leave_pid_file(self) -> None:
        mark = birth_mark(self.pid)
        if self.command.pid_file is not None and mark is not None:
            write_private(self.command.pid_file, msgspec.json.encode(mark).decode())


async def run_to_end(command: ChildCommand, *, within: float) -> None:
    """Run a program that ends by itself; raises ChildExitedError unless it ends well."""
    child = await ChildProcess.start(command)
    try:
        code = await asyncio.wait_for(child.wait(), timeout=within)
    except TimeoutError:
        raise ChildNotReadyError(
            command.name, seconds=within, log_file=command.log_file, tail=child.log_tail()
        ) from None
    finally:
        await child.stop()
    if code != 0:
        raise child.exited()


async def end_leftover(
    pid_file: Path, *, stop_signals: tuple[signal.Signals, ...], patience: float = 5.0
) -> None:
    """End the child that a killed parent left; it mostly does so by itself, so wait for that first."""
    if not pid_file.exists():
        return
    try:
        left = msgspec.json.decode(pid_file.read_bytes(), type=BirthMark)
    except msgspec.DecodeError:
        pid_file.unlink(missing_ok=True)
        return
    for request in (None, *stop_signals, signal.SIGKILL):
        if birth_mark(left.pid) != left:
            break
        if request is not None:
            with suppress(ProcessLookupError):
                os.kill(left.pid, request)
        await _gone(left, within=patience)
    pid_file.unlink(missing_ok=True)


async def _gone(mark: BirthMark, *, within: float) -> None:
    deadline = time.monotonic() + within
    while birth_mark(mark.pid) == mark and time.monotonic() < deadline:  # noqa: ASYNC110  not our child: nobody tells us of its end
        await asyncio.sleep(POLL)


def bound_to_parent(command: ChildCommand) -> tuple[list[str], Callable[[], object] | None]:
    """Return the whole command line, and what to run between fork and exec, to tie it to its parent."""
    death_signal = command.stop_signals[0]
    setpriv = _setpriv()
    if setpriv is not None:
        request = [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"]
        return [*command.launcher, *request, *command.argv], None
    argv = [*command.launcher, *command.argv]
    if sys.platform != "linux":
        return argv, None
    return argv, partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, int(death_signal))


@cache
def _setpriv() -> str | None:
    """Return the program that can ask for a signal at the parent's death; busybox's cannot."""
    program = shutil.which("setpriv")
    if program is None:
        return None
    trial = subprocess.run(  # noqa: S603  a fixed command line
        [program, "--pdeathsig", "TERM", "--", "true"], capture_output=True, check=False
    )
    return program if trial.returncode == 0 else None


def _open_log(path: Path) -> BinaryIO:
    """Open the log to write on at its end; a long one is set aside as ``….1`` first."""
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(f"{path.name}.1"))
    path.touch(mode=0o600)
    return path.open("ab")
