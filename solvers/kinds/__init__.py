"""One folder, one optimizer."""
