"""The campaign of kills, damage and full disks: `python -m benchmarks.durability --help`."""
