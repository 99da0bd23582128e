"""Why something happened: the chain of messages around an order, an event, a command or an intent.

Every message says what caused it, every database what it said and what it handled; here they are put
together again. Requests are in no outbox: they are known by what they caused, and by the inbox.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from bus.connection import Connection
from bus.envelope import ACTOR, CAUSATION, CE_ID, CE_SOURCE, CE_TYPE, CORRELATION
from bus.jetstream import BatchReader, StoredMessage
from bus.streams import part_of_slot, work_stream
from kernel.database import Database
from kernel.dead_letter_office import Choice, DeadLetter, DeadLetterOffice
from kernel.dead_letters import failures_of
from kernel.errors import NotFound
from kernel.ids import time_of
from kernel.outbox import SCHEDULE, timer_subject
from kernel.plugin import Plugin
from kernel.reactions import subscription_name
from kernel.sql import statement

MENTIONED = statement(
    """
    SELECT ce_id, headers FROM kernel.outbox
    WHERE strpos(payload, cast(:wanted AS text)) > 0 OR strpos(subject, :wanted) > 0
    ORDER BY id DESC LIMIT 500
    """
)
NAMED = statement(
    """
    SELECT ce_id, headers FROM kernel.outbox
    WHERE ce_id = :identity OR headers ->> 'realserv-causation-id' = cast(:identity AS uuid)::text
    ORDER BY id DESC LIMIT 500
    """
)
CORRELATED = statement(
    """
    SELECT kind, ce_id, subject, headers, created_at, sent_at, stream_seq FROM kernel.outbox
    WHERE headers ->> 'realserv-correlation-id' = ANY(cast(:correlations AS text[]))
        AND kind <> 'dead'
    ORDER BY id DESC LIMIT 2000
    """
)
HANDLED = statement(
    """
    SELECT message_id, handler, created_at FROM kernel.inbox
    WHERE message_id = ANY(cast(:identities AS uuid[]))
    """
)
EFFECTS = statement(
    """
    SELECT intent_id, effect, state, attempts, possible_duplicates, started_at, done_at
    FROM kernel.effects WHERE intent_id = ANY(cast(:identities AS uuid[]))
    """
)
POSITIONS = statement("SELECT subscription, part, stream_seq FROM kernel.positions")

HandlingState = Literal["done", "waiting", "retrying", "parked", "dead", "withdrawn"]


class UnknownCauseError(NotFound):
    """No outbox, inbox or dead letter knows this id."""

    code = "kernel.cause_unknown"
    title = "Nothing is known of this id"


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """What one handler made of a message."""

    handler: str
    state: HandlingState
    at: datetime | None = None
    """When it was done; unknown for reactions, which keep a position and no rows."""
    failures: int = 0
    next_attempt_at: datetime | None = None
    reason: str = ""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """How far an intent has come at its provider."""

    effect: str
    state: str
    attempts: int
    possible_duplicates: int
    started_at: datetime | None
    done_at: datetime | None


class Step(msgspec.Struct, kw_only=True):
    """One message of the chain, with what it caused."""

    id: str
    kind: Literal["request", "fact", "tell", "intent", "timer", "cancel"]
    type: str
    said_by: str
    said_at: datetime
    actor: str
    correlation_id: str
    causation_id: str
    is_sent: bool = True
    stream_seq: int | None = None
    due_at: str = ""
    """When the timer fires, or was to fire."""
    subject: str = ""
    is_asked_for: bool = False
    handled: list[Handled] = []
    effect: Effect | None = None
    caused: list["Step"] = []


class Causes:
    """Looks through all plugins' databases and the dead letters."""

    def __init__(
        self, bus: Connection, databases: Mapping[str, Database], plugins: Mapping[str, Plugin]
    ) -> None:
        self._bus = bus
        self._databases = databases
        self._plugins = plugins
        self._office = DeadLetterOffice(bus, databases, plugins, _write_nothing)

    async def chain(self, wanted: str) -> list[Step]:
        """Return the beginnings of all chains that this id is in; raises UnknownCauseError.

        The id is a message's ce-id, an id of the trade such as an order's, or a correlation id.
        """
        asked_for, correlations = await self._asked_for(wanted)
        steps = await self._said(correlations)
        self._add_requests(steps, await self._handled({*map(UUID, asked_for), *_named_in(steps)}))
        kept = related(steps, asked_for)
        if not kept:
            raise UnknownCauseError(f"Nothing is known of {wanted}")
        for step in kept.values():
            step.is_asked_for = step.id in asked_for
        await self._follow(kept)
        return as_tree(kept)

    async def _asked_for(self, wanted: str) -> tuple[set[str], list[str]]:
        """Return the identities that are meant, and the correlations in which they stand."""
        identity = _uuid(wanted)
        asked_for: set[str] = {str(identity)} if identity else set()
        correlations = {wanted}
        for database in self._databases.values():
            if identity:
                rows = await database.fetch(NAMED, identity=identity)
            else:
                rows = await database.fetch(MENTIONED, wanted=wanted)
                asked_for |= {str(row["ce_id"]) for row in rows}
            correlations |= {row["headers"].get(CORRELATION, "") for row in rows}
        return asked_for, sorted(correlations - {""})

    async def _said(self, correlations: list[str]) -> dict[str, Step]:
        found: dict[str, Step] = {}
        for database in self._databases.values():
            for row in await database.fetch(CORRELATED, correlations=correlations):
                found[str(row["ce_id"])] = step_of(row)
        return found

    async def _handled(self, identities: set[UUID]) -> dict[str, list[Handled]]:
        found: dict[str, list[Handled]] = {}
        for plugin, database in self._databases.items():
            for row in await database.fetch(HANDLED, identities=list(identities)):
                handler = f"{plugin}.{row['handler']}"
                handled = Handled(handler=handler, state="done", at=row["created_at"])
                found.setdefault(str(row["message_id"]), []).append(handled)
        return found

    def _add_requests(self, steps: dict[str, Step], handled: Mapping[str, list[Handled]]) -> None:
        """Add what is in no outbox but caused something or was handled: requests and firings of jobs."""
        children: dict[str, Step] = {}
        for step in steps.values():
            children.setdefault(step.causation_id, step)
        unsaid = ({*children, *handled} - {""}) - steps.keys()
        for identity in unsaid:
            request = _request(identity, children.get(identity), handled.get(identity, []))
            if request is not None:
                steps[identity] = request
        for identity, done in handled.items():
            if identity in steps:
                steps[identity].handled = done

    async def _follow(self, steps: Mapping[str, Step]) -> None:
        """Add what became of each message: effects, reactions, retries, dead letters."""
        identities = [identity for text in steps if (identity := _uuid(text))]
        letters = await self._office.letters(Choice(identities=tuple(steps)))
        for letter in letters:
            if letter.state != "settled":
                steps[letter.message_id].handled.append(_buried(letter))
        for database in self._databases.values():
            for row in await database.fetch(EFFECTS, identities=identities):
                step = steps[str(row["intent_id"])]
                step.kind = "intent"
                step.effect = _effect_of(row)
        await self._add_reactions(steps)
        for step in steps.values():
            is_over = step.handled or (step.effect is not None and step.effect.state == "done")
            if step.kind in ("tell", "intent", "timer") and not is_over:
                step.handled.append(await self._waiting(step))

    async def _add_reactions(self, steps: Mapping[str, Step]) -> None:
        facts = [step for step in steps.values() if step.kind == "fact" and step.stream_seq]
        for name, plugin in self._plugins.items():
            reactions = [
                spec
                for spec in plugin.of_kind("react")
                if spec.message is not None
                and any(spec.message.full_name == step.type for step in facts)
            ]
            if not reactions or name not in self._databases:
                continue
            rows = await self._databases[name].fetch(POSITIONS)
            reached = {(row["subscription"], row["part"]): row["stream_seq"] for row in rows}
            for spec in reactions:
                for step in facts:
                    if spec.message is not None and spec.message.full_name == step.type:
                        place = (subscription_name(name, spec.message.owner), _part_of(step))
                        _add_reaction(step, f"{name}.{spec.name}", reached.get(place, 0))

    async def _waiting(self, step: Step) -> Handled:
        """Tell whether a message waits for its timer, for a later try, or for a worker."""
        owner = step.type.partition(".")[0]
        handler = step.type.rpartition(".")[0]
        if step.kind == "timer":
            timer = await self._schedule(owner, step.subject)
            if timer is not None and timer.headers.get(CE_ID) == step.id:
                due_at = _due(step.due_at)
                return Handled(handler=handler, state="waiting", next_attempt_at=due_at)
        retry = await self._schedule(owner, timer_subject(owner, f"retry-{step.id}"))
        if retry is None and step.kind == "timer" and step.is_sent:
            reason = "cancelled, replaced by a later one, or fired just now"
            return Handled(handler=handler, state="withdrawn", reason=reason)
        if retry is None:
            return Handled(handler=handler, state="waiting")
        return Handled(
            handler=handler,
            state="retrying",
            failures=failures_of(retry.headers),
            next_attempt_at=_due(retry.headers.get(SCHEDULE, "")),
        )

    async def _schedule(self, owner: str, subject: str) -> StoredMessage | None:
        if owner not in self._plugins:
            return None
        found = await BatchReader(self._bus, work_stream(owner)).read(1, batch=1, subject=subject)
        return found[0] if found else None


