"""The kernel's test kit for plugin authors: real transactions, hand-written neighbours."""

from kernel.testing.breaking import BREAKS, Break, BreakingDatabase
from kernel.testing.harness import FakeNeighbours, PluginHarness, SpokenRow, an_actor

__all__ = [
    "BREAKS",
    "Break",
    "BreakingDatabase",
    "FakeNeighbours",
    "PluginHarness",
    "SpokenRow",
    "an_actor",
]
