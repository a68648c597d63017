"""Comparison of our network with its ablations and with others, on the same data, patches, steps and seeds."""
