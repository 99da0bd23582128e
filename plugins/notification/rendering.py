"""Texts of messages: Jinja templates, one folder per locale and topic, loaded once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple, get_args
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.numbers import format_currency
from jinja2 import FileSystemLoader, StrictUndefined, Template, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kernel.money import Money
from plugins.notification.contract import Topic
from plugins.notification.settings import NotificationSettings

FOLDER: Final = Path(__file__).parent / "templates"
DEFAULT_LOCALE: Final = "en"
INDIA: Final = ZoneInfo("Asia/Kolkata")


class Text(NamedTuple):
    """What a message says, as plain text; in it are ids, money and quantities, but no name."""

    title: str
    body: str


class _TopicTemplates(NamedTuple):
    subject: Template
    body: Template


class Templates:
    """All texts of all locales. A topic without its files fails here, not when it is needed."""

    def __init__(self, folder: Path = FOLDER) -> None:
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folder),
            autoescape=select_autoescape(("html", "xml"), default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["money"] = rupees
        environment.filters["moment"] = moment
        self.locales = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
        self._letters = {
            locale: environment.get_template(f"{locale}/letter.txt") for locale in self.locales
        }
        self._topics = {
            (locale, topic): _TopicTemplates(
                environment.get_template(f"{locale}/{topic}/subject.txt"),
                environment.get_template(f"{locale}/{topic}/body.txt"),
            )
            for locale in self.locales
            for topic in get_args(Topic)
        }

    def render(self, topic: Topic, locale: str, event: object) -> Text:
        """Return what a message about an event says; raises UndefinedError for a field it has not."""
        templates = self._topics[locale, topic]
        return Text(
            title=" ".join(templates.subject.render(event=event).split()),
            body=templates.body.render(event=event).strip(),
        )

    def letter(self, locale: str, name: str, body: str) -> str:
        """Return the whole text of an e-mail: the message's body, with its reader's name above."""
        return self._letters[locale].render(name=name, body=body)


def rupees(money: Money) -> str:
    """Write money with the digits grouped as in India: ₹1,23,456.00."""
    return format_currency(Decimal(money.amount) / 100, money.currency, locale="en_IN")


def moment(at: datetime) -> str:
    """Write a moment in India's time: 5 Jan 2026, 14:30."""
    return format_datetime(at, "d MMM y, HH:mm", tzinfo=INDIA, locale="en_IN")


@asynccontextmanager
async def open_templates(settings: NotificationSettings) -> AsyncIterator[Templates]:
    """Load all templates."""
    yield Templates()
