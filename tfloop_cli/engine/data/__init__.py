"""Datasets: where examples come from, and batches with addresses."""

from tfloop_cli.engine.data.bad import leave_out, skipping
from tfloop_cli.engine.data.pipeline import Data, Feed, build_data
from tfloop_cli.engine.data.spec import ArraySource, Dataset, DataSpec, Source, from_arrays

__all__ = [
    "ArraySource",
    "Data",
    "DataSpec",
    "Dataset",
    "Feed",
    "Source",
    "build_data",
    "from_arrays",
    "leave_out",
    "skipping",
]
