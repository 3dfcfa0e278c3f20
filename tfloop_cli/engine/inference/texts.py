"""Texts as inputs: rows of tables with a column of text, and .txt files with one text each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.engine.data.problems import wrong_byte
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.files import TableFile
from tfloop_cli.engine.data.tables.json_reading import to_utf8
from tfloop_cli.engine.data.tables.values import MISSING_VALUES
from tfloop_cli.engine.data.text_source import TextSource
from tfloop_cli.engine.data.texts.encoders import TextEncoders
from tfloop_cli.engine.inference.inputs import Inputs, chunk_rows, kept_of, objects
from tfloop_cli.engine.inference.rechunk import rechunk, row_names
from tfloop_cli.engine.inference.rows import RowReader

TEXTS_AT_ONCE = 2048


@dataclass
class TextInputs:
    """Reads and encodes texts as those of the training split.

    Args:
        encoders: of the run.
        options: what the user has set about the training file.
        keep: columns to copy.

    Attributes:
        missing: how many rows have no text.
    """

    encoders: TextEncoders
    options: DialectOptions
    keep: Sequence[str] = ()
    missing: int = 0

    def __post_init__(self) -> None:
        wanted = [self.encoders.text, *self.keep]
        self.rows = RowReader(
            self.options,
            self.encoders.dialect,
            self.encoders.target.names,
            [self.encoders.text],
            wanted,
            (),
            wanted,
            MISSING_VALUES,
        )

    @property
    def notes(self) -> list[str]:
        """What was found in the rows that were read so far."""
        found = f"{self.missing:,} text(s) are missing, and predicted as empty ones"
        return [found] if self.missing else []

    def read(self, files: Sequence[TableFile], batch_size: int, several: bool = False) -> Iterator[Inputs]:
        """Yields the texts in the rows of files, in chunks of whole batches; see `Inputs` and `RowReader`."""
        for file in files:
            first = 1
            for rows in rechunk(self.rows.read(file), chunk_rows(batch_size, TEXTS_AT_ONCE)):
                names = row_names(first, rows.table.num_rows, file.name if several else "")
                column = rows.table.column(self.encoders.text)
                texts, errors = _texts_of(column, self.encoders.text)
                self.missing += column.null_count - len(rows.errors)
                kept = rows.table.select(list(self.keep)) if self.keep else None
                yield self.inputs(texts, names, {**errors, **rows.errors}, kept)
                first += rows.table.num_rows

    def read_texts(self, paths: Iterable[str], batch_size: int) -> Iterator[Inputs]:
        """Yields files with one text each, in chunks of whole batches."""
        rest = iter(paths)
        while names := list(islice(rest, chunk_rows(batch_size, TEXTS_AT_ONCE))):
            found = [self._content(path) for path in names]
            errors = {number: error for number, (_, error) in enumerate(found) if error}
            yield self.inputs([text for text, _ in found], objects(names), errors)

    def _content(self, path: str) -> tuple[str, str]:
        """Returns the text in a file, and why it cannot be used; "" if it can."""
        try:
            with TableFile(path, "text").open() as stream:
                return to_utf8(stream.read(), self.options.encoding).decode(), ""
        except UnicodeDecodeError as error:
            return "", f"it is not a text: {wrong_byte(error)}"
        except (OSError, UnicodeError) as error:
            return "", f"it cannot be read: {getattr(error, 'strerror', None) or error}"

    def records(self, records: Sequence[Mapping[str, Any] | str], names: np.ndarray) -> Inputs:
        """Returns objects with the column of the text, or `text`, or `input`; a text is the error of an input."""
        texts, errors = [], {}
        keys = list(dict.fromkeys((self.encoders.text, "text", "input")))
        for number, record in enumerate(records):
            texts.append("")
            text = next((record[key] for key in keys if key in record), 0) if isinstance(record, Mapping) else record
            if isinstance(record, str):
                errors[number] = record
            elif isinstance(text, str):
                texts[-1] = text
            elif text is None:  # as a missing value in a file
                self.missing += 1
            else:
                errors[number] = f"there is no text: {' or '.join(f'`{key}`' for key in keys)}"
        return self.inputs(texts, names, errors, kept_of(records, self.keep))

    def inputs(
        self, texts: Sequence[str], names: np.ndarray, errors: Mapping[int, str] = {}, kept: pa.Table | None = None
    ) -> Inputs:
        """Returns texts as inputs; see `Inputs` for the other arguments."""
        usable = [text for number, text in enumerate(texts) if number not in errors]
        tokens, row_splits, *weights = self.encoders.encode(usable)
        return Inputs(names, TextSource(tokens, row_splits, np.zeros(len(usable), np.int32), *weights), errors, kept)


def _texts_of(column: pa.ChunkedArray, name: str) -> tuple[list[str], dict[int, str]]:
    """Returns the texts of a column, "" for missing ones, and the errors of rows without text."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return [""] * len(column), dict.fromkeys(range(len(column)), f"`{name}` is of type {column.type}, not text")
    texts: list[str] = pc.fill_null(column.cast(pa.string()), "").to_pylist()
    return texts, {}
