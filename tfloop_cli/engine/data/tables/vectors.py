"""Nested objects, and vectors, as columns of a table."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.engine.data.tables.column_names import distinct

MAX_VECTOR = 4096  # values of a list that become columns


def flat(table: pa.Table, whole: Collection[str] = ()) -> pa.Table:
    """Returns a table without nested objects and vectors: the keys of `a` are the columns `a.b` and `a.c`.

    The values of a vector `v`, a list of numbers of the same length in each row, are the columns `v.0`, `v.1`, ...,
    unless `v` is one of `whole`. Names are distinct.
    """
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    names: list[str] = []
    columns: list[pa.ChunkedArray | pa.Array] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        parts = _parts(column) if _is_list(column.type) and name not in whole else []
        names += [f"{name}.{index}" for index in range(len(parts))] or [name]
        columns += parts or [column]
    return pa.Table.from_arrays(columns, distinct(names)).replace_schema_metadata(table.schema.metadata)


def _parts(column: pa.ChunkedArray) -> list[pa.Array]:
    """Returns the columns of a column of lists, if they are vectors: numbers, and of one length; [] for any other."""
    kind = column.type
    if not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return []
    lengths = pc.unique(pc.drop_null(pc.list_value_length(column))).to_pylist()
    if len(lengths) != 1 or not 1 <= lengths[0] <= MAX_VECTOR:
        return []
    values = pc.list_flatten(column).to_numpy()
    vectors = np.full((len(column), lengths[0]), np.nan, np.result_type(values.dtype, np.float32))
    vectors[column.is_valid().to_numpy()] = values.reshape(-1, lengths[0])
    if not column.null_count and values.dtype.kind in "iu":
        vectors = values.reshape(-1, lengths[0])
    return [pa.array(np.ascontiguousarray(vectors[:, number]), from_pandas=True) for number in range(lengths[0])]


def flat_as(table: pa.Table, trained: Sequence[str], whole: Collection[str] = ()) -> tuple[pa.Table, dict[int, str]]:
    """Returns `flat(table, whole)`, and row -> what is wrong with it: its vectors are not as long as in training.

    Args:
        table: some rows of a file.
        trained: names of the columns of the training file.
        whole: see `flat`.
    """
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    errors: dict[int, str] = {}
    for number, name in enumerate(table.column_names):
        column = table.column(number)
        length = length_of(name, trained) if _is_list(column.type) and name not in whole else 0
        if not length:
            continue
        lengths = pc.fill_null(pc.list_value_length(column), length).to_numpy()
        if wrong := np.flatnonzero(lengths != length).tolist():
            errors |= {row: f"`{name}` has {lengths[row]} values, and the run needs {length}" for row in wrong}
            values = column.to_pylist()
            for row in wrong:
                values[row] = None
            table = table.set_column(number, name, pa.array(values, pa.list_(column.type.value_type)))
    return flat(table, whole), errors


def length_of(vector: str, trained: Collection[str]) -> int:
    """Returns the length of a vector in training; 0 if there was none of this name."""
    length = 0
    while f"{vector}.{length}" in trained:
        length += 1
    return length


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
