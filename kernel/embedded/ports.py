"""Ports on the loopback address: is one free, which one to take."""

import random
import socket
from collections.abc import Collection
from typing import Final

from kernel.embedded.errors import PortInUseError

LOOPBACK: Final = "127.0.0.1"

OUR_RANGE: Final = range(20_000, 32_000)
"""Below the range from which systems take ports for outgoing connections, so that a port
that we remember is not taken by one of those between two starts."""


def is_free(port: int) -> bool:
    """Say whether a server could listen here now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(*, taken: Collection[int] = ()) -> int:
    """Return a port where nobody listens and that is none of ``taken``."""
    chance = random.SystemRandom()
    while True:
        port = chance.choice(OUR_RANGE)
        if port not in taken and is_free(port):
            return port


def require_free(port: int, *, purpose: str, setting: str) -> int:
    """Return the configured port; raises PortInUseError when somebody listens there."""
    if not is_free(port):
        raise PortInUseError(port, purpose=purpose, setting=setting)
    return port