def step_of(row: Mapping[str, Any]) -> Step:
    """Return what an outbox row says about its message."""
    headers = row["headers"]
    return Step(
        id=str(row["ce_id"]),
        kind=row["kind"],
        type=headers.get(CE_TYPE, ""),
        said_by=headers.get(CE_SOURCE, ""),
        said_at=row["created_at"],
        actor=headers.get(ACTOR, ""),
        correlation_id=headers.get(CORRELATION, ""),
        causation_id=headers.get(CAUSATION, ""),
        is_sent=row["sent_at"] is not None,
        stream_seq=row["stream_seq"],
        due_at=headers.get(SCHEDULE, "").removeprefix("@at "),
        subject=row["subject"],
    )


def related(steps: Mapping[str, Step], asked_for: set[str]) -> dict[str, Step]:
    """Return those asked for, all that led to them and all that came of them.

    When none is there by name, all are returned: they were asked for by their correlation.
    """
    present = asked_for & steps.keys()
    if not present:
        return dict(steps)
    causes = {step.id: step.causation_id for step in steps.values()}
    effects: dict[str, list[str]] = {}
    for step in steps.values():
        effects.setdefault(step.causation_id, []).append(step.id)
    kept: set[str] = set()
    for identity in present:
        above = identity
        while above in steps and above not in kept:
            kept.add(above)
            above = causes[above]
    below, seen = list(present), set(present)
    while below:
        further = [i for i in effects.get(below.pop(), []) if i not in seen]
        seen.update(further)
        below += further
    return {identity: steps[identity] for identity in steps if identity in kept | seen}


