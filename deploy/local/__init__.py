"""The embedded stack: a real PostgreSQL and a real Redis from wheels, with all state under one folder."""
