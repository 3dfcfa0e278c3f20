"""One split of arrays in memory."""

from functools import cached_property

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.structures import Structure, map_structure, named_values

Arrays = tuple[Structure, ...]  # inputs, targets and possibly the weights of the examples


class ArraySource:
    """A split in memory: one row per example.

    Tensors are made when they are first used: they start TensorFlow, whose threads and device are set before that.

    Args:
        inputs: array [examples, *input_shape]; several as a dict by name, or as a tuple.
        targets: array [examples, *target_shape]; several likewise.
        sample_weight: the weight of each example, [examples]; None for no weights.
    """

    def __init__(self, inputs: Structure, targets: Structure, sample_weight: np.ndarray | None = None) -> None:
        self._arrays: Arrays = (inputs, targets, *(() if sample_weight is None else (sample_weight,)))

    @cached_property
    def _tensors(self) -> Arrays:
        with tf.init_scope(), tf.device("CPU"):  # not in a graph that is being traced
            self._arrays = tuple(map_structure(tf.convert_to_tensor, one) for one in self._arrays)  # frees the others
        return self._arrays

    @property
    def inputs(self) -> Structure:
        """See `gather`."""
        return self._tensors[0]

    @property
    def targets(self) -> Structure:
        """See `gather`."""
        return self._tensors[1]

    @property
    def sample_weight(self) -> tf.Tensor | None:
        """See `gather`; None for no weights."""
        return self._tensors[2] if len(self._arrays) > 2 else None

    def __len__(self) -> int:
        return int(named_values(self._arrays[0])[0][1].shape[0])

    @property
    def all_targets(self) -> Structure:
        return self.targets

    def gather(self, indices: tf.Tensor) -> tuple[Structure, ...]:
        with tf.device("CPU"):  # outside of a graph, a GPU would gather from a copy of the whole split
            return tuple(map_structure(lambda values: tf.gather(values, indices), one) for one in self._tensors)