def as_tree(steps: Mapping[str, Step]) -> list[Step]:
    """Put each message under what caused it; returns the beginnings, oldest first."""
    beginnings: list[Step] = []
    for step in sorted(steps.values(), key=lambda step: (step.said_at, step.id)):
        cause = steps.get(step.causation_id)
        (beginnings if cause is None else cause.caused).append(step)
    return beginnings


def _request(identity: str, child: Step | None, handled: Sequence[Handled]) -> Step | None:
    uuid = _uuid(identity)
    if uuid is None:
        return None
    return Step(
        id=identity,
        kind="request",
        type=handled[0].handler if handled else f"{child.said_by if child else '?'} request",
        said_by="",
        said_at=handled[0].at or time_of(uuid) if handled else time_of(uuid),
        actor=child.actor if child else "",
        correlation_id=child.correlation_id if child else "",
        causation_id="",
    )


def _effect_of(row: Mapping[str, Any]) -> Effect:
    return Effect(
        effect=row["effect"],
        state=row["state"],
        attempts=row["attempts"],
        possible_duplicates=row["possible_duplicates"],
        started_at=row["started_at"],
        done_at=row["done_at"],
    )


def _buried(letter: DeadLetter) -> Handled:
    return Handled(
        handler=f"{letter.plugin}.{letter.handler}",
        state="parked" if letter.is_parked else "dead",
        failures=letter.failures,
        next_attempt_at=letter.next_attempt_at,
        reason=letter.reason,
    )


def _add_reaction(step: Step, handler: str, reached: int) -> None:
    if any(handled.handler == handler for handled in step.handled):
        return
    is_done = step.stream_seq is not None and reached >= step.stream_seq
    step.handled.append(Handled(handler=handler, state="done" if is_done else "waiting"))


def _named_in(steps: Mapping[str, Step]) -> Iterable[UUID]:
    names = {*steps, *(step.causation_id for step in steps.values())}
    return [identity for text in names if (identity := _uuid(text))]


def _part_of(step: Step) -> int:
    return part_of_slot(int(step.subject.split(".")[4]))


def _due(schedule: str) -> datetime | None:
    try:
        return datetime.fromisoformat(schedule.removeprefix("@at "))
    except ValueError:
        return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def _write_nothing(act: str, thing: str) -> None:
    """Looking for causes shows no content, so it is not written down."""
