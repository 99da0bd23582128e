"""What could not be handled, wherever it waits, and the two ways out of there: once more, or away.

An event of a reaction waits in the table ``kernel.parked`` of the plugin that could not handle it; the
stream of dead letters has a copy for people. A message of a work queue waits in that stream alone.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from bus.connection import Connection
from bus.envelope import CE_ID, CE_SUBJECT, CE_TYPE
from bus.jetstream import BatchReader, JetStreamError, StoredMessage, publish
from bus.jetstream import request as jetstream_request
from bus.streams import DLQ_STREAM
from kernel.database import Database
from kernel.dead_letters import FAILURES, ORIGIN, REASON, failures_of
from kernel.errors import NotFound, Unavailable
from kernel.ids import SUFFIX
from kernel.plugin import Plugin
from kernel.sql import statement

FIRST_DIED: Final = "realserv-first-died"
"""Header of a redriven message: when it became a dead letter for the first time."""
OLDEST: Final = timedelta(days=30)
"""Inboxes remember for 35 days: what is older may have been done and forgotten."""
NO_MESSAGE: Final = 10057
PREFIXED_ID: Final = re.compile(rf'"([a-z]{{2,12}}_{SUFFIX})"')

PARKED_LETTERS = statement(
    """
    SELECT id, subscription, key, ce_id, subject, headers, reason, attempts, next_attempt_at,
        parked_at,
        row_number() OVER (PARTITION BY subscription, key ORDER BY stream_seq) = 1 AS is_head
    FROM kernel.parked ORDER BY parked_at, id
    """
)
PARKED_PAYLOAD = statement("SELECT payload FROM kernel.parked WHERE id = :id")
RELEASE_HEAD = statement(
    """
    UPDATE kernel.parked SET next_attempt_at = now(), attempts = 0
    WHERE id = (
        SELECT id FROM kernel.parked WHERE subscription = :subscription AND key = :key
        ORDER BY stream_seq LIMIT 1
    ) RETURNING ce_id
    """
)
DISCARD_PARKED = statement("DELETE FROM kernel.parked WHERE id = :id")

LetterState = Literal["dead", "given up", "retrying", "behind", "settled"]
Result = Literal[
    "sent",
    "due",
    "follows",
    "discarded",
    "duplicate",
    "too old",
    "gone",
    "settled",
    "no origin",
]
REFUSED: Final[frozenset[Result]] = frozenset({"duplicate", "too old", "gone", "no origin"})
"""Results of what was asked for and did not happen."""


class StreamMissingError(Unavailable):
    """The stream of dead letters does not exist, or does not answer."""

    code = "kernel.dlq_missing"
    title = "The stream of dead letters does not answer"


class UnknownLetterError(NotFound):
    """No dead letter and no parked event has this identity."""

    code = "kernel.dead_letter_unknown"
    title = "There is no such dead letter"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One message that could not be handled, without its content."""

    message_id: str
    plugin: str
    handler: str
    message: str
    key: str
    origin: str
    """The subject on which the message came."""
    reason: str
    failures: int
    stored_at: datetime
    first_died_at: datetime
    state: LetterState
    """``dead``: in a work queue's letters; ``given up``, ``retrying`` and ``behind`` an earlier one: parked; ``settled``: the copy of an event that was released since."""
    next_attempt_at: datetime | None = None
    sequence: int = 0
    """Where its copy stands in the stream of dead letters; 0 when there is none."""
    row_id: int = 0
    """Its row among the parked events; 0 when it is none."""
    subscription: str = ""
    mentions: tuple[str, ...] = ()
    """Ids in the content of a work queue's letter, which has no key."""

    @property
    def is_parked(self) -> bool:
        """Whether it waits in a plugin's table."""
        return self.row_id > 0


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; what is left out chooses all."""

    plugin: str = ""
    handler: str = ""
    key: str = ""
    cause: str = ""
    """A part of the reason."""
    since: datetime | None = None
    until: datetime | None = None
    identities: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing was said."""
        return self == Choice()

    def takes(self, letter: DeadLetter) -> bool:
        """Tell whether this letter is meant."""
        return (
            self.plugin in ("", letter.plugin)
            and self.handler in ("", letter.handler)
            and self.key in ("", letter.key, *letter.mentions)
            and self.cause.lower() in letter.reason.lower()
            and (self.since is None or letter.stored_at >= self.since)
            and (self.until is None or letter.stored_at < self.until)
            and (not self.identities or letter.message_id in self.identities)
        )


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one letter."""

    letter: DeadLetter
    result: Result

    @property
    def is_refused(self) -> bool:
        """Whether what was asked for did not happen."""
        return self.result in REFUSED


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter with everything in it."""

    letter: DeadLetter
    headers: Mapping[str, str]
    payload: str


Note = Callable[[str, str], Awaitable[None]]
"""Writes down an operator's act and what it was done to."""


