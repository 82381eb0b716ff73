"""Milpa: one field where many optimizers grow.

This package holds the words that every floor of the house shares (jobs, states, errors, settings) and the client
that people import: `from milpa import Client`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milpa.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    """Import the client when it is asked for: servers and solvers share this package and never need it."""
    if name in __all__:
        from milpa import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
