"""Report in, bytes out: one module for each file format."""
