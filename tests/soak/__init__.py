"""A long run under mixed load, to see that nothing grows without bound: `make soak`."""
