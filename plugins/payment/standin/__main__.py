"""Run the stand-in: ``python -m plugins.payment.standin --port 9099 --key-id … --webhook-url …``.

Every option may come from the environment instead, ``RAZORPAY_STANDIN_KEY_SECRET`` for
``--key-secret``, so that secrets need not stand in the list of processes.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from plugins.payment.standin.app import serving
from plugins.payment.standin.office import Options

PREFIX = "RAZORPAY_STANDIN_"


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, Options]:
    """Return port and options from the command line and the environment; exits when one is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m plugins.payment.standin",
        description="A strict local stand-in for Razorpay. It moves no money.",
    )

    def option(name: str, text: str, *, is_required: bool = True) -> None:
        variable = PREFIX + name.upper().replace("-", "_")
        parser.add_argument(
            f"--{name}",
            default=environment.get(variable, None if is_required else ""),
            required=is_required and variable not in environment,
            help=f"{text} (or {variable})",
        )

    option("port", "the port on 127.0.0.1 to listen on")
    option("key-id", "the API key's public id")
    option("key-secret", "the API key's secret")
    option("webhook-url", "where webhooks are delivered; empty for nowhere", is_required=False)
    option("webhook-secret", "the secret that signs webhooks")
    option("old-webhook-secret", "the secret before its rotation", is_required=False)
    option("state", "a file that keeps the books over a restart", is_required=False)
    given = parser.parse_args(arguments)
    return int(given.port), Options(
        key_id=given.key_id,
        key_secret=given.key_secret,
        webhook_url=given.webhook_url,
        webhook_secret=given.webhook_secret,
        old_webhook_secret=given.old_webhook_secret,
        state=Path(given.state) if given.state else None,
    )


async def run(port: int, options: Options) -> None:
    """Serve until a signal comes."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    async with serving(options, port):
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(run(*read_options(sys.argv[1:], os.environ)))
