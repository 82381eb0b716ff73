"""Real workers that share out their slots; each test ends with the ledger."""

from tests.faults.conftest import crew, database, pace, redis, servers, settings, stack, tenant

__all__ = ["crew", "database", "pace", "redis", "servers", "settings", "stack", "tenant"]
"""Imported, fixtures are new ones here: servers of their own, because workers take whatever job they find."""
