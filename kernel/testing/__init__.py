"""The kernel's test kit for plugin authors: real transactions, hand-written neighbours."""

from kernel.testing.harness import FakeNeighbours, PluginHarness, SpokenRow, an_actor

__all__ = ["FakeNeighbours", "PluginHarness", "SpokenRow", "an_actor"]
