"""One exposition of all processes: each answers for itself over the bus, the asker puts them together."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Final

import nats.errors
from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from bus.connection import Connection
from kernel.telemetry import Telemetry

METRICS_SUBJECT: Final = "kernel.metrics"
FIRST_ANSWER: Final = 0.5
LAST_ANSWER: Final = 0.15


class MetricsAnswerer:
    """Answers for this process when anybody gathers."""

    def __init__(self, connection: Connection, telemetry: Telemetry, host: str) -> None:
        self._connection = connection
        self._telemetry = telemetry
        self._host = host

    async def start(self) -> None:
        """Answer from now on."""
        await self._connection.client.subscribe(METRICS_SUBJECT, cb=self._answer)

    async def _answer(self, message: Any) -> None:
        if message.reply:
            await self._connection.client.publish(
                message.reply, self._telemetry.exposition(), headers={"realserv-host": self._host}
            )


class MetricsGatherer:
    """Gathers the expositions of all processes into one, each sample labelled with its host."""

    def __init__(self, connection: Connection, telemetry: Telemetry, host: str) -> None:
        self._connection = connection
        self._telemetry = telemetry
        self._host = host

    async def exposition(self) -> bytes:
        """Return all processes' metrics in Prometheus' text format; without the bus, this one's."""
        answers = await gather(self._connection, METRICS_SUBJECT)
        texts = {headers.get("realserv-host", "?"): payload for payload, headers in answers}
        texts.setdefault(self._host, self._telemetry.exposition())
        return generate_latest(_Together(texts))


class _Together(Collector):
    def __init__(self, texts: dict[str, bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for host, text in sorted(self._texts.items()):
            for family in text_string_to_metric_families(text.decode()):
                whole = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in _labelled(family, host):
                    whole.add_sample(*sample)
        return families.values()


def _labelled(family: Metric, host: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for sample in family.samples:
        yield sample.name, {**sample.labels, "host": host}, sample.value


async def gather(connection: Connection, subject: str) -> list[tuple[bytes, dict[str, str]]]:
    """Ask everybody on a subject and collect what comes shortly."""
    answers: list[tuple[bytes, dict[str, str]]] = []
    came = asyncio.Event()

    async def received(message: Any) -> None:
        headers = message.headers or {}
        if headers.get("Status") != "503":
            answers.append((message.data, headers))
        came.set()

    client = connection.client
    try:
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=received)
        await client.publish(subject, b"", reply=inbox)
        wait = FIRST_ANSWER
        while True:
            came.clear()
            try:
                async with asyncio.timeout(wait):
                    await came.wait()
            except TimeoutError:
                break
            wait = LAST_ANSWER
        await subscription.unsubscribe()
    except nats.errors.Error:
        return answers
    return answers
