"""The SMTP mailer against the real sink: handed over once, put off, refused, hung, lost."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from kernel.errors import NothingHappened
from kernel.providers import ProviderRestingError, ProviderUnavailable
from plugins.notification.adapters.smtp import SmtpMailer
from plugins.notification.cli import mail as mail_commands
from plugins.notification.errors import (
    MailDeferredError,
    MailRefusedError,
    MailServerUnavailableError,
)
from plugins.notification.mail import Mail
from plugins.notification.settings import NotificationSettings, SmtpSettings
from plugins.notification.sink import Control, read_messages, start_sink, write_control

NOON = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)


def a_mail(**overrides: Any) -> Mail:
    fields: dict[str, Any] = {
        "intent_id": "0198a2c4-0000-7000-8000-000000000001",
        "to_name": "Asha Rao",
        "to_address": "asha@buyer.example",
        "subject": "We have your order",
        "body": "Hello Asha Rao,\n\nTotal: ₹1,46,178.08\n.\nA line with a dot above.\n",
        "at": NOON,
    }
    return Mail(**fields | overrides)


def a_mailer(port: int, **smtp: Any) -> SmtpMailer:
    return SmtpMailer(NotificationSettings(smtp=SmtpSettings(port=port, **smtp)))


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    server = await start_sink(tmp_path)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def a_server_that(*replies: bytes) -> AsyncIterator[int]:
    """A mail server that answers each line by the next reply, and hangs up after the last."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            writer.write(reply)
            await writer.drain()
            await reader.readline()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_an_e_mail_arrives_as_it_was_written(port: int, tmp_path: Path) -> None:
    await a_mailer(port).send(a_mail())

    (stored,) = read_messages(tmp_path)
    assert stored.to == ("asha@buyer.example",)
    assert stored.sender == "no-reply@realserv.example"
    assert stored.subject == "We have your order"
    assert stored.body.replace("\r\n", "\n") == a_mail().body
    assert stored.message_id == "<0198a2c4-0000-7000-8000-000000000001@realserv.example>"
    assert stored.intent_id == "0198a2c4-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("आशा राव", "asha@buyer.example"),
        ('Asha "the mason", Rao <x@y.example>', "asha@buyer.example"),
        ("Asha", "asha+bricks.o'neill@buyer.example"),
    ],
)
async def test_readers_with_unusual_names_and_addresses_get_their_e_mail(
    port: int, tmp_path: Path, name: str, address: str
) -> None:
    await a_mailer(port).send(a_mail(to_name=name, to_address=address))

    (stored,) = read_messages(tmp_path)
    assert stored.to == (address,)


async def test_e_mails_are_kept_in_the_order_of_arrival(port: int, tmp_path: Path) -> None:
    mailer = a_mailer(port)

    await mailer.send(a_mail(subject="first"))
    await mailer.send(a_mail(subject="second"))

    assert [(m.order, m.subject) for m in read_messages(tmp_path)] == [(1, "first"), (2, "second")]


async def test_a_sink_that_starts_again_goes_on_counting(tmp_path: Path) -> None:
    async with await start_sink(tmp_path) as first:
        await a_mailer(first.sockets[0].getsockname()[1]).send(a_mail())

    async with await start_sink(tmp_path) as second:
        await a_mailer(second.sockets[0].getsockname()[1]).send(a_mail())

    assert [stored.order for stored in read_messages(tmp_path)] == [1, 2]


async def test_an_e_mail_that_is_put_off_has_not_been_sent_and_opens_no_circuit(
    port: int, tmp_path: Path
) -> None:
    write_control(tmp_path, Control(fail_first=6))
    mailer = a_mailer(port)

    outcomes = await asyncio.gather(
        *(mailer.send(a_mail()) for _ in range(7)), return_exceptions=True
    )

    put_off = [outcome for outcome in outcomes if isinstance(outcome, MailDeferredError)]
    assert len(put_off) == 6
    assert isinstance(put_off[0], NothingHappened)
    assert len(read_messages(tmp_path)) == 1
    assert mailer.guard.snapshot().breaker == "closed"


async def test_a_refused_reader_is_refused_for_good(port: int, tmp_path: Path) -> None:
    write_control(tmp_path, Control(refuse="*@blocked.example"))

    with pytest.raises(MailRefusedError) as refused:
        await a_mailer(port).send(a_mail(to_address="Asha@Blocked.example"))

    assert refused.value.reply_code == 550
    assert not refused.value.retryable
    assert "blocked" not in str(refused.value)
    assert read_messages(tmp_path) == []


async def test_a_receipt_that_does_not_come_leaves_it_unknown_whether_the_e_mail_was_taken(
    port: int, tmp_path: Path
) -> None:
    write_control(tmp_path, Control(hang="after_storing"))

    with pytest.raises(ProviderUnavailable) as lost:
        await a_mailer(port, timeout=timedelta(milliseconds=300)).send(a_mail())

    assert not isinstance(lost.value, NothingHappened)
    assert len(read_messages(tmp_path)) == 1


