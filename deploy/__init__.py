"""Every way to start Milpa; the only place that wires things together."""
