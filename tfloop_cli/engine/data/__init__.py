"""Data: what a dataset is, deterministic index-based batches, and reading and caching of files."""

from tfloop_cli.engine.data.array_dataset import ArraySource, from_arrays
from tfloop_cli.engine.data.batch_iterators import BatchIterator
from tfloop_cli.engine.data.build import build_data
from tfloop_cli.engine.data.invalid_examples import skip_example, skips_invalid_examples
from tfloop_cli.engine.data.pipeline import Data
from tfloop_cli.engine.data.spec import Dataset, DataSpec, InputSpec, Source, TargetSpec

__all__ = [
    "ArraySource",
    "BatchIterator",
    "Data",
    "DataSpec",
    "Dataset",
    "InputSpec",
    "Source",
    "TargetSpec",
    "build_data",
    "from_arrays",
    "skip_example",
    "skips_invalid_examples",
]
