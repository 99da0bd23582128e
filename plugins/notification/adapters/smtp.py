"""The Mailer that speaks SMTP."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import policy
from email.charset import QP, Charset
from email.header import Header
from email.mime.text import MIMEText
from email.utils import format_datetime, formataddr
from typing import Final, Literal, NamedTuple

import aiosmtplib

from kernel.errors import NothingHappened
from kernel.providers import ProviderGuard, ProviderUnavailable, is_fault
from plugins.notification.errors import (
    MailDeferredError,
    MailRefusedError,
    MailServerUnavailableError,
)
from plugins.notification.mail import Mail, Mailer
from plugins.notification.settings import NotificationSettings

SERVICE_CLOSING: Final = 421
WIRE: Final = policy.compat32.clone(linesep="\r\n")
QUOTED: Final = Charset("utf-8")
QUOTED.body_encoding = QP
KEPT_SECONDS: Final = 20.0
"""How long a connection is kept: servers drop idle ones after 30 s and more."""
ABOUT_ONE_MAIL: Final = (
    aiosmtplib.SMTPSenderRefused,
    aiosmtplib.SMTPRecipientRefused,
    aiosmtplib.SMTPDataError,
)


class SmtpMailer:
    """Hands e-mails over through a guard, on connections that are kept for the next one a while."""

    def __init__(self, settings: NotificationSettings) -> None:
        self._smtp = settings.smtp
        self._sender_name = settings.sender_name
        self._sender = settings.sender_address
        self._domain = settings.sender_address.rpartition("@")[2]
        self._idle: list[_Open] = []
        self.guard = ProviderGuard(
            "smtp",
            timeout=settings.smtp.timeout.total_seconds(),
            concurrency=settings.smtp.concurrency,
            waiting=settings.smtp.concurrency * 8,
            is_fault=_is_server_in_trouble,
        )

    async def send(self, mail: Mail) -> None:
        """Hand one e-mail over. Only a connection lost amid the content leaves it unknown."""
        progress = _Progress()
        try:
            await self.guard.call(self._hand_over, mail, progress)
        except ProviderUnavailable as away:
            if progress.stage == "accepted":
                return
            if progress.stage == "content" or isinstance(away, NothingHappened):
                raise
            raise MailServerUnavailableError(away.message, retry_after=away.retry_after) from away

    async def _hand_over(self, mail: Mail, progress: "_Progress") -> None:
        content = self._message(mail)
        client = await self._connected()
        is_kept = False
        try:
            await client.mail(self._sender)
            await client.rcpt(mail.to_address)
            progress.stage = "content"
            await client.data(content)
            progress.stage = "accepted"
            is_kept = True
        except ABOUT_ONE_MAIL as error:
            raise _translate(error) from None
        finally:
            if is_kept and len(self._idle) < self._smtp.concurrency:
                self._idle.append(_Open(client, time.monotonic()))
            else:
                client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        """Return a kept connection that still answers, or a new one."""
        while self._idle:
            kept = self._idle.pop()
            if time.monotonic() - kept.since > KEPT_SECONDS or not kept.client.is_connected:
                kept.client.close()
                continue
            try:
                await kept.client.rset()
            except (aiosmtplib.SMTPException, OSError):
                kept.client.close()
                continue
            return kept.client
        client = self._client()
        try:
            await client.connect()
        except BaseException:
            client.close()
            raise
        return client

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            self._idle.pop().client.close()

    def _client(self) -> aiosmtplib.SMTP:
        smtp = self._smtp
        return aiosmtplib.SMTP(
            hostname=smtp.host,
            port=smtp.port,
            use_tls=smtp.security == "tls",
            start_tls=smtp.security == "starttls",
            username=smtp.username,
            password=smtp.password.reveal() if smtp.password else None,
            local_hostname=self._domain,
            timeout=smtp.timeout.total_seconds(),
        )

    def _message(self, mail: Mail) -> bytes:
        """Write the e-mail. The old message class: the new one spends a millisecond on headers."""
        message = MIMEText(mail.body, "plain", QUOTED)  # type: ignore[arg-type]  # a Charset is taken, says its page
        for name, value in (
            ("From", formataddr((self._sender_name, self._sender))),
            ("To", formataddr((mail.to_name, mail.to_address))),
            ("Subject", _encoded(mail.subject)),
            ("Date", format_datetime(mail.at)),
            ("Message-ID", f"<{mail.intent_id}@{self._domain}>"),
            ("X-RealServ-Intent", mail.intent_id),
            ("Auto-Submitted", "auto-generated"),
        ):
            message[name] = _one_line(value)
        return message.as_bytes(policy=WIRE)


def _encoded(text: str) -> str:
    return text if text.isascii() else Header(text, "utf-8").encode()


def _one_line(value: str) -> str:
    """Refuse what would write a header of its own."""
    if "\r" in value or "\n" in value:
        raise ValueError("a header is one line")
    return value


class _Open(NamedTuple):
    """A connection that waits for the next e-mail, and since when."""

    client: aiosmtplib.SMTP
    since: float


@dataclass
class _Progress:
    """How far the handing over of one e-mail has come."""

    stage: Literal["envelope", "content", "accepted"] = "envelope"


def _translate(error: aiosmtplib.SMTPResponseException) -> Exception:
    """Return what the server said of one e-mail. Its text may name the reader, so it is dropped."""
    if error.code >= 500:
        return MailRefusedError(error.code)
    if error.code == SERVICE_CLOSING:
        return MailServerUnavailableError("The mail server closes its service", retry_after=5.0)
    return MailDeferredError(f"The mail server answered {error.code}", retry_after=30.0)


def _is_server_in_trouble(error: Exception) -> bool:
    """Tell a server that is away or turns everybody off from one that puts off a single e-mail."""
    if isinstance(error, MailDeferredError):
        return False
    return isinstance(error, aiosmtplib.SMTPException) or is_fault(error)


@asynccontextmanager
async def open_mailer(settings: NotificationSettings) -> AsyncIterator[Mailer]:
    """Open the way to the mail server; nothing is sent yet."""
    mailer = SmtpMailer(settings)
    try:
        yield mailer
    finally:
        mailer.close()
