"""A mail server for development: takes every e-mail and keeps it as a file, in the order of arrival.

Run it as a process of its own: ``python -m plugins.notification.sink --port 1025 --folder .realserv/mail``.
A ``control.json`` in the folder makes it misbehave, for tests; see ``Control``.
"""

import asyncio
import contextlib
import signal
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import rich_click as click
from aiosmtpd.smtp import SMTP, Envelope, Session
from msgspec import Meta

CONTROL: Final = "control.json"
ACCEPTED: Final = "250 OK"
TOO_LONG: Final = 4 * 1024 * 1024


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the sink misbehaves. The file is read anew for each e-mail; writing it starts its counts anew."""

    fail_first: Annotated[int, Meta(ge=0)] = 0
    """So many e-mails are put off with 451."""
    hang: Literal["no", "before_storing", "after_storing"] = "no"
    """Whether the sender waits for ever for the receipt, and whether the e-mail is kept all the same."""
    refuse: str = ""
    """Addresses that match this pattern (``*@blocked.example``) are refused with 550."""


class StoredMail(msgspec.Struct, frozen=True, kw_only=True):
    """One e-mail that arrived."""

    order: int
    """Its place in the order of arrival, from 1."""
    received_at: datetime
    message_id: str
    intent_id: str
    """The identity of the intent to send it, when it is ours."""
    sender: str
    to: tuple[str, ...]
    subject: str
    body: str


class MailFolder:
    """The folder with one JSON file for each e-mail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._last = max((mail.order for mail in read_messages(folder)), default=0)

    def add(self, sender: str, to: tuple[str, ...], content: bytes) -> StoredMail:
        """Keep an e-mail: its file is there in whole or not at all."""
        self._last += 1
        mail = _read_mail(self._last, sender, to, content)
        path = self._folder / f"{mail.order:08}.json"
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(mail))
        unfinished.replace(path)
        return mail

    def control(self) -> tuple[bytes, Control]:
        """Return how to misbehave now, and the text that says so."""
        with contextlib.suppress(FileNotFoundError):
            text = (self._folder / CONTROL).read_bytes()
            return text, msgspec.json.decode(text, type=Control)
        return b"", Control()


class SinkHandler:
    """Answers the commands of one mail sender after the other."""

    def __init__(self, folder: MailFolder) -> None:
        self._folder = folder
        self._control_text = b""
        self._put_off = 0

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take or refuse a reader."""
        if fnmatch(address.lower(), self._control().refuse.lower()):
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return ACCEPTED

    async def handle_DATA(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Keep the e-mail, or misbehave as told."""
        control = self._control()
        if self._put_off < control.fail_first:
            self._put_off += 1
            return "451 4.3.0 Try again later"
        if control.hang == "before_storing":
            await asyncio.Event().wait()
        content = envelope.content
        if not isinstance(content, bytes):
            return "554 5.6.0 No content"
        self._folder.add(envelope.mail_from or "", tuple(envelope.rcpt_tos), content)
        if control.hang == "after_storing":
            await asyncio.Event().wait()
        return ACCEPTED

    def _control(self) -> Control:
        text, control = self._folder.control()
        if text != self._control_text:
            self._control_text = text
            self._put_off = 0
        return control


async def start_sink(folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
    """Listen for e-mails; port 0 takes a free one."""
    handler = SinkHandler(MailFolder(folder))
    return await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, data_size_limit=TOO_LONG, hostname="sink.realserv.example"),
        host,
        port,
    )


def read_messages(folder: Path) -> list[StoredMail]:
    """Return all e-mails that a sink has kept in a folder, in the order of arrival."""
    paths = sorted(folder.glob("[0-9]*.json"))
    return [msgspec.json.decode(path.read_bytes(), type=StoredMail) for path in paths]


def write_control(folder: Path, control: Control) -> None:
    """Have the sink of a folder misbehave from now on."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = folder / f"{CONTROL}.part"
    unfinished.write_bytes(msgspec.json.encode(control))
    unfinished.replace(folder / CONTROL)


def _read_mail(order: int, sender: str, to: tuple[str, ...], content: bytes) -> StoredMail:
    message = message_from_bytes(content, EmailMessage, policy=policy.default)
    plain = message.get_body(("plain",))
    return StoredMail(
        order=order,
        received_at=datetime.now(UTC),
        message_id=str(message.get("Message-ID", "")),
        intent_id=str(message.get("X-RealServ-Intent", "")),
        sender=sender,
        to=to,
        subject=str(message.get("Subject", "")),
        body=plain.get_content() if plain else "",
    )


async def _serve(host: str, port: int, folder: Path) -> None:
    server = await start_sink(folder, host=host, port=port)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    address = server.sockets[0].getsockname()
    click.echo(f"mail sink on {address[0]}:{address[1]}, e-mails in {folder}")
    async with server:
        await stopped.wait()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=1025, show_default=True, help="Port; 0 takes a free one.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".realserv/mail"),
    show_default=True,
    help="Where the e-mails are kept.",
)
def main(host: str, port: int, folder: Path) -> None:
    """Take e-mails and keep them as files, until it is stopped.

    Example: python -m plugins.notification.sink --port 1025 --folder .realserv/mail
    """
    asyncio.run(_serve(host, port, folder))


if __name__ == "__main__":
    main()
