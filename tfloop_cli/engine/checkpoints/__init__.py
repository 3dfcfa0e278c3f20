"""Checkpoints: storage on disk, the manager that saves them during training, and restoring a run."""
