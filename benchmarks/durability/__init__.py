"""Tests with kills, corrupted files and full disks: `python -m benchmarks.durability --help`."""
