"""Changing the key of one user of the embedded NATS server while it is in use.

The server lets two keys of the user in until the last connection under the old one has gone:
``<name>.next.nk`` is let in, takes the place of ``<name>.nk``, and what was there is ``<name>.last.nk``
until then. Each step may be the first of another run, should one be broken off.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from bus.errors import ServiceError
from kernel.embedded.nats import ACCOUNT, UserKeys, nats_program, new_seed, public_key_in
from kernel.embedded.private_files import write_private
from kernel.embedded.process import ChildCommand, run_to_end
from kernel.embedded.stack_folder import StackInfo

LEAVE_SECONDS: Final = 60.0
RELOAD_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.2


class KeyInUseError(ServiceError):
    """Connections stay under the old key of a user. Both keys are let in; run the change again."""

    code = "kernel.key_in_use"
    status = 409
    retryable = True
    title = "The old key is still in use"


class UnknownUserError(ServiceError):
    """The NATS server has no user of this name, or runs no longer."""

    code = "kernel.unknown_bus_user"
    status = 404
    title = "The bus has no such user"


class KeyRotation:
    """Changes the key of one user of a running stack."""

    def __init__(self, info: StackInfo, name: str) -> None:
        self._info = info
        self._name = name
        self._folder = Path(info.folder) / "nats"
        self._keys = UserKeys(Path(info.nats_keys_dir))
        self._current = self._keys.seed_file(name)
        self._next = self._current.with_suffix(".next.nk")
        self._last = self._current.with_suffix(".last.nk")

    async def run(self, progress: Callable[[str], None], *, within: float = LEAVE_SECONDS) -> None:
        """Change the key; returns when the old one is let in no more. Raises KeyInUseError."""
        if not self._current.exists():
            raise UnknownUserError(f"The bus has no user {self._name}")
        if not self._last.exists():
            if not self._next.exists():
                write_private(self._next, new_seed())
            await self._let_in(self._keys.public_keys(self._name))
            progress("the server lets both keys in")
            write_private(self._last, self._current.read_text())
            self._next.replace(self._current)
        progress("new connections use the new key")
        old = public_key_in(self._last)
        await self._until_left(old, within)
        self._last.unlink()
        await self._let_in(self._keys.public_keys(self._name), no_more=old)
        progress("the old key is let in no more")

    async def _let_in(self, keys: list[str], *, no_more: str = "") -> None:
        """Give the user these keys, each with the grant that it has, and have the server read it."""
        config = self._folder / "nats.conf"
        settings = msgspec.json.decode(config.read_bytes())
        account = settings["accounts"][ACCOUNT]
        known = {*keys, no_more}
        own = [user for user in account["users"] if user["nkey"] in known]
        if not own:
            raise UnknownUserError(f"The server's configuration has no user {self._name}")
        others = [user for user in account["users"] if user["nkey"] not in known]
        account["users"] = [*others, *({**own[0], "nkey": key} for key in keys)]
        draft = config.with_suffix(".conf.new")
        write_private(draft, msgspec.json.format(msgspec.json.encode(settings), indent=2).decode())
        await run_to_end(
            ChildCommand(
                name="nats-server -t",
                argv=(nats_program(), "-t", "-c", str(draft)),
                log_file=self._folder / "nats-check.log",
            ),
            within=RELOAD_SECONDS,
        )
        before = (await self._monitor("varz"))["config_load_time"]
        draft.replace(config)
        os.kill(self._info.children["nats"], signal.SIGHUP)
        until = asyncio.get_running_loop().time() + RELOAD_SECONDS
        while (await self._monitor("varz"))["config_load_time"] == before:
            if asyncio.get_running_loop().time() > until:
                raise KeyInUseError("The server did not read its configuration again: see nats.log")
            await asyncio.sleep(0.02)

    async def _until_left(self, key: str, within: float) -> None:
        """Wait until nobody is connected under a key; hosts look at their seeds every second."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while names := await self._connected_under(key):
            if loop.time() > until:
                raise KeyInUseError(
                    f"Still connected under the old key of {self._name}: {', '.join(names)}. "
                    "Restart them and run this again; until then both keys are let in"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _connected_under(self, key: str) -> list[str]:
        found = await self._monitor("connz", auth="true", limit="4096")
        return sorted(
            str(row.get("name", "?"))
            for row in found["connections"]
            if key in (row.get("nkey"), row.get("authorized_user"))
        )

    async def _monitor(self, page: str, **params: str) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self._info.nats_monitor_url, timeout=5) as client:
            answer = await client.get(f"/{page}", params=params)
            found: dict[str, Any] = answer.raise_for_status().json()
            return found
