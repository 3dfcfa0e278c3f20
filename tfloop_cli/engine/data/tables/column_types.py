"""Infers what a column is, and fits its encoder to the training split.

The rule, in this order:

1. `columns: {NAME: TYPE}` decides.
2. No value at all, or one value in all rows: ignored.
3. Numbers from 1 or 0 upwards in the order of the rows, in a column without a name or called `index`, `rownames`,
   `Unnamed: 0` or similar: the row number, ignored. Whole numbers that mostly are distinct in such a column, or in one
   called like an id: ignored.
4. Numbers, also with separators of thousands, with %, with a currency or with one unit (5 kg): at least 95% of the
   values are written so; words among them are missing. Limits (<0.5, 90+) and numbers in parentheses, (5), are numbers
   among others, if there are more than 20 distinct values or 95% are numbers anyway.
5. Dates: at least 95% of the values have one form, such as 2024-02-29; whole numbers such as 20240229, if all are.
6. Words: at most 20 distinct ones, or at most half as many as values: a category. More: numbers or dates, if 80% of
   the values are; else ids or free text, ignored.
"""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.tables.encoders import MAX_ONE_HOT, ColumnEncoder
from tfloop_cli.engine.data.tables.encoding import (
    LARGEST,
    Settings,
    column_values,
    date_parts,
    level_numbers,
    prepare,
    scale_of,
)
from tfloop_cli.engine.data.tables.notation import (
    DATE_FORMS,
    MOSTLY_ELSE_IGNORED,
    date_form,
    marked_form,
    matches_code,
    most_common_form,
    number_form,
    unit_form,
)
from tfloop_cli.engine.data.tables.units import UNIT, has_affix, mark_of
from tfloop_cli.engine.data.tables.values import (
    Dates,
    Values,
    Words,
    as_written,
    categories,
    is_missing,
)
from tfloop_cli.engine.data.texts.tokens import words_of

MIN_DATES = 3  # numbers such as 20240229 that are dates, not by chance
FEW_WORDS = 20  # distinct words that are categories, however few rows there are
MAX_TOKENS, MIN_TOKEN_ROWS = 128, 3  # of a text: the most frequent words, each in so many rows
_ROW_NUMBER = re.compile(
    r"(column_1|index|level_\d+|row_?(names?|number|num|id|nr)?|rownames|unnamed: ?\d+|__index_level_\d+__)(\.\d+)?",
    re.I,
)
_MARK_NOTES = {
    "limits": "limits such as <0.5 count as 0.5",
    "parentheses": "numbers in parentheses are negative",
}
_SHOWN = 3  # words that a note names
_FREE_TEXT, _ID, _NUMBERED_ID, _ROW = "free text", "an id of", "an id:", "the row number"
_LAST_RESORTS = {_FREE_TEXT: "text", _ID: "category", _NUMBERED_ID: "number", _ROW: "number"}


def fit_column(
    name: str, column: pa.ChunkedArray, declared: str | None, settings: Settings, positions: np.ndarray
) -> tuple[ColumnEncoder, Values | None]:
    """Returns the encoder of a column, and its values in the training split (None if it is ignored).

    Args:
        name: of the column.
        column: its values in the training split.
        declared: the type that the user has set; None to infer it.
        settings: of the file.
        positions: the number of each row in its file, counted from 0: int64 [rows].
    """
    encoder, values = (
        _infer(name, column, settings, positions) if declared is None else _declared(name, column, declared, settings)
    )
    if encoder.kind == "ignored" or values is None:
        return encoder, None
    return _fit(encoder, values)


def last_resort(encoder: ColumnEncoder) -> str | None:
    """Returns the type that an ignored column has if there is no other: free text, an id, the row number; else None."""
    if encoder.kind != "ignored":
        return None
    return next((kind for why, kind in _LAST_RESORTS.items() if encoder.note.startswith(f"ignored: {why}")), None)


def _declared(
    name: str, column: pa.ChunkedArray, declared: str, settings: Settings
) -> tuple[ColumnEncoder, Values | None]:
    if declared == "ignore":
        return ColumnEncoder(name, "ignored", "ignored as configured"), None
    order = declared if declared in DATE_FORMS else None
    declared = "date" if order else declared
    encoder = ColumnEncoder(name, declared, as_text=declared in ("category", "text"))
    if declared in ("number", "date"):
        words = as_written(column)
        words = words.without(is_missing(words.texts, settings.missing_values))
        if declared == "date":
            if form := order or date_form(words) or "":
                encoder = replace(encoder, form=form, note=f"dates are written {form}")
        elif isinstance(column_values(column, settings), Words):
            form = number_form(words, settings.decimal) or most_common_form(words, settings.decimal)
            encoder = replace(encoder, form=form)
    values = prepare(column, encoder, settings)
    if values.missing.all():
        return replace(encoder, kind="ignored", missing=len(column), note=f"ignored: no value is a {declared}"), None
    return (_with_lost(encoder, words, values) if encoder.form else encoder), values


