"""NumPy arrays of the values of variables, without copies."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def view_of(variable: "tf.Variable") -> np.ndarray:
    """Returns a variable's values without copying them; valid until the variable changes."""
    if variable.shape.rank == 0:  # a bfloat16 scalar has no array interface
        return np.asarray(variable.numpy(), variable.dtype.as_numpy_dtype)
    return np.asarray(variable.value())


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Returns the bytes of a C-contiguous array, uint8 [bytes], without copying them."""
    return array.reshape(-1).view(np.uint8)


def is_all_finite(array: np.ndarray) -> bool:
    """Whether all values are finite; the array is read in parts, so that no mask of its size is needed."""
    flat, size = array.reshape(-1), 2**20
    return all(np.isfinite(flat[first : first + size]).all() for first in range(0, flat.size, size))
