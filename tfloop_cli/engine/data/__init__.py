"""Data: what a dataset is, deterministic index-based batches, and reading and caching of files.

Each name is loaded when it is first used, so that a command can read the columns of a table without TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfloop_cli.engine.data.array_dataset import from_arrays as from_arrays
    from tfloop_cli.engine.data.array_source import ArraySource as ArraySource
    from tfloop_cli.engine.data.batch_iterators import BatchIterator as BatchIterator
    from tfloop_cli.engine.data.build import build_data as build_data
    from tfloop_cli.engine.data.invalid_examples import skip_example as skip_example
    from tfloop_cli.engine.data.invalid_examples import skips_invalid_examples as skips_invalid_examples
    from tfloop_cli.engine.data.pipeline import Data as Data
    from tfloop_cli.engine.data.spec import Dataset as Dataset
    from tfloop_cli.engine.data.spec import DataSpec as DataSpec
    from tfloop_cli.engine.data.spec import InputSpec as InputSpec
    from tfloop_cli.engine.data.spec import Source as Source
    from tfloop_cli.engine.data.spec import TargetSpec as TargetSpec

_MODULES = {
    "ArraySource": "array_source",
    "from_arrays": "array_dataset",
    "BatchIterator": "batch_iterators",
    "build_data": "build",
    **dict.fromkeys(("skip_example", "skips_invalid_examples"), "invalid_examples"),
    "Data": "pipeline",
    **dict.fromkeys(("Dataset", "DataSpec", "InputSpec", "Source", "TargetSpec"), "spec"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    found = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