def _infer(
    name: str, column: pa.ChunkedArray, settings: Settings, positions: np.ndarray
) -> tuple[ColumnEncoder, Values | None]:
    values = column_values(column, settings)
    if values is None:
        return ColumnEncoder(name, "ignored", f"ignored: its values are of type {column.type}"), None
    if isinstance(values, Words):
        return _infer_words(name, values, settings)
    if isinstance(values, Dates):
        return ColumnEncoder(name, "date"), values
    numbers = values.values
    if days := _written_as_numbers(name, column, numbers, settings):
        return days
    note = f"{values.infinite:,} infinite value(s) count as missing" if values.infinite else ""
    encoder = ColumnEncoder(name, "number", note)
    if not np.isnan(numbers).any() and (numbers == np.floor(numbers)).all():
        if _ROW_NUMBER.fullmatch(name) and len(numbers) > 2 and _is_constant(numbers - positions, (0, 1)):
            return _ignored(encoder, _ROW, len(numbers)), None
        is_id = matches_code(name) or (_ROW_NUMBER.fullmatch(name) and name != "column_1")
        if is_id and len(numbers) > FEW_WORDS and 2 * (distinct := len(np.unique(numbers))) > len(numbers):
            more = "every row has another one" if distinct == len(numbers) else f"{distinct:,} in {len(numbers):,} rows"
            return _ignored(encoder, f"{_NUMBERED_ID} {more}; `columns: {{{name}: number}}` uses it", distinct), None
    return encoder, values


def _written_as_numbers(
    name: str, column: pa.ChunkedArray, numbers: np.ndarray, settings: Settings
) -> tuple[ColumnEncoder, Values] | None:
    """Returns a column of dates such as 20240229; None if some number is no date from 1900 to 2099."""
    known = numbers[~np.isnan(numbers)]
    if len(known) < MIN_DATES or known.min() < 1900_00_00 or known.max() > 2099_12_31:
        return None
    form = "yearmonthday"
    encoder = ColumnEncoder(name, "date", form=form, note=f"dates are written {form}")
    values = prepare(column, encoder, settings)
    return (encoder, values) if values.missing.sum() == np.isnan(numbers).sum() else None


def _infer_words(name: str, words: Words, settings: Settings) -> tuple[ColumnEncoder, Values | None]:
    words = words.without(is_missing(words.texts, settings.missing_values))
    if form := number_form(words, settings.decimal):
        return _numbers(name, words, marked_form(words, settings.decimal) or form, settings)
    if form := date_form(words):
        return _dates(name, words, form, settings)
    if form := unit_form(words, settings.decimal):  # 2020 Feb is a date
        return _numbers(name, words, form, settings)
    counts = words.counts()
    distinct, known = int((counts > 0).sum()), int(counts.sum())
    if distinct > FEW_WORDS and (form := marked_form(words, settings.decimal)):
        return _numbers(name, words, form, settings)
    encoder = ColumnEncoder(name, "category", as_text=True, missing=int(words.missing.sum()))
    if distinct <= FEW_WORDS or 2 * distinct <= known:
        return encoder, categories(words, settings.exact_categories)
    mostly = None if matches_code(name) else number_form(words, settings.decimal, least=MOSTLY_ELSE_IGNORED)
    if mostly:
        return _numbers(name, words, mostly, settings)
    if mostly := date_form(words, MOSTLY_ELSE_IGNORED):
        return _dates(name, words, mostly, settings)
    several = sum(" " in text.strip() for text in words.texts[:1000].to_pylist())
    what = f"{_FREE_TEXT} of" if 2 * several > min(len(words.texts), 1000) else _ID
    hint = f"`columns: {{{name}: text}}` uses its words" if what != _ID else f"`columns: {{{name}: category}}` uses it"
    return _ignored(encoder, f"{what} {distinct:,} distinct values; {hint}", distinct), None


def _numbers(name: str, words: Words, form: str, settings: Settings) -> tuple[ColumnEncoder, Values]:
    mark, rest = mark_of(form)
    notes = [_MARK_NOTES[mark]] if mark else []
    notes += [f"numbers with {rest}" if rest.startswith(UNIT) else f"numbers {rest}"] if has_affix(rest) else []
    encoder = ColumnEncoder(name, "number", form=form, note="; ".join(notes))
    values = prepare_words(words, encoder, settings)
    return _with_lost(encoder, words, values), values


