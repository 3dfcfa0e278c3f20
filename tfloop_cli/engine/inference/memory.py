"""Inputs that a Python program passes: arrays, rows as dicts, texts, or paths."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tfloop_cli.engine.inference.inputs import Inputs, chunk_rows
from tfloop_cli.engine.inference.readers import Reader, reader_of
from tfloop_cli.engine.inference.rechunk import row_names
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import TfloopError

HINT = "pass a path, a table such as a pandas DataFrame, or a list of paths, of rows as dicts, or of texts"


def inputs_in_memory(
    run: TrainedRun, values: Any, batch_size: int, note: Callable[[str], None] = lambda line: None
) -> Iterator[Inputs]:
    """Yields inputs in chunks.

    Args:
        run: the trained model.
        values: an array [examples, ...], or several as a dict or a tuple; a path; a table of pandas, polars or pyarrow;
            or a list of paths, of rows as dicts, or of texts for a run on texts.
        batch_size: of the model; chunks are multiples of it.
        note: prints what was decided.

    Raises:
        TfloopError: the inputs are of a kind that the run does not take (exit code 2), or a file cannot be read (4).
    """
    reader = reader_of(run)
    yield from _inputs(reader, values, batch_size)
    for line in reader.notes:
        note(line)


def _inputs(reader: Reader, values: Any, batch_size: int) -> Iterator[Inputs]:
    if isinstance(values, str | Path):
        values = [values]
    elif reader.arrays is None and hasattr(values, "__arrow_c_stream__"):
        values = pa.table(values).to_pylist()
    if isinstance(values, list) and not values:
        return
    if isinstance(values, list):
        kinds = {"path" if isinstance(one, str | Path) else type(one).__name__ for one in values}
        if all(isinstance(one, Mapping) for one in values) or (
            kinds == {"path"} and reader.texts and _are_texts(values)
        ):
            records = [one if isinstance(one, Mapping) else {"text": str(one)} for one in values]
            size = chunk_rows(batch_size)
            for start in range(0, len(records), size):
                part = records[start : start + size]
                yield reader.records(part, row_names(start + 1, len(part)))
            return
        if kinds == {"path"}:
            yield from reader.files([str(one) for one in values]).read(batch_size)
            return
    if reader.arrays is None:
        raise TfloopError(f"these inputs do not suit the run, which takes {reader.what}", hint=HINT)
    yield from reader.arrays.inputs(values, batch_size)


def _are_texts(values: list[Any]) -> bool:
    """Whether strings are texts and not the paths of files."""
    return not all(len(str(one)) < 4096 and "\n" not in str(one) and Path(one).exists() for one in values)
