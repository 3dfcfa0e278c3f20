"""The inputs of a table in a model: numbers on one side, ids of wide categories on the other."""

import keras
import numpy as np

from tfloop_cli.engine.data import DataSpec

Ids = list[tuple[int, keras.KerasTensor]]  # number of ids; ids, int32 [batch]


def has_ids(spec: DataSpec) -> bool:
    """Whether some features of the inputs are ids, which a model must embed."""
    return any(column.ids for column in spec.columns)


def split_columns(spec: DataSpec) -> tuple[keras.KerasTensor, keras.KerasTensor | None, Ids]:
    """Returns the input of a model for a table, [batch, features], and its parts.

    Returns:
        The input; its features that are no ids, [batch, numbers] (None if there are none); and the number of ids and
        the ids of each column that has some.
    """
    inputs = keras.Input(spec.input_shape)
    numbers: list[keras.KerasTensor] = []
    ids: Ids = []
    start = 0
    for column in spec.columns:
        if column.ids:
            # Ids are cast here, since layers may compute in 16 bits. Keras tests models with other numbers than ids.
            feature = keras.ops.cast(inputs[:, column.start], "int32")
            ids.append((column.ids, keras.ops.clip(feature, 0, column.ids - 1)))
            numbers += [inputs[:, start : column.start]] if column.start > start else []
            start = column.stop
    numbers += [inputs[:, start:]] if start < spec.input_shape[0] else []
    together = keras.layers.concatenate(numbers) if len(numbers) > 1 else None
    return inputs, together if len(numbers) > 1 else next(iter(numbers), None), ids


def codes_of(spec: DataSpec, inputs: keras.KerasTensor) -> Ids:
    """Returns the ids of numbers that are codes, which are numbers of the inputs [batch, features] as well.

    A number that training does not have is the nearest one that it has.
    """
    found: Ids = []
    for column in spec.columns:
        if column.edges:
            edges = np.array(column.edges, inputs.dtype)
            ids = keras.ops.searchsorted(edges, inputs[:, column.start], side="right")
            found.append((len(edges) + 1, ids))
    return found
