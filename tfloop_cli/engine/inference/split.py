"""The examples of a split of the run's dataset as inputs."""

from collections.abc import Generator

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import Data
from tfloop_cli.engine.inference.inputs import Inputs, objects
from tfloop_cli.errors import TfloopError


def split_inputs(data: Data, split: str, batch_size: int) -> Generator[Inputs]:
    """Yields the examples of a split in order, one batch at a time, with the names of their files or their numbers.

    The numbers, from 1, are those in the dataset's own split: that of an example that is held out is its number in the
    training split.

    Raises:
        TfloopError: there is no such split (exit code 2), or an example cannot be read (exit code 4).
    """
    if not data.examples(split):
        raise TfloopError(f"there is no split `{split}`", hint=f"this dataset has {', '.join(data.splits)}")
    source, indices = data.split(split)
    names = data.names.get("train" if data.run_splits.is_held_out(split) else split)
    for start in range(0, len(indices), batch_size):
        chosen = indices[start : start + batch_size]
        with data.explain_errors():
            values = source.gather(tf.constant(chosen))[0]
        shown = objects([names[number] for number in chosen]) if names is not None else np.asarray(chosen) + 1
        yield Inputs(shown, values)
