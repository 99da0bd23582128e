"""The Mailer that speaks SMTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from kernel.providers import ProviderGuard, is_fault
from plugins.notification.errors import MailDeferredError, MailRefusedError
from plugins.notification.mail import Mail, Mailer
from plugins.notification.settings import NotificationSettings

SERVICE_CLOSING = 421


class SmtpMailer:
    """One connection per e-mail, through a guard."""

    def __init__(self, settings: NotificationSettings) -> None:
        self._smtp = settings.smtp
        self._sender = _address(settings.sender_name, settings.sender_address)
        self._domain = settings.sender_address.rpartition("@")[2]
        self.guard = ProviderGuard(
            "smtp",
            timeout=settings.smtp.timeout.total_seconds(),
            concurrency=settings.smtp.concurrency,
            waiting=settings.smtp.concurrency * 8,
            is_fault=_is_server_in_trouble,
        )

    async def send(self, mail: Mail) -> None:
        """Hand one e-mail over. Raises MailRefusedError (5xx), MailDeferredError (4xx), ProviderUnavailable."""
        await self.guard.call(self._hand_over, mail)

    async def _hand_over(self, mail: Mail) -> None:
        password = self._smtp.password
        try:
            await aiosmtplib.send(
                self._message(mail),
                sender=self._sender.addr_spec,
                recipients=[mail.to_address],
                hostname=self._smtp.host,
                port=self._smtp.port,
                use_tls=self._smtp.security == "tls",
                start_tls=self._smtp.security == "starttls",
                username=self._smtp.username,
                password=password.reveal() if password else None,
                local_hostname=self._domain,
                timeout=self._smtp.timeout.total_seconds(),
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _about_this_mail(error.recipients[0]) from None
        except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as error:
            raise _about_this_mail(error) from None

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = _address(mail.to_name, mail.to_address)
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(mail.at)
        message["Message-ID"] = f"<{mail.intent_id}@{self._domain}>"
        message["X-RealServ-Intent"] = mail.intent_id
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.body)
        return message


def _address(name: str, address: str) -> Address:
    user, _, domain = address.rpartition("@")
    return Address(display_name=name, username=user, domain=domain)


def _about_this_mail(error: aiosmtplib.SMTPResponseException) -> Exception:
    """Return what the server said of one e-mail. Its text may name the reader, so it is dropped."""
    if error.code >= 500:
        return MailRefusedError(error.code)
    if error.code == SERVICE_CLOSING:
        return aiosmtplib.SMTPServerDisconnected("the server closes the service")
    return MailDeferredError(f"The mail server answered {error.code}", retry_after=30.0)


def _is_server_in_trouble(error: Exception) -> bool:
    """Tell a server that is away or turns everybody off from one that puts off a single e-mail."""
    if isinstance(error, MailDeferredError):
        return False
    return isinstance(error, aiosmtplib.SMTPException) or is_fault(error)


@asynccontextmanager
async def open_mailer(settings: NotificationSettings) -> AsyncIterator[Mailer]:
    """Open the way to the mail server; nothing is sent yet."""
    yield SmtpMailer(settings)
