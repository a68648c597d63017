"""Training of BiPVL-Seg on one's own data."""
