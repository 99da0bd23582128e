"""Settings of notification."""

from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta

from kernel.settings import Secret, Settings
from kernel.text import Email, Word


class SmtpSettings(Settings, frozen=True, kw_only=True):
    """The mail server that takes our e-mails."""

    host: Word = "127.0.0.1"
    """Its name or address."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 1025
    """Its port: usually 587 with ``starttls``, 465 with ``tls``; 1025 is the development sink's."""
    security: Literal["none", "starttls", "tls"] = "none"
    """How the connection is protected; ``none`` is for a server on the same host alone."""
    username: Word | None = None
    """The name to log in with; without one there is no log-in."""
    password: Secret | None = None
    """The password to log in with."""
    timeout: timedelta = timedelta(seconds=10)
    """How long one e-mail may take, from connecting to the server's receipt."""
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 8
    """How many e-mails are handed over at once."""

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password are given both or neither")
        if self.username is not None and self.security == "none":
            raise ValueError(
                "a log-in needs security starttls or tls: it would be sent in the clear"
            )


class NotificationSettings(Settings, frozen=True, kw_only=True):
    """How messages reach people."""

    smtp: SmtpSettings = SmtpSettings()
    """The mail server."""
    sender_name: Annotated[str, Meta(min_length=1, max_length=100)] = "RealServ"
    """The name that e-mails come from."""
    sender_address: Email = "no-reply@realserv.example"
    """The address that e-mails come from; its domain also ends every Message-ID."""
