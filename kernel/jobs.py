"""Jobs: cron schedules kept by the stream server; firings coalesce, one waiting at the most."""

from base64 import b64decode
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from bus.connection import Connection
from bus.envelope import Envelope
from bus.jetstream import JetStreamError, publish
from bus.jetstream import request as jetstream_request
from bus.schedules import cron_headers
from bus.streams import work_stream
from kernel.ids import derived_uuid
from kernel.outbox import timer_subject
from kernel.plugin import HandlerSpec, Plugin
from kernel.sql import statement
from kernel.unit_of_work import AlreadyDone, Answer

BEGIN_JOB = statement(
    """
    INSERT INTO kernel.jobs AS j (job, last_firing, started_at) VALUES (:job, :fired_at, clock_timestamp())
    ON CONFLICT (job) DO UPDATE
    SET last_firing = excluded.last_firing, started_at = clock_timestamp()
    WHERE j.started_at < excluded.last_firing
    """
)
END_JOB = statement("UPDATE kernel.jobs SET finished_at = clock_timestamp() WHERE job = :job")
NO_MESSAGE = 10037


class JobMark:
    """A firing older than the job's last start is dropped: that run has done its work as well."""

    def __init__(self, job: str, fired_at: datetime) -> None:
        self._job = job
        self._fired_at = fired_at

    async def claim(self, connection: asyncpg.Connection) -> None:
        """Raises AlreadyDone when a run began after this firing."""
        arguments = BEGIN_JOB.arguments({"job": self._job, "fired_at": self._fired_at})
        if (await connection.execute(BEGIN_JOB.sql, *arguments)).endswith(" 0"):
            raise AlreadyDone

    async def settle(self, connection: asyncpg.Connection, answer: Answer | None) -> None:
        """Note the end."""
        await connection.execute(END_JOB.sql, self._job)


def job_subject(plugin: str, job: str) -> str:
    """Return the subject of a job's firings."""
    return f"work.{plugin}.do.job_{job}"


async def ensure_schedules(connection: Connection, plugin: Plugin) -> list[str]:
    """Put the schedules of a plugin's jobs in its work stream; returns those that were changed."""
    changed = []
    for spec in plugin.of_kind("job"):
        subject = timer_subject(plugin.name, f"job-{spec.name}")
        headers = _schedule_headers(plugin, spec)
        if await _current_schedule(connection, plugin, subject) != _rule(headers):
            await publish(connection, subject, b"{}", headers)
            changed.append(f"{plugin.name}.{spec.name}")
    return changed


def _schedule_headers(plugin: Plugin, spec: HandlerSpec) -> dict[str, str]:
    envelope = Envelope(
        id=job_identity(plugin.name, spec.name),
        type=f"{plugin.name}.{spec.name}",
        source=plugin.name,
        time=datetime.now(UTC),
        correlation_id=f"job-{plugin.name}-{spec.name}",
    )
    cron = cron_headers(spec.schedule, spec.timezone, job_subject(plugin.name, spec.name))
    return {**envelope.to_headers(), **cron}


def job_identity(plugin: str, job: str) -> UUID:
    """Return the identity that all firings of a job carry; each adds its own time."""
    return derived_uuid(datetime(2020, 1, 1, tzinfo=UTC), plugin, job)


def _rule(headers: dict[str, str]) -> tuple[str, str]:
    return headers.get("Nats-Schedule", ""), headers.get("Nats-Schedule-Time-Zone", "")


async def _current_schedule(
    connection: Connection, plugin: Plugin, subject: str
) -> tuple[str, str] | None:
    try:
        answer = await jetstream_request(
            connection, f"STREAM.MSG.GET.{work_stream(plugin.name)}", {"last_by_subj": subject}
        )
    except JetStreamError as error:
        if error.code == NO_MESSAGE:
            return None
        raise
    return _rule(_decode_headers(answer["message"].get("hdrs", "")))


def _decode_headers(encoded: str) -> dict[str, str]:
    lines = b64decode(encoded).decode().split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}
