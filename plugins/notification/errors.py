"""What notification refuses, and what keeps its e-mails from leaving."""

from typing import ClassVar

from kernel.errors import Conflict, Invalid, NotFound, NothingHappened


class NotificationNotFoundError(NotFound):
    """There is no such message."""

    code: ClassVar[str] = "notification.not_found"
    title: ClassVar[str] = "There is no such message"


class IllegalDeliveryMoveError(Conflict):
    """An e-mail that was sent cannot fail any more, nor the other way round."""

    code: ClassVar[str] = "notification.illegal_move"
    title: ClassVar[str] = "The outcome of this message is known already"


class ReaderUnavailableError(NothingHappened):
    """Identity cannot be asked now for a reader's address."""

    code: ClassVar[str] = "notification.reader_unavailable"
    title: ClassVar[str] = "The reader's address cannot be asked for now"


class MailServerUnavailableError(NothingHappened):
    """The mail server was lost before the e-mail was handed to it."""

    code: ClassVar[str] = "notification.mail_server_unavailable"
    title: ClassVar[str] = "The mail server is not available now"


class MailDeferredError(NothingHappened):
    """The mail server takes this message not now, but perhaps later (4xx)."""

    code: ClassVar[str] = "notification.mail_deferred"
    title: ClassVar[str] = "The mail server put the message off"


class MailRefusedError(Invalid):
    """The mail server takes this message neither now nor later (5xx)."""

    code: ClassVar[str] = "notification.mail_refused"
    title: ClassVar[str] = "The mail server refused the message"

    def __init__(self, reply_code: int) -> None:
        super().__init__(f"The mail server answered {reply_code}")
        self.reply_code = reply_code
