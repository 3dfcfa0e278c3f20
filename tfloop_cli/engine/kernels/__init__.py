"""Faster implementations of what TensorFlow and Keras compute on a CPU; results are equal within rounding.

They are active only while tfloop traces its own training and evaluation graphs. docs/optimization-notes.md has the
speedup of each.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tfloop_cli.engine.kernels import (
    batch_norm,
    bias_gradient,
    convolutions,
    dense,
    pointwise_gradient,
    pooling,
    transformers,
)
from tfloop_cli.engine.kernels.patching import original_implementations, patched
from tfloop_cli.engine.kernels.settings import KernelSettings, use_settings
from tfloop_cli.engine.kernels.weighted_sum import WeightedSum
from tfloop_cli.engine.kernels.word_mean import WordMean

__all__ = ["PATCHES", "KernelSettings", "WeightedSum", "WordMean", "fast_kernels", "original_implementations"]

PATCHES = (
    *bias_gradient.PATCHES,
    *pointwise_gradient.PATCHES,
    *dense.PATCHES,
    *convolutions.PATCHES,
    *pooling.PATCHES,
    *batch_norm.PATCHES,
    *transformers.PATCHES,
)


@contextmanager
def fast_kernels(settings: KernelSettings) -> Iterator[None]:
    """A context to trace a graph in. Keras and TensorFlow are unchanged outside of it and in other threads."""
    if not settings.enabled:
        yield
        return
    with use_settings(settings), patched(PATCHES):
        yield
