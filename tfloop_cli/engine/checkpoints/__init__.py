"""Checkpoints: the format on disk, when they are saved, and restoring a run."""
