"""Problems with known or real data."""
