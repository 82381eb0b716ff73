"""Milpa: one field where many optimizers grow.

This package holds the words that every floor of the house shares (jobs, states, errors, settings) and the client
that people import: `from milpa import Client`.
"""

from milpa.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