class DeadLetterOffice:
    """All dead letters of some plugins, for one operator."""

    def __init__(
        self,
        bus: Connection,
        databases: Mapping[str, Database],
        plugins: Mapping[str, Plugin],
        note: Note,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bus = bus
        self._databases = databases
        self._plugins = plugins
        self._note = note
        self._now = now

    async def letters(self, choice: Choice) -> list[DeadLetter]:
        """Return what is meant, oldest first; raises StreamMissingError."""
        copies = [letter_of(message) async for message in self._copies(choice)]
        by_identity = {(copy.plugin, copy.message_id): copy for copy in copies if _is_event(copy)}
        parked = [
            letter
            for name, database in self._databases.items()
            if choice.plugin in ("", name)
            for letter in self._parked(name, await database.fetch(PARKED_LETTERS), by_identity)
        ]
        waiting = {(letter.plugin, letter.message_id) for letter in parked}
        found = parked + [
            msgspec.structs.replace(copy, state="settled") if _is_event(copy) else copy
            for copy in copies
            if not _is_event(copy) or (copy.plugin, copy.message_id) not in waiting
        ]
        return sorted(filter(choice.takes, found), key=lambda letter: letter.stored_at)

    async def contents(self, identity: str) -> list[Content]:
        """Return the letters of one message with all that is in them; raises UnknownLetterError."""
        letters = await self.letters(Choice(identities=(identity,)))
        if not letters:
            raise UnknownLetterError(f"There is no dead letter {identity}")
        await self._note("dlq show", identity)
        return [await self._content(letter) for letter in letters]

    async def redrive(
        self, choice: Choice, *, rate: float, is_dry_run: bool = False
    ) -> AsyncIterator[Act]:
        """Have each letter handled once more, at most ``rate`` a second, in order for each key.

        A parked key begins again with its oldest event, whichever was meant; the others follow it.
        """
        released: dict[tuple[str, str, str], Result] = {}
        letters = await self.letters(choice)
        heads = await self._heads(letters)
        for letter in letters:
            place = (letter.plugin, letter.subscription, letter.key)
            if letter.state == "settled":
                yield Act(letter=letter, result="settled")
                continue
            if letter.is_parked and place in released:
                follows = released[place]
                yield Act(letter=letter, result="follows" if follows == "due" else follows)
                continue
            head = heads.get(place, letter) if letter.is_parked else letter
            result = await self._redrive(head, is_dry_run=is_dry_run)
            if letter.is_parked:
                released[place] = result
            is_behind = head.row_id != letter.row_id and result == "due"
            yield Act(letter=letter, result="follows" if is_behind else result)
            if not is_dry_run:
                await asyncio.sleep(1 / rate)

    async def discard(
        self, choice: Choice, *, reason: str, rate: float, is_dry_run: bool = False
    ) -> AsyncIterator[Act]:
        """Give each letter up for good. The next event of a parked key goes on without it."""
        for letter in await self.letters(choice):
            if is_dry_run:
                yield Act(letter=letter, result="discarded")
                continue
            await self._note(f"dlq discard: {reason}", name_of(letter))
            yield Act(letter=letter, result=await self._discard(letter))
            await asyncio.sleep(1 / rate)

    async def _redrive(self, letter: DeadLetter, *, is_dry_run: bool) -> Result:
        if self._now() - letter.first_died_at > OLDEST:
            return "too old"
        if not letter.is_parked and not letter.origin.startswith("work."):
            return "no origin"
        if is_dry_run:
            return "due" if letter.is_parked else "sent"
        await self._note("dlq redrive", name_of(letter))
        result = await (self._release(letter) if letter.is_parked else self._resend(letter))
        if result in REFUSED:
            await self._note(f"dlq redrive: {result}", name_of(letter))
        return result

    async def _release(self, letter: DeadLetter) -> Result:
        released = await self._databases[letter.plugin].fetchval(
            RELEASE_HEAD, subscription=letter.subscription, key=letter.key
        )
        return "gone" if released is None else "due"

    async def _resend(self, letter: DeadLetter) -> Result:
        """Publish the message to where it came from, then take its letter away.

        The identity stays, so that what was done is not done twice; the publication's own id is
        new, or the server would drop the message as a repeat of the one that died.
        """
        message = await self._read(letter.sequence)
        if message is None:
            return "gone"
        headers = {
            name: value
            for name, value in message.headers.items()
            if not name.startswith("Nats-") and name not in (REASON, ORIGIN, FAILURES)
        }
        headers[FIRST_DIED] = letter.first_died_at.isoformat()
        headers["Nats-Msg-Id"] = f"redrive-{letter.message_id}-{letter.sequence}"
        stored = await publish(self._bus, letter.origin, message.payload, headers)
        if stored.is_duplicate:
            return "duplicate"
        await self._take_away(letter.sequence)
        return "sent"

    async def _discard(self, letter: DeadLetter) -> Result:
        if letter.is_parked:
            database = self._databases[letter.plugin]
            if not await database.execute(DISCARD_PARKED, id=letter.row_id):
                return "gone"
        if letter.sequence and not await self._take_away(letter.sequence) and not letter.is_parked:
            return "gone"
        return "discarded"

    async def _take_away(self, sequence: int) -> bool:
        try:
            await jetstream_request(
                self._bus, f"STREAM.MSG.DELETE.{DLQ_STREAM}", {"seq": sequence, "no_erase": True}
            )
        except JetStreamError as error:
            if error.code == NO_MESSAGE:
                return False
            raise
        return True

    async def _heads(self, letters: Sequence[DeadLetter]) -> dict[tuple[str, str, str], DeadLetter]:
        """Return the oldest event of each parked key among these letters."""
        plugins = {letter.plugin for letter in letters if letter.is_parked}
        return {
            (letter.plugin, letter.subscription, letter.key): letter
            for name in plugins
            for letter in self._parked(name, await self._databases[name].fetch(PARKED_LETTERS), {})
            if letter.state != "behind"
        }

    async def _content(self, letter: DeadLetter) -> Content:
        message = await self._read(letter.sequence) if letter.sequence else None
        if letter.is_parked:
            database = self._databases[letter.plugin]
            payload = await database.fetchval(PARKED_PAYLOAD, id=letter.row_id)
            rows = await database.fetch(PARKED_LETTERS)
            found = [row["headers"] for row in rows if row["id"] == letter.row_id]
            headers: dict[str, str] = found[0] if found else {}
            return Content(letter=letter, headers=headers, payload=payload or "")
        payload = message.payload.decode(errors="replace") if message else ""
        return Content(letter=letter, headers=message.headers if message else {}, payload=payload)

    async def _copies(self, choice: Choice) -> AsyncIterator[StoredMessage]:
        subject = f"dlq.{choice.plugin or '*'}.{choice.handler or '>'}"
        reader = BatchReader(self._bus, DLQ_STREAM)
        first = 1
        try:
            while batch := await reader.read(first, subject=subject):
                for message in batch:
                    yield message
                first = batch[-1].sequence + 1
        except JetStreamError as error:
            raise StreamMissingError(
                f"The stream {DLQ_STREAM} does not answer ({error}). Run: realserv migrate"
            ) from error

    async def _read(self, sequence: int) -> StoredMessage | None:
        found = await BatchReader(self._bus, DLQ_STREAM).read(sequence, batch=1)
        return next((message for message in found if message.sequence == sequence), None)

    def _parked(
        self,
        plugin: str,
        rows: Iterable[Mapping[str, Any]],
        copies: Mapping[tuple[str, str], DeadLetter],
    ) -> list[DeadLetter]:
        handlers = _reactions(self._plugins.get(plugin))
        letters = []
        for row in rows:
            copy = copies.get((plugin, str(row["ce_id"])))
            handler = handlers.get(".".join(row["subject"].split(".")[:4]), "")
            letters.append(_parked_letter(plugin, handler, row, copy.sequence if copy else 0))
        return letters


def letter_of(message: StoredMessage) -> DeadLetter:
    """Read what the headers and the subject of a copy in the stream say."""
    _, plugin, handler = message.subject.split(".", 2)
    headers = message.headers
    origin = headers.get(ORIGIN, "")
    stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
    return DeadLetter(
        sequence=message.sequence,
        stored_at=stored_at,
        first_died_at=_moment(headers.get(FIRST_DIED), stored_at),
        plugin=plugin,
        handler=handler,
        message=headers.get(CE_TYPE, ""),
        message_id=headers.get(CE_ID, ""),
        key=headers.get(CE_SUBJECT) or _key_in(origin),
        origin=origin,
        failures=failures_of(headers),
        reason=headers.get(REASON, ""),
        state="dead",
        mentions=tuple(
            dict.fromkeys(PREFIXED_ID.findall(message.payload.decode(errors="replace")))
        ),
    )


def name_of(letter: DeadLetter) -> str:
    """Return how the record of acts names a letter."""
    return f"{letter.plugin}.{letter.handler} {letter.message} {letter.message_id}"


def _parked_letter(plugin: str, handler: str, row: Mapping[str, Any], sequence: int) -> DeadLetter:
    state: LetterState = "retrying" if row["next_attempt_at"] is not None else "given up"
    return DeadLetter(
        message_id=str(row["ce_id"]),
        plugin=plugin,
        handler=handler,
        message=row["headers"].get(CE_TYPE, ""),
        key=row["key"],
        origin=row["subject"],
        reason=row["reason"],
        failures=row["attempts"],
        stored_at=row["parked_at"],
        first_died_at=row["parked_at"],
        state=state if row["is_head"] else "behind",
        next_attempt_at=row["next_attempt_at"] if row["is_head"] else None,
        sequence=sequence,
        row_id=row["id"],
        subscription=row["subscription"],
    )


def _reactions(plugin: Plugin | None) -> dict[str, str]:
    if plugin is None:
        return {}
    return {s.message.subject: s.name for s in plugin.of_kind("react") if s.message is not None}


def _is_event(letter: DeadLetter) -> bool:
    return letter.origin.startswith("evt.")


def _key_in(origin: str) -> str:
    return origin.rpartition(".")[2] if origin.startswith("evt.") else ""


def _moment(text: str | None, otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else otherwise
    except ValueError:
        return otherwise
