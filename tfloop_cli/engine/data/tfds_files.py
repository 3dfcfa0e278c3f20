"""Reads the record files of TFDS: in order, by index, or record by record around damaged ones."""

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
READ_AT_ONCE = 64  # examples; that many have to fit into memory, whatever the size of the images
# Errors of the readers for a file that is missing, truncated or changed, or whose format needs a missing package.
READ_ERRORS = (tf.errors.OpError, RuntimeError, ValueError, OSError, ImportError)
# The read errors that the content of a file causes. The others may be temporary failures of the disk or the machine.
DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, RuntimeError, ValueError)
_FRAMING_BYTES = 16  # per record of a tfrecord file: its length, and checksums of the length and of the record


@dataclass(frozen=True)
class Split:
    """The files of a split.

    Attributes:
        name: the name in tfloop: `train` for `train[:80%]`.
        files: path and examples, one instruction of TFDS per file.
        file_format: of all files.
        instruction: the split in TFDS: `train[:80%]`.
    """

    name: str
    files: Sequence[FileInstruction]
    file_format: file_adapters.FileFormat
    instruction: str

    @property
    def examples(self) -> int:
        """The number of examples that the dataset declares."""
        return sum(file.take for file in self.files)

    @property
    def folder(self) -> str:
        """The folder of the files."""
        return str(Path(self.files[0].filename).parent)


def records(split: Split, file: FileInstruction) -> tf.data.Dataset:
    """Returns all records of a file in order, string []; a split may consist of `take` of them, after `skip`."""
    if split.file_format is not ARRAY_RECORD:
        return file_adapters.ADAPTER_FOR_FORMAT[split.file_format].make_tf_data(file.filename)
    source = array_record_data_source.ArrayRecordDataSource([file.filename])

    def read(first: np.int64) -> np.ndarray:
        return fetch(source, range(first, min(first + READ_AT_ONCE, len(source))))

    firsts = tf.data.Dataset.range(0, len(source), READ_AT_ONCE)
    return firsts.map(lambda first: tf.ensure_shape(tf.numpy_function(read, [first], tf.string), [None])).unbatch()


def fetch(source: Any, indices: Sequence[int]) -> np.ndarray:
    """Returns records by index: bytes [len(indices)], dtype object, because NumPy's bytes dtype drops trailing zeros.

    Raises:
        ValueError: a record is missing.
    """
    found = source.__getitems__(list(indices))
    if not all(found):  # array_record returns empty records for a truncated file
        raise ValueError("records are missing")
    return np.array(found, object)


def stamps(split: Split) -> list[tuple[str, int, int]]:
    """Returns name, size and modification time of each file; a split counts as unchanged if these are.

    Raises:
        TfloopError: a file is missing (exit code 4).
    """
    found = []
    for file in split.files:
        try:
            status = Path(file.filename).stat()
        except OSError as error:
            raise unreadable(split, file, one_line(error)) from error
        found.append((str(file.filename), status.st_size, status.st_mtime_ns))
    return found


def recover(split: Split, file: FileInstruction) -> Iterator[bytes | Exception]:
    """Yields all records of a file one by one, and the reader's exception in place of a damaged record.

    The iterator ends early if the position of the next record is unknown.

    Raises:
        TfloopError: the file is missing, or cannot be read at all (exit code 4).
    """
    try:
        with Path(file.filename).open("rb"):
            pass
        if split.file_format is TFRECORD:
            yield from _recover_tfrecord(Path(file.filename))
        elif split.file_format is ARRAY_RECORD:
            yield from _recover_array_record(file)
        else:
            yield from records(split, file).as_numpy_iterator()
    except DAMAGE as error:
        yield error
    except READ_ERRORS as error:
        raise unreadable(split, file, one_line(error)) from error


def _recover_tfrecord(path: Path) -> Iterator[bytes | Exception]:
    """Yields records and exceptions; the length field of a damaged record gives the position of the next record."""
    reader, offset, size = tf_record.tf_record_random_reader(str(path)), 0, path.stat().st_size
    while offset < size:
        try:
            record, offset = reader.read(offset)
            yield record
        except tf.errors.DataLossError as error:
            yield error
            with path.open("rb") as stream:
                stream.seek(offset)
                offset += int.from_bytes(stream.read(8), "little") + _FRAMING_BYTES


def _recover_array_record(file: FileInstruction) -> Iterator[bytes | Exception]:
    source = array_record_data_source.ArrayRecordDataSource([file.filename])
    for index in range(file.skip + file.take):
        try:
            yield fetch(source, [index])[0]
        except DAMAGE as error:
            yield error


def unreadable(split: Split, file: FileInstruction, reason: str) -> TfloopError:
    """Returns the error for a file that cannot be read (exit code 4)."""
    return TfloopError(
        f"split `{split.name}`: {file.filename} cannot be read: {reason}",
        hint="if it is damaged, move the dataset's folder away to prepare it again",
        code=ExitCode.DATA,
    )


def one_line(error: Exception) -> str:
    """Returns the type and the message of an exception on one line of limited length, without tracebacks."""
    message = " ".join(str(error).split("Traceback (most recent call last)")[0].split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= 1000 else f"{text[:1000]} ..."


def check_file(split: Split, file: FileInstruction) -> None:
    """Raises TfloopError (exit code 4) if an array_record file is missing or contains another number of records."""
    try:
        count = len(array_record_data_source.ArrayRecordDataSource([file.filename]))
    except READ_ERRORS as error:
        raise unreadable(split, file, one_line(error)) from error
    if count != file.examples_in_shard:
        raise unreadable(split, file, f"it contains {count} of its {file.examples_in_shard} examples")
