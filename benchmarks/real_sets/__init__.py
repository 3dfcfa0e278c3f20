"""Real data sets out of packages, for `benchmarks/real_data.py`: one module per kind of data."""
