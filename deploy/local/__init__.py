"""The embedded stack behind `milpa up`: real PostgreSQL and real Redis from their wheels."""
