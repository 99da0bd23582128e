"""The way out: one e-mail per intent."""

from bus.errors import ServiceError
from kernel.context import EffectContext
from plugins.identity.contract import Contact, ContactsOf
from plugins.notification.contract import NoteDelivery, SendEmail
from plugins.notification.errors import MailRefusedError, ReaderUnavailableError
from plugins.notification.mail import Mail, Mailer
from plugins.notification.rendering import Templates
from plugins.notification.store import letter_of


async def send_email(intent: SendEmail, ctx: EffectContext) -> NoteDelivery:
    """Send a message to its reader, whose name and address are used here and kept nowhere.

    SMTP knows neither a key nor a look-up: a repeat has the same Message-ID, so that mail programs
    may drop it. An erased reader and a refused message are outcomes; all else is tried again.
    """
    letter = await letter_of(ctx.db, intent.notification_id)
    reader = await _find_reader(letter.user_id, ctx)
    if reader is None:
        return NoteDelivery(
            notification_id=intent.notification_id, outcome="failed", reason="no_address"
        )
    mail = Mail(
        intent_id=ctx.idempotency_key,
        to_name=reader.name,
        to_address=reader.email,
        subject=letter.title,
        body=ctx.use(Templates).letter(letter.locale, reader.name, letter.body),
        at=letter.created_at,
    )
    try:
        await ctx.use(Mailer).send(mail)  # type: ignore[type-abstract]  # a port
    except MailRefusedError as refused:
        return NoteDelivery(
            notification_id=intent.notification_id,
            outcome="failed",
            reason="refused",
            reply_code=refused.reply_code,
        )
    return NoteDelivery(notification_id=intent.notification_id, outcome="sent")


async def _find_reader(user_id: str, ctx: EffectContext) -> Contact | None:
    """Ask for a reader. Nothing has been sent yet, so a failure here may be repeated at will."""
    try:
        found = await ctx.ask(ContactsOf(user_ids=(user_id,)))
    except ServiceError as error:
        if error.to_wire().retryable:
            raise ReaderUnavailableError from error
        raise
    return found.contacts[0] if found.contacts else None
