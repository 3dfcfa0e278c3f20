"""Datasets, one file each. A builder returns a `Dataset`: its splits and the shape of one example."""
