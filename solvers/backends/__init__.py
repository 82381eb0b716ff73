"""A solver library's status and callbacks become ours, once."""
