"""Kinds that misbehave on purpose; a child is told to serve them instead of the house's."""
