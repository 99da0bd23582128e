"""The few requests of the JetStream API that we make ourselves, and the errors they answer."""

import asyncio
from typing import Any, NamedTuple

import msgspec
import nats.errors

from bus.connection import Connection
from bus.errors import DeadlineError, DisconnectedError

WRONG_LAST_SEQUENCE = 10071
STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014


class JetStreamError(RuntimeError):
    """JetStream refused a request; ``code`` is its ``err_code``."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code


class Stored(NamedTuple):
    """Where a published message stands."""

    stream: str
    sequence: int
    is_duplicate: bool


class StoredMessage(NamedTuple):
    """A message read back from a stream."""

    sequence: int
    subject: str
    headers: dict[str, str]
    payload: bytes


async def request(connection: Connection, subject: str, body: Any = None) -> dict[str, Any]:
    """Call the JetStream API; raises JetStreamError, DeadlineError, DisconnectedError, NotGrantedError."""
    payload = b"" if body is None else msgspec.json.encode(body)
    try:
        message = await connection.client.request(f"$JS.API.{subject}", payload, timeout=5)
    except (nats.errors.TimeoutError, TimeoutError) as error:
        connection.require_granted(f"$JS.API.{subject}")
        raise DeadlineError(f"JetStream did not answer {subject}") from error
    except nats.errors.Error as error:
        raise DisconnectedError(f"JetStream cannot be reached: {error!r}") from error
    answer: dict[str, Any] = msgspec.json.decode(message.data)
    if "error" in answer:
        fault = answer["error"]
        raise JetStreamError(fault.get("err_code", 0), fault.get("description", ""))
    return answer


async def pages(connection: Connection, subject: str, key: str) -> list[dict[str, Any]]:
    """Read all pages of a listing."""
    rows: list[dict[str, Any]] = []
    while True:
        answer = await request(connection, subject, {"offset": len(rows)})
        page = answer.get(key) or []
        rows += page
        if not page or len(rows) >= answer["total"]:
            return rows


async def publish(
    connection: Connection,
    subject: str,
    payload: bytes,
    headers: dict[str, str],
    *,
    timeout: float = 2.0,
) -> Stored:
    """Publish into a stream and wait until it is stored; raises as ``request`` does.

    Whether the message was stored is unknown after DeadlineError: repeat with the same
    ``Nats-Msg-Id``, or look.
    """
    try:
        message = await connection.client.request(
            subject, payload, timeout=timeout, headers=dict(headers)
        )
    except (nats.errors.TimeoutError, TimeoutError) as error:
        connection.require_granted(subject)
        raise DeadlineError(f"no acknowledgement for {subject}") from error
    except nats.errors.Error as error:
        raise DisconnectedError(f"{subject} cannot be published: {error!r}") from error
    return stored(message.data)


def stored(payload: bytes) -> Stored:
    """Read a publish acknowledgement; raises JetStreamError when it is a refusal."""
    answer: dict[str, Any] = msgspec.json.decode(payload)
    if "error" in answer:
        fault = answer["error"]
        raise JetStreamError(fault.get("err_code", 0), fault.get("description", ""))
    return Stored(answer["stream"], answer["seq"], answer.get("duplicate", False))


async def last_sequence(connection: Connection, stream: str) -> int:
    """Return the sequence of the newest message of a stream, 0 when it is empty."""
    answer = await request(connection, f"STREAM.INFO.{stream}")
    sequence: int = answer["state"]["last_seq"]
    return sequence


class BatchReader:
    """Reads a stream from a sequence on by direct gets: no consumer, no acknowledgement."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._subject = f"$JS.API.DIRECT.GET.{stream}"

    async def read(
        self, first: int, *, batch: int = 256, subject: str = ">", timeout: float = 5.0
    ) -> list[StoredMessage]:
        """Return up to ``batch`` messages at or after ``first``, in order; empty at the head."""
        inbox = self._connection.client.new_inbox()
        found: list[StoredMessage] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def received(message: Any) -> None:
            if done.done():
                return
            headers = message.headers or {}
            status = headers.get("Status")
            if status in ("204", "404"):
                done.set_result(None)
            elif status:
                code = int(status) if status.isdigit() else 0
                done.set_exception(JetStreamError(code, headers.get("Description", "")))
            else:
                found.append(
                    StoredMessage(
                        int(headers["Nats-Sequence"]),
                        headers["Nats-Subject"],
                        headers,
                        message.data,
                    )
                )

        try:
            subscription = await self._connection.client.subscribe(inbox, cb=received)
            body = {"seq": first, "batch": batch, "next_by_subj": subject}
            await self._connection.client.publish(
                self._subject, msgspec.json.encode(body), reply=inbox
            )
            try:
                async with asyncio.timeout(timeout):
                    await done
            finally:
                await subscription.unsubscribe()
        except TimeoutError as error:
            self._connection.require_granted(self._subject)
            raise DeadlineError("the stream did not answer") from error
        except nats.errors.Error as error:
            raise DisconnectedError(f"the stream cannot be read: {error!r}") from error
        return found
