"""Figures, never assertions: each module measures one promise as a ratio against a yardstick in the same run."""
