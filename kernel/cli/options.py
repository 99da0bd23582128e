"""Options that several commands share, and how a command finds the running system."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from kernel.config import Configuration, EmbeddedSettings, load_configuration

GENERATED = "generated.toml"


def configured(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--profile`` and ``--config``."""
    function = click.option(
        "--config",
        "configs",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="A further TOML file, laid over the profile.",
    )(function)
    return click.option(
        "--profile",
        default=lambda: os.environ.get("REALSERV_PROFILE", "development"),
        show_default="development",
        help="Which of the shipped configurations to use.",
    )(function)


def running_configuration(profile: str, configs: tuple[Path, ...]) -> Configuration:
    """Load the configuration as the running system has it: with the addresses that ``up`` generated."""
    base = load_configuration(profile=profile, extra=configs)
    if base.data.get("bus", {}).get("servers"):
        return base
    folder = Path(base.section("embedded", EmbeddedSettings).folder).resolve()
    generated = folder / GENERATED
    if not generated.exists():
        return base
    return load_configuration(profile=profile, extra=(*configs, generated))
