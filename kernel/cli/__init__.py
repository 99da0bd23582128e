"""The command ``realserv``. Plugins and parts add commands by entry point ``realserv.commands``."""

from kernel.cli.root import main

__all__ = ["main"]