def _dates(name: str, words: Words, form: str, settings: Settings) -> tuple[ColumnEncoder, Values]:
    encoder = ColumnEncoder(name, "date", form=form, note=f"dates are written {form}")
    values = prepare_words(words, encoder, settings)
    return _with_lost(encoder, words, values), values


def prepare_words(words: Words, encoder: ColumnEncoder, settings: Settings) -> Values:
    """Returns `prepare` for words whose missing values are known."""
    column = pa.DictionaryArray.from_arrays(pa.array(words.codes, mask=words.missing), words.texts)
    return prepare(pa.chunked_array([column]), encoder, settings)


def _with_lost(encoder: ColumnEncoder, words: Words, values: Values) -> ColumnEncoder:
    """Returns the encoder of numbers or dates, with a note about the words among them if there are some."""
    lost = values.missing & ~words.missing
    if not lost.any():
        return encoder
    codes, counts = np.unique(words.codes[lost], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_SHOWN]
    shown = ", ".join(f"`{words.texts[int(codes[position])].as_py().strip()}`" for position in order)
    more = ", ..." if len(codes) > _SHOWN else ""
    note = f"{int(lost.sum()):,} value(s) that are no {encoder.kind}s count as missing: {shown}{more}"
    return replace(encoder, note=f"{encoder.note}; {note}" if encoder.note else note, has_words=True)


def _ignored(encoder: ColumnEncoder, why: str, distinct: int) -> ColumnEncoder:
    return replace(encoder, kind="ignored", note=f"ignored: {why}", distinct=distinct)


def _fit(encoder: ColumnEncoder, values: Values) -> tuple[ColumnEncoder, Values | None]:
    missing = int(values.missing.sum())
    encoder = replace(encoder, missing=missing, indicator=missing > 0)
    if isinstance(values, Words):
        return (_fit_text if encoder.kind == "text" else _fit_category)(encoder, values)
    numbers = values.days if isinstance(values, Dates) else values.values
    known = numbers[~np.isnan(numbers)]
    ordered = np.sort(known)  # makes the quantiles faster, too
    encoder = replace(encoder, distinct=len(known[:1]) + int(np.count_nonzero(ordered[1:] != ordered[:-1])))
    if not len(known):
        return _ignored(encoder, "it has no values", 0), None
    if isinstance(values, Dates):
        scales = {name: scale_of(part) for name, part in date_parts(numbers).items()}
        kept = {name: scale for name, scale in scales.items() if scale.width}
        encoder = replace(encoder, parts=tuple(kept), scales=tuple(kept.values()))
        constant = not kept
    else:
        scale = scale_of(ordered)
        clipped = np.clip(known, -LARGEST, LARGEST)
        moments = {"mean": float(clipped.mean()), "deviation": float(clipped.std())}
        encoder = replace(encoder, scales=(scale,), levels=level_numbers(numbers), **moments)
        constant = not scale.width
    if constant and not missing:
        return _ignored(
            encoder, "all values are equal" + (" but for rounding" if encoder.distinct > 1 else ""), 1
        ), None
    return encoder, values


def _fit_category(encoder: ColumnEncoder, words: Words) -> tuple[ColumnEncoder, Values | None]:
    counts = words.counts()
    texts = words.texts.to_pylist()
    names = [text for text, count in zip(texts, counts, strict=True) if count]
    encoder = replace(encoder, distinct=len(names))
    if len(names) + encoder.indicator < 2:
        return _ignored(encoder, "all values are equal" if names else "it has no values", len(names)), None
    if len(names) + encoder.indicator > MAX_ONE_HOT:
        often = [text for text, count in zip(texts, counts, strict=True) if count > 1]
        names = often if len(often) + encoder.indicator > MAX_ONE_HOT else names
    return replace(encoder, levels=in_order(names)), words


def _fit_text(encoder: ColumnEncoder, words: Words) -> tuple[ColumnEncoder, Values | None]:
    rows: Counter[str] = Counter()
    for text, count in zip(words.texts.to_pylist(), words.counts().tolist(), strict=True):
        rows.update(dict.fromkeys(words_of(text), count))
    often = sorted((-count, token) for token, count in rows.items() if MIN_TOKEN_ROWS <= count < len(words.codes))
    encoder = replace(encoder, distinct=int((words.counts() > 0).sum()))
    if not often:
        return _ignored(encoder, f"no word is in {MIN_TOKEN_ROWS} rows", encoder.distinct), None
    return replace(encoder, levels=tuple(token for _, token in often[:MAX_TOKENS])), words


def in_order(names: list[str]) -> tuple[str, ...]:
    """Returns names in order: by value if all are numbers, else alphabetically."""
    try:
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(names))


def _is_constant(numbers: np.ndarray, allowed: tuple[float, ...]) -> bool:
    return bool(numbers[0] in allowed and (numbers == numbers[0]).all())
