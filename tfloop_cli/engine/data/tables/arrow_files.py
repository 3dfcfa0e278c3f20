"""Reads files of Arrow: Feather files and streams."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.feather

from tfloop_cli.engine.data.tables.files import TableFile


def batches_of(file: TableFile) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a file of Arrow: a Feather file, or a stream, as `datasets` of Hugging Face writes."""
    content = seekable(file)
    if _is_stream(content):
        yield from pa.ipc.open_stream(content)
        return
    opened = pa.ipc.open_file(content)
    yield from (opened.get_batch(number) for number in range(opened.num_record_batches))


def read_arrow(file: TableFile) -> pa.Table:
    """Returns all rows of a file of Arrow."""
    content = seekable(file)
    return pa.ipc.open_stream(content).read_all() if _is_stream(content) else pa.feather.read_table(content)


def _is_stream(content: pa.NativeFile) -> bool:
    first = content.read(4)
    content.seek(0)
    return first == b"\xff\xff\xff\xff"


def seekable(file: TableFile) -> pa.NativeFile:
    """Opens a file for random access: mapped into memory, or decompressed in it."""
    return pa.memory_map(str(file.path)) if file.is_plain else pa.BufferReader(file.open().read())
