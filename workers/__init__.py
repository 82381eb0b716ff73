"""Queue in, results out."""
