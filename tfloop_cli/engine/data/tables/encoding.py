"""Encodes the columns of a table as one array, float32 [rows, features]."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.engine.data.tables.encoders import UNKNOWN, ColumnEncoder, Scale, TableEncoders
from tfloop_cli.engine.data.tables.notation import has_unit, have_a_form, number_form, parse_dates, parse_numbers
from tfloop_cli.engine.data.tables.per_column import in_threads
from tfloop_cli.engine.data.tables.values import (
    Dates,
    Numbers,
    Values,
    Words,
    as_written,
    categories,
    is_missing,
    is_text_type,
    number_text,
    values_of,
)
from tfloop_cli.engine.data.texts.tokens import words_of

ROUNDING = 1e-12  # numbers that differ by this fraction are equal
USUAL_FORMS = {"number": "plain", "date": "year-month-day"}  # of columns that needed none in training
LARGEST = 1e100  # numbers beyond are clipped before they are standardized, so that nothing overflows


@dataclass(frozen=True)
class Settings:
    """What all columns of a file have in common.

    Attributes:
        missing_values: texts that are missing values, in any case.
        exact_categories: whether case and spaces at the ends make different categories.
        decimal: the decimal mark of the file.
    """

    missing_values: tuple[str, ...]
    exact_categories: bool
    decimal: str


def prepare(column: pa.ChunkedArray, encoder: ColumnEncoder, settings: Settings) -> Values:
    """Returns the values of a column as its encoder needs them; values of another kind are missing."""
    if encoder.kind in ("category", "text"):
        words = as_written(column) if is_text_type(column.type) else _padded(as_written(column), encoder.levels)
        words = words.without(is_missing(words.texts, settings.missing_values))
        return categories(words, settings.exact_categories) if encoder.kind == "category" else words
    values = column_values(column, settings)
    if encoder.kind == "number" and not isinstance(values, Words):
        is_usable = isinstance(values, Numbers) and not _lacks_unit(column, encoder)
        return values if is_usable else Numbers(np.full(len(column), np.nan))
    if encoder.kind == "date" and isinstance(values, Dates):
        return values
    words = as_written(column)
    words = words.without(is_missing(words.texts, settings.missing_values))
    if encoder.kind == "date":
        return parse_dates(words, encoder.form or USUAL_FORMS["date"])
    # Commas between thousands leave nothing open; percent and currency would be another unit than in training.
    form = (
        encoder.form or number_form(words, settings.decimal, ("plain", "thousands", "spaces")) or USUAL_FORMS["number"]
    )
    return parse_numbers(words, form, settings.decimal)


def wrong_values(
    column: pa.ChunkedArray, encoder: ColumnEncoder, values: Values, settings: Settings
) -> Mapping[int, str]:
    """Returns the values that are no numbers or no dates as in training, by row; missing values are not among them.

    Where training has words, words are missing values; a number or a date in another form is wrong there too: it may
    have another unit.

    Args:
        column: as it was read.
        encoder: of the column.
        values: as `prepare` returns them.
        settings: of the file.
    """
    if isinstance(values, Words) or not values.missing.any():
        return {}
    has_kind = isinstance(column_values(column, settings), Numbers if encoder.kind == "number" else Dates)
    if has_kind and not _lacks_unit(column, encoder):
        return {}
    words = as_written(column)
    words = words.without(is_missing(words.texts, settings.missing_values))
    wrong = values.missing & ~words.missing
    if encoder.has_words and wrong.any():
        wrong &= have_a_form(words, settings.decimal)
    rows = np.flatnonzero(wrong)
    return {int(row): words.texts[int(words.codes[row])].as_py() for row in rows}


def wrong_value(encoder: ColumnEncoder, text: str) -> str:
    """Returns what is wrong with one of `wrong_values`."""
    form = encoder.form or USUAL_FORMS[encoder.kind]
    return f"column `{encoder.name}`: `{text}` is not a {encoder.kind} as in training, {form}"


def _lacks_unit(column: pa.ChunkedArray, encoder: ColumnEncoder) -> bool:
    """Whether the numbers of a column, which are no text, may have another unit than in training: 0.05 for 5%."""
    is_time = pa.types.is_time(column.type) or pa.types.is_duration(column.type)
    return has_unit(encoder.form) and not (encoder.form == "time" and is_time)


def _padded(words: Words, levels: Sequence[str]) -> Words:
    """Returns numbers as codes of training such as 00501, if all of these have as many digits: 501 is 00501."""
    widths = {len(level) if level.isdecimal() else 0 for level in levels}
    if len(widths) != 1 or widths == {0} or not any(level.startswith("0") for level in levels):
        return words
    (width,) = widths
    texts = pc.utf8_lpad(pc.replace_substring_regex(words.texts, r"^(\d+)\.0*$", r"\1"), width, "0")
    is_whole = pc.match_substring_regex(words.texts, r"^\d+(\.0*)?$")
    return Words(words.codes, pc.if_else(is_whole, texts, words.texts))


def column_values(column: pa.ChunkedArray, settings: Settings) -> Values | None:
    """Returns the values of a column as it was read; numbers of `missing_values`, such as -9, are missing."""
    values = values_of(column)
    marks = [number for text in settings.missing_values if (number := _number(text)) is not None]
    if not isinstance(values, Numbers) or not marks:
        return values
    return Numbers(np.where(np.isin(values.values, marks), np.nan, values.values), values.infinite)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def prepare_rows(table: pa.Table, encoders: TableEncoders, settings: Settings) -> dict[str, Values]:
    """Returns the values of each column that is used, by name; see `prepare`."""
    return {column.name: prepare(table.column(column.name), column, settings) for column in encoders.used}


def encode_rows(
    values: dict[str, Values], encoders: TableEncoders, counted: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """Returns the inputs, float32 [rows, features], and how many values of each category are unknown.

    These are counted in the rows `counted`, bool [rows]. `values`, see `prepare_rows`, is emptied, so that each column
    is freed when it is encoded.
    """
    inputs = np.empty((len(counted), encoders.width), np.float32)
    starts = np.cumsum([0, *(encoder.width for encoder in encoders.used)]).tolist()

    def unknown_of(encoder: ColumnEncoder, start: int) -> int:
        is_unknown = encode(values.pop(encoder.name), encoder, inputs[:, start : start + encoder.width])
        return 0 if is_unknown is None else int(np.count_nonzero(is_unknown & counted))

    counts = in_threads(unknown_of, encoders.used, starts)
    unknown = {encoder.name: count for encoder, count in zip(encoders.used, counts, strict=True) if count}
    return inputs, unknown


def encode(values: Values, encoder: ColumnEncoder, out: np.ndarray) -> np.ndarray | None:
    """Encodes one column.

    Args:
        values: as `prepare` returns them.
        encoder: of the column.
        out: receives the features, float32 [rows, encoder.width].

    Returns:
        Which values training does not have, bool [rows], if the column is a category.
    """
    if encoder.kind == "category":
        return _encode_category(values, encoder, out)
    missing = values.missing
    if encoder.kind == "text":
        _encode_text(values, encoder, out)
    elif encoder.kind == "date":
        parts = date_parts(values.days)
        for number, (part, scale) in enumerate(zip(encoder.parts, encoder.scales, strict=True)):
            out[:, number] = standardized(parts[part], scale)
    else:
        out[:, 0] = standardized(values.values, encoder.scales[0])
        for number, level in enumerate(encoder.levels, 1):
            out[:, number] = values.values == float(level)
    if encoder.indicator:
        out[:, -1] = missing
    return None


def standardized(numbers: np.ndarray, scale: Scale) -> np.ndarray:
    """Returns u / sqrt(1 + (u / 3)^2) with u = (x - median) / width, between -3 and 3; 0 for NaN: float64.

    Numbers near the median are scaled linearly; a far outlier can neither dominate nor overflow.
    """
    if not scale.width:
        return np.zeros_like(numbers)
    with np.errstate(over="ignore"):
        u = np.clip(numbers, -LARGEST, LARGEST)
        u -= scale.median
        u /= scale.width
        np.nan_to_num(u, copy=False, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
        u /= np.hypot(1.0, u / 3)
    return u


def scale_of(numbers: np.ndarray) -> Scale:
    """Returns the scale of numbers, float64 [rows]; NaN is left out.

    The width is the distance of the quartiles or, if that is 0, twice the median distance of the values that differ
    from the median. Values that differ by rounding only, at most 1e-12 of their size, are constant.
    """
    known = np.clip(numbers[~np.isnan(numbers)], -LARGEST, LARGEST)
    if not len(known):
        return Scale(0.0, 0.0)
    lower, median, upper = map(float, np.quantile(known, (0.25, 0.5, 0.75)))
    if known.max() - known.min() <= ROUNDING * max(abs(known.min()), abs(known.max())):
        return Scale(median, 0.0)
    rounding = ROUNDING * max(abs(lower), abs(upper))
    if upper - lower <= rounding:
        distance = np.abs(known - median)
        return Scale(median, float(2 * np.median(distance[distance > rounding])))
    return Scale(median, upper - lower)


def date_parts(days: np.ndarray) -> Mapping[str, np.ndarray]:
    """Returns what a date becomes, by name: float64 [rows], NaN where it is missing.

    Args:
        days: since 1970.
    """
    missing = np.isnan(days)
    whole = np.floor(np.where(missing, 0, days))
    date = whole.astype(np.int64).astype("M8[D]")
    year, month = date.astype("M8[Y]"), date.astype("M8[M]")
    angle = (date - year).astype(np.int64) * (2 * np.pi / 365.25)
    parts = {
        "days": np.where(missing, 0, days),
        "year": year.astype(np.int64) + 1970,
        "month": month.astype(np.int64) % 12 + 1,
        "day": (date - month).astype(np.int64) + 1,
        "weekday": (whole + 3) % 7,  # 0 is Monday
        "hour": (np.where(missing, 0, days) - whole) * 24,
        "sin": np.sin(angle),
        "cos": np.cos(angle),
    }
    return {name: np.where(missing, np.nan, part) for name, part in parts.items()}


def _encode_category(words: Words, encoder: ColumnEncoder, out: np.ndarray) -> np.ndarray:
    texts = words.texts
    known = pc.fill_null(pc.index_in(texts, pa.array(encoder.levels, pa.string())), -1).to_numpy(zero_copy_only=False)
    levels = words.take(known.astype(np.int32), -1)
    missing = words.missing
    if encoder.indicator:
        levels[missing] = len(encoder.levels)
    if encoder.ids:
        out[:, 0] = np.where(levels < 0, UNKNOWN, levels + 1)
    else:
        for number in range(out.shape[1]):
            out[:, number] = levels == number
    return (levels < 0) & ~missing


def _encode_text(words: Words, encoder: ColumnEncoder, out: np.ndarray) -> None:
    columns = {token: number for number, token in enumerate(encoder.levels)}
    flags = np.zeros((len(words.texts) + 1, len(columns)), np.float32)
    for row, text in enumerate(words.texts.to_pylist()):
        flags[row, [columns[token] for token in words_of(text) if token in columns]] = 1
    out[:, : len(columns)] = flags[words.codes]


def level_numbers(numbers: np.ndarray) -> tuple[str, ...]:
    """Returns the values of a column with 3 to 10 distinct numbers, each in 10 rows or more; else ()."""
    head = np.unique(numbers[:1000][~np.isnan(numbers[:1000])])
    if len(head) > 10:
        return ()
    values, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
    few = 3 <= len(values) <= 10 and counts.min() >= 10
    return tuple(number_text(float(value)) for value in values) if few else ()
