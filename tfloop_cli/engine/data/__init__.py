"""Data: what a dataset is, deterministic index-based batches, and reading and caching of files."""

from tfloop_cli.engine.data.build import build_data
from tfloop_cli.engine.data.invalid_examples import skip_example, skips_invalid_examples
from tfloop_cli.engine.data.pipeline import BatchIterator, Data
from tfloop_cli.engine.data.spec import ArraySource, Dataset, DataSpec, Source, from_arrays

__all__ = [
    "ArraySource",
    "BatchIterator",
    "Data",
    "DataSpec",
    "Dataset",
    "Source",
    "build_data",
    "from_arrays",
    "skip_example",
    "skips_invalid_examples",
]
