"""Where a message really comes from, when the server let itself be used to carry it.

The server checks what a credential publishes, but not where it has an answer sent: a reply subject
may name a command or a stream of others, and then JetStream itself publishes there. Such messages
give themselves away.
"""

from collections.abc import Mapping
from typing import Final

INBOX: Final = "_INBOX"
STREAM: Final = "Nats-Stream"
SCHEDULER: Final = "Nats-Scheduler"


def is_request(reply: str) -> bool:
    """Tell whether somebody waits for the answer in an inbox: what a stream or a service sends on has none."""
    return reply.startswith(INBOX)


def forgery_of(headers: Mapping[str, str], owner: str) -> str:
    """Return why a message in a plugin's work queue was not put there by who may, or an empty text.

    What stands in the queue was read out of another stream, or set off by a timer of somebody else.
    """
    if STREAM in headers:
        return f"forged: read out of {headers[STREAM]}"
    scheduler = headers.get(SCHEDULER)
    if scheduler is not None and not scheduler.startswith(f"work.{owner}.timer."):
        return f"forged: a schedule in {scheduler}"
    return ""
