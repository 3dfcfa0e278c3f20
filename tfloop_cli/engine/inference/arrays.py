"""NumPy arrays as inputs: in memory, or in .npy and .npz files, which are read a part at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfloop_cli.config.data_formats import is_idx
from tfloop_cli.engine.data.array_files import StoredArray, find_arrays
from tfloop_cli.engine.data.spec import DataSpec, InputSpec
from tfloop_cli.engine.data.structures import (
    Structure,
    in_order_of,
    is_several,
    map_structure,
    named_values,
    names_of,
    structure_like,
)
from tfloop_cli.engine.inference.inputs import Inputs, chunk_rows, kept_of
from tfloop_cli.engine.inference.rechunk import row_names
from tfloop_cli.errors import ExitCode, TfloopError, short_path

CHUNK_BYTES = 16 * 2**20
NAMES = ("x", "inputs", "x_test", "inputs_test")  # of the inputs in a file with several arrays


@dataclass
class ArrayInputs:
    """Reads arrays of inputs [rows, ...] as the run's dataset has them.

    Args:
        spec: of the run's data.
        keep: keys of records to copy.
        named: the configured name of the inputs in a file with several arrays; "" for none.
    """

    spec: DataSpec
    keep: Sequence[str] = ()
    named: str = ""
    notes: Sequence[str] = ()

    def read(self, paths: Sequence[str], batch_size: int, several: bool = False) -> Iterator[Inputs]:
        """Yields the rows of files in chunks of whole batches.

        Raises:
            TfloopError: an array cannot be read, or its rows are not like those of the run (exit code 4).
        """
        for path in paths:
            stored = self._stored(path)
            yield from self._chunks(stored, batch_size, path if several else "")

    def total(self, paths: Sequence[str]) -> int:
        """Returns the number of rows in files."""
        return sum(_rows(self._stored(path)) for path in paths)

    def inputs(self, values: Structure, batch_size: int) -> Iterator[Inputs]:
        """Yields the rows of arrays in memory, several as a dict or a tuple; see `read`."""
        yield from self._chunks(self._checked(values), batch_size, "")

    def as_trained(self, values: Structure) -> Structure:
        """Returns arrays in memory, several as a dict or a tuple, with the shape and dtype of the run's; see `read`."""
        arrays = self._checked(values)
        return map_structure(lambda spec, one: _part(spec, one, 0, len(one)), self.spec.inputs, arrays)

    def _checked(self, values: Structure) -> Structure:
        arrays = map_structure(np.asarray, in_order_of(self.spec.inputs, values))
        found, wanted = ([name for name, _ in named_values(one)] for one in (arrays, self.spec.inputs))
        if found != wanted:
            listed = [names_of(one) if is_several(one) else "one array" for one in (arrays, self.spec.inputs)]
            raise TfloopError(f"the inputs are {listed[0]}, and those of the run are {listed[1]}", code=ExitCode.DATA)
        self._check(arrays)
        return arrays

    def _chunks(self, arrays: Structure, batch_size: int, file: str) -> Iterator[Inputs]:
        total = _rows(arrays)
        row_bytes = sum(
            int(np.prod(one.shape[1:], dtype=np.int64)) * one.dtype.itemsize for _, one in named_values(arrays)
        )
        size = chunk_rows(batch_size, max(1, CHUNK_BYTES // max(row_bytes, 1)))
        for start in range(0, total, size):
            stop = min(start + size, total)
            values = map_structure(lambda spec, one, a=start, b=stop: _part(spec, one, a, b), self.spec.inputs, arrays)
            yield Inputs(row_names(start + 1, stop - start, file), values)

    def records(self, records: Sequence[Mapping[str, Any] | str], names: np.ndarray) -> Inputs:
        """Returns objects with the values of a row, as nested lists, in `input`; a text is the error of an input."""
        rows, errors = [], {}
        for number, record in enumerate(records):
            try:
                rows.append(self._row(record) if isinstance(record, Mapping) else None)
            except (ValueError, TypeError, KeyError, OverflowError):
                rows.append(None)
            if rows[-1] is None:
                wanted = f"`input` is not {_expected(self.spec.inputs)}"
                errors[number] = record if isinstance(record, str) else wanted
        usable = [row for row in rows if row is not None]
        stacked = {
            name: np.stack([row[name] for row in usable])
            if usable
            else np.zeros((0, *(length or 1 for length in one.shape)), one.dtype)
            for name, one in named_values(self.spec.inputs)
        }
        return Inputs(names, structure_like(self.spec.inputs, stacked), errors, kept_of(records, self.keep))

    def _row(self, record: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        found = {}
        for name, spec in named_values(self.spec.inputs):
            value = np.asarray(record["input"][name] if name else record["input"])
            integer = value.dtype.kind in "iub" or np.array_equal(value, np.round(value))
            if value.dtype.kind not in "iufb" or (np.dtype(spec.dtype).kind in "iu" and not integer):
                return None
            if value.shape != spec.shape and (*value.shape, 1) != spec.shape:
                return None
            found[name] = value.reshape([-1 if one is None else one for one in spec.shape]).astype(spec.dtype)
        return found

    def _stored(self, path: str) -> Structure:
        """Returns the arrays of a file in the structure of the inputs, which are not read yet."""
        file = Path(path).expanduser()
        found = {"": StoredArray.of(file)} if file.suffix.lower() == ".npy" or is_idx(file.name) else find_arrays(file)
        wanted = [name for name, _ in named_values(self.spec.inputs)]
        if not is_several(self.spec.inputs):
            found = {"": self._only(path, found)}
        elif lacking := [name for name in wanted if name not in found]:
            raise TfloopError(
                f"{short_path(file)}: there is no array `{lacking[0]}`", code=ExitCode.DATA,
                hint=f"the run has the inputs {names_of(self.spec.inputs)}; an .npz file has arrays of these names",
            )  # fmt: skip
        arrays = structure_like(self.spec.inputs, found)
        self._check(arrays)
        return arrays

    def _only(self, path: str, found: Mapping[str, StoredArray]) -> StoredArray:
        if len(found) == 1:
            return next(iter(found.values()))
        chosen = next((name for name in (self.named, *NAMES) if name in found), None)
        if chosen is None:
            problem = f"{path}: which array has the inputs? There are {', '.join(f'`{name}`' for name in found)}"
            raise TfloopError(problem, hint="call it `x`, or save it as an .npy file", code=ExitCode.DATA)
        return found[chosen]

    def _check(self, arrays: Structure) -> None:
        """Raises TfloopError (exit code 4) unless the rows are like those of the run, and equally many."""
        total = _rows(arrays)
        for (name, spec), (_, one) in zip(named_values(self.spec.inputs), named_values(arrays), strict=True):
            label = str(one) if isinstance(one, StoredArray) else f"input `{name}`" if name else "the array"
            shape = tuple(one.shape[1:])
            fits = all(want in (None, have) for want, have in zip(spec.shape, shape, strict=False))
            fits = fits and len(one.shape) and (len(shape) == len(spec.shape) or (*shape, 1) == spec.shape)
            if not (fits and _castable(one.dtype, np.dtype(spec.dtype))):
                found = f"{one.dtype}{list(shape)}" if one.shape else "a single value"
                problem = f"{label}: its rows are {found}, and those of the run are {_expected(spec)}"
                raise TfloopError(problem, hint=_hint(one, spec), code=ExitCode.DATA)
            if one.shape[0] != total:
                raise TfloopError(f"{label}: it has {one.shape[0]:,} rows, not {total:,}", code=ExitCode.DATA)


def _rows(arrays: Structure) -> int:
    shape = named_values(arrays)[0][1].shape
    return int(shape[0]) if shape else 0


def _part(spec: InputSpec, array: np.ndarray | StoredArray, start: int, stop: int) -> np.ndarray:
    values = array.rows(start, stop) if isinstance(array, StoredArray) else array[start:stop]
    with np.errstate(over="ignore"):  # a number that is too large for float32 is infinite, which is an error later
        values = values.astype(spec.dtype, copy=False)
    return values.reshape((*values.shape, 1)) if values.ndim == len(spec.shape) else values


def _castable(found: np.dtype, wanted: np.dtype) -> bool:
    if found.kind == wanted.kind == "f":
        return True
    return found == wanted or (found.kind in "iu" and wanted.kind in "iu" and np.can_cast(found, wanted, "same_kind"))


def _expected(spec: InputSpec | Structure) -> str:
    parts = [f"{one.dtype}{['?' if length is None else length for length in one.shape]}".replace("'", "")
             for _, one in named_values(spec)]  # fmt: skip
    return ", ".join(parts)


def _hint(array: Any, spec: InputSpec) -> str | None:
    if tuple(array.shape) == tuple(spec.shape):
        return "this is one example: the first axis is that of the examples"
    return None
