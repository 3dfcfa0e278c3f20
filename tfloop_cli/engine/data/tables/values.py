"""The values of a column: numbers, dates, or words as codes, with missing values marked."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.errors import ExitCode, TfloopError

# Of text, in any case; an empty cell is one, too. Databases write \N.
MISSING_VALUES = ("NA", "N/A", "NaN", "null", "None", "?", "-", ".", "<NA>", "#N/A", "\\N")
SECONDS_PER_DAY = 86_400
_UNITS = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}
_PLAIN = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
MAX_DIGITS = 15  # of numbers that float64 tells apart


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: float64 [rows]; NaN is missing. All others are finite.
        infinite: how many values are missing because they are infinite, or too large for float64.
    """

    values: np.ndarray
    infinite: int = 0

    @property
    def missing(self) -> np.ndarray:
        """Bool [rows]."""
        return np.isnan(self.values)


@dataclass(frozen=True)
class Dates:
    """A column of dates or of times.

    Attributes:
        days: since 1970, float64 [rows]; NaN is missing.
    """

    days: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Bool [rows]."""
        return np.isnan(self.days)


@dataclass(frozen=True)
class Words:
    """A column of texts.

    Attributes:
        codes: index of each row's text, int32 [rows]; -1 is missing.
        texts: distinct texts, pyarrow strings; some may occur in no row.
    """

    codes: np.ndarray
    texts: pa.Array

    @property
    def missing(self) -> np.ndarray:
        """Bool [rows]."""
        return self.codes < 0

    def counts(self) -> np.ndarray:
        """Returns how often each text occurs: int64 [texts]."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))

    def take(self, values: np.ndarray, missing: object) -> np.ndarray:
        """Returns the value of each row: that of its text in `values` [texts], or `missing`."""
        return np.append(values, np.array([missing], values.dtype))[self.codes]

    @property
    def objects(self) -> np.ndarray:
        """The text of each row, None if it is missing: object [rows]."""
        return self.take(np.array(self.texts.to_pylist(), object), None)

    def without(self, is_missing: np.ndarray) -> "Words":
        """Returns the same words; the texts that `is_missing`, bool [texts], marks are missing."""
        if not is_missing.any():
            return self
        kept = np.where(is_missing, -1, np.arange(len(self.texts))).astype(np.int32)
        return Words(self.take(kept, -1), self.texts)


Values = Numbers | Dates | Words


def values_of(column: pa.ChunkedArray) -> Values | None:
    """Returns the values of a column as it was read; None if they are lists or bytes."""
    kind = column.type
    if pa.types.is_dictionary(kind) and not is_text_type(kind.value_type):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return words_of(column.cast(pa.string()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return finite(_float64(column))
    if pa.types.is_date(kind):
        return Dates(_float64(column.cast(pa.date32()).cast(pa.int32())))
    if pa.types.is_timestamp(kind):
        return Dates(_float64(column.cast(pa.int64())) / (_UNITS[kind.unit] * SECONDS_PER_DAY))
    if pa.types.is_time(kind) or pa.types.is_duration(kind):  # in seconds
        integers = column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
        return Numbers(_float64(integers) / _UNITS[kind.unit])
    return words_of(column) if is_text_type(kind) or pa.types.is_dictionary(kind) else None


def words_of(column: pa.ChunkedArray) -> Words:
    """Returns the words of a column of text."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    if not column.num_chunks:
        return Words(np.zeros(0, np.int32), pa.array([], pa.string()))
    array = column.unify_dictionaries().combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    codes = pc.fill_null(array.indices.cast(pa.int32()), -1).to_numpy(zero_copy_only=False)
    texts = array.dictionary.cast(pa.string())
    unknown = np.asarray(pc.is_null(texts))
    return Words(codes, pc.fill_null(texts, "")).without(unknown)


def raw_values(column: pa.ChunkedArray) -> np.ndarray:
    """Returns a column as examples are held out by it: [rows], int64, float64 (dates: days since 1970) or objects.

    The objects are text, and None if it is missing. Whole numbers with missing ones are text, so that they are exact.
    """
    if pa.types.is_integer(column.type):
        return as_written(column).objects if column.null_count else column.to_numpy()
    values = values_of(column)
    if isinstance(values, Numbers):
        return values.values
    return values.days if isinstance(values, Dates) else as_written(column).objects


def as_written(column: pa.ChunkedArray) -> Words:
    """Returns the values of a column as words; numbers and dates as text.

    Raises:
        TfloopError: they have no text: lists, bytes (exit code 4).
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    try:
        return words_of(column if is_text_type(kind) else column.cast(kind).cast(pa.string()))
    except pa.ArrowException as error:
        raise TfloopError(f"values of type {kind} cannot be used as text: {error}", code=ExitCode.DATA) from error


def finite(values: np.ndarray) -> Numbers:
    """Returns numbers, of which infinite ones are missing."""
    infinite = np.isinf(values)
    return Numbers(np.where(infinite, np.nan, values), int(infinite.sum())) if infinite.any() else Numbers(values)


def is_missing(texts: pa.Array, missing_values: Sequence[str]) -> np.ndarray:
    """Returns which texts are missing values, bool [texts]: empty, or one of `missing_values` in any case."""
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    return np.asarray(pc.is_in(folded, pa.array(["", *(value.strip().lower() for value in missing_values)])))


def categories(words: Words, exact: bool) -> Words:
    """Returns words whose distinct texts are distinct categories.

    Unless `exact`, spaces at the ends, upper and lower case, and the notation of a number (1, 1.0) make no difference.
    """
    if exact:
        return words
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(words.texts)).to_pylist()
    names: dict[str, int] = {}
    codes = np.array([names.setdefault(_canonical(text), len(names)) for text in texts], np.int32)
    return Words(words.take(codes, -1), pa.array(list(names), pa.string()))


def number_text(value: float) -> str:
    """Returns the shortest notation of a number: 1 for 1.0."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)


def _canonical(text: str) -> str:
    is_number = text[-1:].isdecimal() or text[-1:] == "."
    if not is_number or not text.isascii() or not _PLAIN.fullmatch(text) or sum(map(str.isdigit, text)) > MAX_DIGITS:
        return text
    number = float(text)
    return number_text(number) if math.isfinite(number) else text


def _float64(column: pa.ChunkedArray) -> np.ndarray:
    values = column.cast(pa.float64(), safe=False).to_numpy()
    return values if values.flags.writeable else values.copy()


def is_text_type(kind: pa.DataType) -> bool:
    """Whether the values of a type are texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
