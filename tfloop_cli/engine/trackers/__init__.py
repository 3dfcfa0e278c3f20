"""Experiment trackers, one file per tracker. They need no TensorFlow, and run in processes of their own."""
