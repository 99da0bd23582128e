"""Secrets that are made at the first start and kept in one file that only its owner may read."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

import msgspec

from kernel.embedded.errors import DataMismatchError
from kernel.embedded.private_files import private_folder, write_private


def new_password() -> str:
    """Return 192 bits of randomness in letters that need no quoting in a URL."""
    return token_urlsafe(24)


class Secrets:
    """The generated secrets of one data folder, in ``secrets.json``. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_folder(folder)
        self.path = self._folder / "secrets.json"

    def get(self, name: str, generate: Callable[[], str] = new_password) -> str:
        """Return the secret of this name; the first caller makes it, all later ones see the same."""
        with self._locked():
            known = self._read()
            if name not in known:
                known[name] = generate()
                text = msgspec.json.format(msgspec.json.encode(known), indent=2)
                write_private(self.path, text.decode() + "\n")
            return known[name]

    def _read(self) -> dict[str, str]:
        if not self.path.exists():
            return {}
        self.path.chmod(0o600)
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, str])
        except msgspec.DecodeError as error:
            raise DataMismatchError(
                f"{self.path} cannot be read ({error}): put it back from a copy; the data do not open without it"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock_file = self._folder / "secrets.lock"
        lock_file.touch(mode=0o600)
        with lock_file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