async def test_a_sink_can_hang_without_keeping_the_e_mail(port: int, tmp_path: Path) -> None:
    write_control(tmp_path, Control(hang="before_storing"))

    with pytest.raises(ProviderUnavailable):
        await a_mailer(port, timeout=timedelta(milliseconds=300)).send(a_mail())

    assert read_messages(tmp_path) == []


async def test_without_a_server_nothing_has_happened(unused_port: int) -> None:
    with pytest.raises(MailServerUnavailableError) as refused:
        await a_mailer(unused_port).send(a_mail())

    assert isinstance(refused.value, NothingHappened)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_an_e_mail_that_must_be_protected_is_not_sent_in_the_clear(
    port: int, tmp_path: Path, security: str
) -> None:
    mailer = a_mailer(port, security=security, timeout=timedelta(seconds=2))

    with pytest.raises(MailServerUnavailableError):
        await mailer.send(a_mail())

    assert read_messages(tmp_path) == []


async def test_a_server_that_never_greets_has_taken_nothing() -> None:
    async with a_server_that(b"") as silent:
        with pytest.raises(MailServerUnavailableError):
            await a_mailer(silent, timeout=timedelta(milliseconds=200)).send(a_mail())


async def test_a_server_that_closes_its_service_has_taken_nothing_and_counts_as_a_fault() -> None:
    async with a_server_that(b"220 hello\r\n", b"250 hello\r\n", b"421 closing\r\n") as closing:
        mailer = a_mailer(closing)

        with pytest.raises(MailServerUnavailableError):
            await mailer.send(a_mail())

    assert mailer.guard.snapshot().failures == 1


async def test_a_server_that_hangs_up_before_the_content_has_taken_nothing() -> None:
    async with a_server_that(b"220 hello\r\n", b"250 hello\r\n", b"250 ok\r\n") as leaving:
        with pytest.raises(MailServerUnavailableError):
            await a_mailer(leaving).send(a_mail())


async def test_a_server_that_hangs_up_amid_the_content_leaves_it_unknown() -> None:
    replies = (b"220 hello\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n")
    async with a_server_that(*replies) as leaving:
        with pytest.raises(ProviderUnavailable) as lost:
            await a_mailer(leaving).send(a_mail())

    assert not isinstance(lost.value, NothingHappened)


async def test_a_server_that_is_away_is_left_alone_after_five_faults(unused_port: int) -> None:
    mailer = a_mailer(unused_port)
    await asyncio.gather(*(mailer.send(a_mail()) for _ in range(5)), return_exceptions=True)

    with pytest.raises(ProviderRestingError) as resting:
        await mailer.send(a_mail())

    assert isinstance(resting.value, NothingHappened)
    assert mailer.guard.snapshot().calls == 5


@pytest.fixture
async def unused_port() -> int:
    async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
    return port


async def test_the_sink_runs_as_a_process_of_its_own_and_ends_when_told(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plugins.notification.sink"),
        *("--port", "0", "--folder", str(tmp_path / "mail")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    greeting = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    port = int(greeting.split()[3].rstrip(",").rpartition(":")[2])

    await a_mailer(port).send(a_mail())
    process.terminate()

    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert [stored.subject for stored in read_messages(tmp_path / "mail")] == ["We have your order"]


@pytest.fixture
async def folder(port: int, tmp_path: Path) -> Path:
    await a_mailer(port).send(a_mail())
    await a_mailer(port).send(a_mail(intent_id="second", subject="Your order is on its way"))
    return tmp_path


def test_the_command_line_lists_e_mails(folder: Path) -> None:
    result = CliRunner().invoke(mail_commands, ["list", "--folder", str(folder)])

    assert result.exit_code == 0
    assert result.output.index("We have your order") < result.output.index("on its way")


def test_the_command_line_lists_e_mails_as_json(folder: Path) -> None:
    result = CliRunner().invoke(mail_commands, ["list", "--json", "--folder", str(folder)])

    listed = msgspec.json.decode(result.output)
    assert [mail["subject"] for mail in listed] == [
        "We have your order",
        "Your order is on its way",
    ]


@pytest.mark.parametrize("mail_id", ["2", "second", "<second@realserv.example>"])
def test_the_command_line_shows_an_e_mail_by_any_of_its_names(folder: Path, mail_id: str) -> None:
    result = CliRunner().invoke(mail_commands, ["show", mail_id, "--folder", str(folder)])

    assert "Subject: Your order is on its way" in result.output
    assert "To: asha@buyer.example" in result.output
    assert "Total: ₹1,46,178.08" in result.output


def test_the_command_line_shows_an_e_mail_as_json(folder: Path) -> None:
    result = CliRunner().invoke(mail_commands, ["show", "1", "--json", "--folder", str(folder)])

    assert msgspec.json.decode(result.output)["order"] == 1


def test_the_command_line_says_when_there_is_no_such_e_mail(folder: Path) -> None:
    result = CliRunner().invoke(mail_commands, ["show", "9", "--folder", str(folder)])

    assert result.exit_code == 1
    assert "There is no e-mail 9" in result.output
