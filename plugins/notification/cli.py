"""``realserv mail``: read what the development's mail sink has taken."""

from pathlib import Path
from typing import Final

import rich_click as click
from rich.console import Console
from rich.table import Table

from bus.codec import encode
from plugins.notification.sink import StoredMail, read_messages

DEFAULT_FOLDER: Final = Path(".realserv/mail")

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where the sink keeps the e-mails.",
)


@click.group()
def mail() -> None:
    """Read the e-mails that were sent in development.

    Example: realserv mail list
    """


@mail.command("list")
@_folder
@click.option("--json", "is_json", is_flag=True, help="Print one JSON array.")
def list_mails(folder: Path, is_json: bool) -> None:
    """List e-mails, oldest first.

    Example: realserv mail list --json
    """
    found = read_messages(folder)
    if is_json:
        click.echo(encode(found))
        return
    table = Table("no.", "received", "to", "subject")
    for stored in found:
        received = stored.received_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(str(stored.order), received, ", ".join(stored.to), stored.subject)
    Console().print(table)


@mail.command("show")
@click.argument("mail_id", metavar="ID")
@_folder
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def show_mail(mail_id: str, folder: Path, is_json: bool) -> None:
    """Show an e-mail by its number in the list, its Message-ID or the identity of its intent.

    Example: realserv mail show 3
    """
    stored = _find(read_messages(folder), mail_id)
    if stored is None:
        raise click.ClickException(f"There is no e-mail {mail_id} in {folder}")
    if is_json:
        click.echo(encode(stored))
        return
    click.echo(f"To: {', '.join(stored.to)}")
    click.echo(f"From: {stored.sender}")
    click.echo(f"Subject: {stored.subject}")
    click.echo(f"Message-ID: {stored.message_id}")
    click.echo(f"Received: {stored.received_at.isoformat()}")
    click.echo(f"\n{stored.body}")


def _find(mails: list[StoredMail], mail_id: str) -> StoredMail | None:
    for stored in mails:
        if mail_id in (str(stored.order), stored.message_id, stored.intent_id):
            return stored
    return None
