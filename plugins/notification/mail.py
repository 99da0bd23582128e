"""An e-mail of ours, and the role of what carries it away."""

from datetime import datetime
from typing import Protocol

import msgspec


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One e-mail to one reader. It holds personal data and must not be stored or logged."""

    intent_id: str
    """The identity of the intent to send it: the same on every try, and in its Message-ID."""
    to_name: str
    to_address: str
    subject: str
    body: str
    at: datetime

    def __repr__(self) -> str:
        return f"Mail({self.intent_id!r})"


class Mailer(Protocol):
    """Hands e-mails to a mail server."""

    async def send(self, mail: Mail) -> None:
        """Return once the server has it. Raises MailRefusedError when it never will.

        Raises a NothingHappened while it may have it later, and any other Unavailable when it is
        not known whether it has it.
        """
