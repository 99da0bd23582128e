"""Which hosts run which plugin now, as they themselves answer ``$SRV.PING``."""

import asyncio
from typing import Any, Final

import msgspec

from bus.connection import Connection
from bus.discovery import PREFIX

QUIET_SECONDS: Final = 0.3
"""So long nobody has answered any more: then all have."""
AT_MOST_SECONDS: Final = 3.0


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin in one host process."""

    name: str
    id: str
    version: str
    metadata: dict[str, str] = {}

    @property
    def host(self) -> str:
        """The name of the host process."""
        return self.metadata.get("host", self.id)


async def instances(connection: Connection) -> list[Instance]:
    """Ask all services who they are; services that are none of ours answer as well."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def answered(message: Any) -> None:
        if message.data:
            answers.put_nowait(message.data)

    inbox = connection.client.new_inbox()
    subscription = await connection.client.subscribe(inbox, cb=answered)
    found: list[Instance] = []
    try:
        await connection.client.publish(f"{PREFIX}.PING", b"", reply=inbox)
        async with asyncio.timeout(AT_MOST_SECONDS):
            while True:
                async with asyncio.timeout(QUIET_SECONDS):
                    payload = await answers.get()
                found.append(msgspec.json.decode(payload, type=Instance))
    except TimeoutError:
        return found
    finally:
        await subscription.unsubscribe()


def hosts_by_plugin(found: list[Instance]) -> dict[str, tuple[str, ...]]:
    """Return the names of the hosts that run each plugin, sorted."""
    hosts: dict[str, set[str]] = {}
    for instance in found:
        hosts.setdefault(instance.name, set()).add(instance.host)
    return {name: tuple(sorted(names)) for name, names in hosts.items()}
