"""Fixtures on real servers."""

from tests.sample_plugin.fixtures import bus, quiet_logs, sample_database, sample_url, template

__all__ = ["bus", "quiet_logs", "sample_database", "sample_url", "template"]
