"""Remembering: PostgreSQL, Redis and objects. Problems and results are opaque bytes here."""
