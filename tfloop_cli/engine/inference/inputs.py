"""A chunk of inputs, ready for the model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tfloop_cli.engine.data.structures import Structure, map_structure
from tfloop_cli.engine.data.text_source import TextSource

ROWS_AT_ONCE = 8192  # of a chunk of small inputs, about


@dataclass(frozen=True)
class Inputs:
    """Some inputs, in order.

    Attributes:
        names: what the user calls each of them: a path (object) or the number of a row, from 1 (int64): [inputs].
        values: of those that can be used: arrays [usable, ...] as the run's dataset has them, or texts.
        errors: number of an input in this chunk, from 0 -> why it cannot be used.
        kept: columns to copy to the result, [inputs]; None for none.
    """

    names: np.ndarray
    values: Structure | TextSource
    errors: Mapping[int, str] = field(default_factory=dict)
    kept: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def usable(self) -> int:
        """The number of inputs without an error."""
        return len(self.names) - len(self.errors)

    def batches(self, size: int) -> Iterator[Structure]:
        """Yields the usable inputs, `size` at a time; texts are padded to the longest one of a batch."""
        for start in range(0, self.usable, size):
            stop = min(start + size, self.usable)
            if isinstance(self.values, TextSource):
                yield self.values.gather(tf.range(start, stop, dtype=tf.int64))[0]
            else:
                yield map_structure(lambda one, a=start, b=stop: tf.convert_to_tensor(one[a:b]), self.values)


def chunk_rows(batch_size: int, limit: int = ROWS_AT_ONCE) -> int:
    """Returns the size of a chunk: whole batches, about `limit` rows, so that all batches but the last one are full."""
    return batch_size * max(1, limit // batch_size)


def objects(values: list[str]) -> np.ndarray:
    """Returns names as an array of objects."""
    return np.array(values, object)


def kept_of(records: Sequence[Mapping[str, Any] | str], keep: Sequence[str]) -> pa.Table | None:
    """Returns the columns to copy of objects; None for none. A key that an object lacks is null."""
    if not keep:
        return None
    found = [{} if isinstance(record, str) else record for record in records]
    return pa.table({name: pa.array([_text(one.get(name)) for one in found], pa.string()) for name in keep})


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
