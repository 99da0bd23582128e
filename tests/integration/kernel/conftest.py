"""Fixtures on real servers."""

from tests.sample_plugin.fixtures import (
    bus,
    own_bus,
    own_nats,
    quiet_logs,
    sample_database,
    sample_url,
    template,
)

__all__ = ["bus", "own_bus", "own_nats", "quiet_logs", "sample_database", "sample_url", "template"]
