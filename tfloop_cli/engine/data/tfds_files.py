"""Files of records as TFDS writes them: read in order, by number, or around what is damaged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.lib.io import tf_record
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core.utils.lazy_imports_utils import array_record_data_source
from tensorflow_datasets.core.utils.shard_utils import FileInstruction

from tfloop_cli.errors import ExitCode, TfloopError

ARRAY_RECORD, TFRECORD = file_adapters.FileFormat.ARRAY_RECORD, file_adapters.FileFormat.TFRECORD
READ_AT_ONCE = 64  # examples; of images of any size, so many have to fit into memory
# What the readers raise at files that are missing, cut short or changed, or of a format whose package is not there.
READ_ERRORS = (tf.errors.OpError, RuntimeError, ValueError, OSError, ImportError)
# Those of them that tell of the bytes, and not of a disk or a machine that may do better next time.
DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, RuntimeError, ValueError)
_FRAME = 16  # bytes around a record of a tfrecord file: its length, and a sum of that and of the record


@dataclass(frozen=True)
class Split:
    """One split's files.

    Attributes:
        name: as the builder has it.
        files: TFDS's own words on each: path, number of examples.
        file_format: of all of them.
    """

    name: str
    files: Sequence[FileInstruction]
    file_format: file_adapters.FileFormat

    @property
    def examples(self) -> int:
        """How many there are, as the dataset says."""
        return sum(file.take for file in self.files)

    @property
    def folder(self) -> str:
        """Where the files lie."""
        return str(Path(self.files[0].filename).parent)


def records(split: Split, file: FileInstruction) -> tf.data.Dataset:
    """A file's records in order, string []."""
    if split.file_format is not ARRAY_RECORD:
        return file_adapters.ADAPTER_FOR_FORMAT[split.file_format].make_tf_data(file.filename)
    source = array_record_data_source.ArrayRecordDataSource([file.filename])

    def read(first: np.int64) -> np.ndarray:
        return fetch(source, range(first, min(first + READ_AT_ONCE, len(source))))

    firsts = tf.data.Dataset.range(0, len(source), READ_AT_ONCE)
    return firsts.map(lambda first: tf.ensure_shape(tf.numpy_function(read, [first], tf.string), [None])).unbatch()


def fetch(source: Any, numbers: Sequence[int]) -> np.ndarray:
    """Records by their numbers: bytes [len(numbers)], as objects, since NumPy's own bytes lose zeros at the end."""
    records = source.__getitems__(list(numbers))
    if not all(records):  # what array_record gives for a file that was cut short
        raise ValueError("there are records missing")
    return np.array(records, object)


def stamps(split: Split) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file: while these are the same, the split counts as the same.

    Raises:
        TfloopError: a file is not there (exit code 4).
    """
    found = []
    for file in split.files:
        try:
            status = Path(file.filename).stat()
        except OSError as error:
            raise unreadable(split, file, one_line(error)) from error
        found.append((str(file.filename), status.st_size, status.st_mtime_ns))
    return found


def salvage(split: Split, file: FileInstruction) -> Iterator[bytes | Exception]:
    """A file's records one by one, in order; in place of one that is damaged, what its reader said.

    It ends where nothing more can be found.

    Raises:
        TfloopError: the file is not there, or cannot be read at all (exit code 4).
    """
    try:
        with Path(file.filename).open("rb"):
            pass
        if split.file_format is TFRECORD:
            yield from _salvage_tfrecord(Path(file.filename))
        elif split.file_format is ARRAY_RECORD:
            yield from _salvage_array_record(file)
        else:
            yield from records(split, file).as_numpy_iterator()
    except DAMAGE as error:
        yield error
    except READ_ERRORS as error:
        raise unreadable(split, file, one_line(error)) from error


def _salvage_tfrecord(path: Path) -> Iterator[bytes | Exception]:
    """Behind a damaged record lies the next one, as far away as the damaged one says that it is long."""
    reader, offset, size = tf_record.tf_record_random_reader(str(path)), 0, path.stat().st_size
    while offset < size:
        try:
            record, offset = reader.read(offset)
            yield record
        except tf.errors.DataLossError as error:
            yield error
            with path.open("rb") as stream:
                stream.seek(offset)
                offset += int.from_bytes(stream.read(8), "little") + _FRAME


def _salvage_array_record(file: FileInstruction) -> Iterator[bytes | Exception]:
    source = array_record_data_source.ArrayRecordDataSource([file])
    for number in range(file.take):
        try:
            yield fetch(source, [number])[0]
        except DAMAGE as error:
            yield error


def unreadable(split: Split, file: FileInstruction, reason: str) -> TfloopError:
    """What is wrong with a file (exit code 4)."""
    return TfloopError(
        f"split `{split.name}`: {file.filename} cannot be read: {reason}",
        hint="if it is damaged, move the dataset's folder away to have it prepared anew",
        code=ExitCode.DATA,
    )


def one_line(error: Exception) -> str:
    """What an exception says, in one line of bearable length that begins with its type."""
    words = " ".join(str(error).split("Traceback (most recent call last)")[0].split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= 1000 else f"{text[:1000]} ..."


def check_file(split: Split, file: FileInstruction) -> None:
    """Refuses an array_record file that is missing or holds another number of records (exit code 4)."""
    try:
        held = len(array_record_data_source.ArrayRecordDataSource([file.filename]))
    except READ_ERRORS as error:
        raise unreadable(split, file, one_line(error)) from error
    if held != file.take:
        raise unreadable(split, file, f"it holds {held} of its {file.take} examples")
