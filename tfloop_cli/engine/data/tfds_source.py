"""Random access to the examples of a TFDS split by index, in the graph."""

from collections import deque

import numpy as np
import tensorflow as tf
from tensorflow_datasets.core.utils.lazy_imports_utils import array_record_data_source

from tfloop_cli.engine.data.tfds_files import READ_ERRORS, Split, check_file, fetch, one_line, unreadable
from tfloop_cli.engine.data.tfds_records import Example, invalid_label, out_of_range
from tfloop_cli.errors import TfloopError

RECENT_BATCHES = 8  # batches whose indices are kept, to find an example that could not be decoded


class RecordSource:
    """A split in array_record files, with random access by index.

    Args:
        split: the files of the split.
        example: decodes a record; its input shape is fixed.
        valid_indices: the indices of the valid examples, int64 [valid]; None: all, and each file is checked first.

    Raises:
        TfloopError: a file is missing or truncated (exit code 4).
    """

    def __init__(self, split: Split, example: Example, valid_indices: np.ndarray | None = None) -> None:
        for file in split.files if valid_indices is None else ():
            check_file(split, file)
        self._failure: TfloopError | None = None
        self._recent: deque[np.ndarray] = deque(maxlen=RECENT_BATCHES)
        self._split, self._example = split, example
        self._valid_indices = valid_indices if valid_indices is not None else np.arange(split.examples)
        self._source = array_record_data_source.ArrayRecordDataSource(list(split.files))

    def __len__(self) -> int:
        return len(self._valid_indices)

    @property
    def failure(self) -> TfloopError | None:
        """Why a read inside the graph failed; TensorFlow's error has only a text."""
        if self._failure is None and self._recent:
            self._failure = self._find_failure(np.concatenate(list(self._recent)))
        return self._failure

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`; reads all records at once, then decodes each."""
        example, batch = self._example, indices.shape[0]
        outputs = (
            tf.TensorSpec(example.input_shape, example.input_dtype),
            tf.TensorSpec(example.target_shape, example.target_dtype),
        )
        found = tf.ensure_shape(tf.numpy_function(self._read, [indices], tf.string), [batch])
        inputs, targets = tf.map_fn(example.decode, found, fn_output_signature=outputs)
        targets = tf.numpy_function(self._check_labels, [indices, targets], example.target_dtype)
        return inputs, tf.ensure_shape(targets, [batch, *example.target_shape])

    def _read(self, indices: np.ndarray) -> np.ndarray:
        split_indices = self._valid_indices[indices]
        self._recent.append(split_indices)
        try:
            return fetch(self._source, split_indices)
        except READ_ERRORS as error:
            found = self._find_failure(split_indices)
            self._failure = found or unreadable(self._split, self._split.files[0], one_line(error))
            raise self._failure from error

    def _check_labels(self, indices: np.ndarray, targets: np.ndarray) -> np.ndarray:
        for position in np.flatnonzero(out_of_range(targets, self._example)):
            index = self._valid_indices[indices[position]]
            self._failure = invalid_label(self._split, index, targets[position], self._example)
            raise self._failure
        return targets

    def _find_failure(self, split_indices: np.ndarray) -> TfloopError | None:
        """Returns the error of the first of these examples that cannot be read or decoded; None if all can."""
        ends = np.cumsum([file.take for file in self._split.files])
        for index in split_indices:
            file = self._split.files[int(np.searchsorted(ends, index, side="right"))]
            try:
                self._example.decode(tf.constant(fetch(self._source, [index])[0]))
            except READ_ERRORS as error:
                return unreadable(self._split, file, f"example {index}: {one_line(error)}")
        return None
