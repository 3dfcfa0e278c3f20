"""The columns to predict: classes as they are written, or numbers.

The rule for `classes: auto`: words are classes, and so are whole numbers with at least 5 rows each on average, if they
have at most 20 distinct values, or if the column is called `label`, `class` or `category` and they are 0 to n - 1, or 1
to n. All other numbers are numbers. More than 20 distinct words, and fewer than 2 rows of each on average, cannot be
learned: if all are times (2:41:30), they are numbers of seconds, else an error. More than 20 numbers with one unit
(540 kg) are numbers.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.engine.data.class_names import class_names, composed
from tfloop_cli.engine.data.tables.encoders import TargetEncoder
from tfloop_cli.engine.data.tables.encoding import Settings
from tfloop_cli.engine.data.tables.notation import (
    MOSTLY,
    MOSTLY_ELSE_IGNORED,
    NUMBER_FORMS,
    date_form,
    has_unit,
    number_form,
    parse_numbers,
    unit_form,
)
from tfloop_cli.engine.data.tables.values import Dates, Numbers, Words, as_written, is_missing, values_of
from tfloop_cli.errors import ExitCode, TfloopError

MAX_WHOLE_CLASSES, MIN_ROWS_PER_CLASS = 20, 5
CLASS_COLUMNS = ("label", "class", "category")  # of which the numbers are those of classes
UNUSABLE = -1  # the label of a row without a class

Classes = Literal["auto"] | bool


def fit_target(
    columns: Sequence[pa.ChunkedArray], names: tuple[str, ...], classes: Classes, settings: Settings
) -> TargetEncoder:
    """Decides whether the targets are classes, and returns their encoder.

    Args:
        columns: one per target, in the training split.
        names: of the columns.
        classes: whether they are classes; "auto": see the module.
        settings: of the file.

    Raises:
        TfloopError: targets that must be numbers are not (exit code 4).
    """
    forms = [_form(column, settings) for column in columns]
    note = ""
    if len(names) > 1:
        classes = False
    elif classes == "auto" and forms[0] is None:
        forms[0], note = _form_of_words(names[0], columns[0], settings)
        classes = forms[0] is None
    elif classes == "auto":
        classes, note = _are_classes(names[0], columns[0], forms[0], settings)
    if classes:
        filled = _filled(columns[0])
        counts = filled.counts()
        found = class_names(text for text, count in zip(filled.texts.to_pylist(), counts, strict=True) if count)
        if len(found) < 2:
            what = f"every row has the class `{found[0]}`" if found else "no row has a class"
            problem = f"split `train`: column `{names[0]}`: {what}"
            raise TfloopError(problem, hint="there is nothing to predict", code=ExitCode.DATA)
        notes = [note] * bool(note) + _doubtful(names[0], found, settings)
        return TargetEncoder(names, found, note="; ".join(notes))
    forms = [form or _most_have_form(column, settings) for form, column in zip(forms, columns, strict=True)]
    for name, column, form in zip(names, columns, forms, strict=True):
        if form is None:
            example = next((text for text in _known(column, settings).texts.to_pylist() if text.strip()), "")
            raise TfloopError(
                f"split `train`: column `{name}`: the targets are not numbers: `{example}`",
                hint=_hint(names),
                code=ExitCode.DATA,
            )
    return TargetEncoder(names, (), tuple(form or "" for form in forms), note=note)


def _hint(names: tuple[str, ...]) -> str:
    """Returns what to do about a target that is no number, where it must be one."""
    if len(names) > 1:
        return "several targets must all be columns of numbers; choose others, or one of them"
    return "predict classes instead (`task: classification`, no `classes: false`), or choose another target"


def _doubtful(name: str, classes: Sequence[str], settings: Settings) -> list[str]:
    """Returns notes about classes that may be mistakes: missing values, or one class that is written in two ways."""
    notes = []
    missing = is_missing(pa.array(classes, pa.string()), settings.missing_values)
    if looks_missing := [one for one, is_so in zip(classes, missing, strict=True) if is_so]:
        shown = ", ".join(f"`{one}`" for one in looks_missing)
        notes.append(f"target `{name}`: {shown} counts as a class, since only an empty cell is a missing target")
    by_key: dict[str | float, list[str]] = {}
    for one in classes:
        key = float(one) if _match_number(one) else one.strip().casefold()
        by_key.setdefault(key, []).append(one)
    if alike := next((group for group in by_key.values() if len(group) > 1), None):
        shown = " and ".join(f"`{one}`" for one in alike[:2])
        notes.append(f"target `{name}`: {shown} are different classes, since classes are kept as they are written")
    return notes


def _match_number(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*", text, re.ASCII) is not None


def _form_of_words(name: str, column: pa.ChunkedArray, settings: Settings) -> tuple[str | None, str]:
    """Returns how a target of words is written if it is a number, None for classes; and what to tell the user.

    Raises:
        TfloopError: nearly every row has a class of its own (exit code 4).
    """
    counts, words = _filled(column).counts(), _known(column, settings)
    distinct, rows = int((counts > 0).sum()), int(counts.sum())
    if distinct <= MAX_WHOLE_CLASSES:
        return None, ""
    if form := unit_form(words, settings.decimal):
        return form, f"target `{name}`: numbers with a unit; with `dataset.classes: true` they are classes"
    if 2 * distinct <= rows:
        return None, _note_numbers(name, column, words, settings)
    if number_form(words, settings.decimal, ["time"]):
        return "time", f"target `{name}`: times, in seconds; with `dataset.classes: true` they are classes"
    if form := _most_have_form(column, settings):
        return form, f"target `{name}`: numbers, since most values are; with `dataset.classes: true` they are classes"
    are_dates = isinstance(values_of(column), Dates) or date_form(words)
    raise TfloopError(
        f"split `train`: column `{name}`: its {distinct:,} distinct {'dates' if are_dates else 'values'} in {rows:,} "
        "rows are too many for classes, and no numbers",
        hint="choose another target; with `dataset.classes: true` they are classes",
        code=ExitCode.DATA,
    )


def _note_numbers(name: str, column: pa.ChunkedArray, words: Words, settings: Settings) -> str:
    """Returns what to tell the user about many classes of which most are numbers; "" for others."""
    form = _form(column, settings, MOSTLY_ELSE_IGNORED)
    if form is None:
        return ""
    lost = np.isnan(_numbers(column, form, settings)) & ~words.missing
    example = words.texts[int(words.codes[np.flatnonzero(lost)[0]])].as_py()
    return (
        f"target `{name}`: most values are numbers, but {int(lost.sum()):,} such as `{example}` are none, so all are "
        "classes; with `task: regression`, the rows of these are skipped"
    )


def _are_classes(name: str, column: pa.ChunkedArray, form: str, settings: Settings) -> tuple[bool, str]:
    """Returns whether a target of numbers has classes, and what to tell the user about it."""
    numbers = _numbers(column, form, settings)
    numbers = numbers[~np.isnan(numbers)]
    rows, distinct = len(numbers), len(np.unique(numbers))
    if form != "plain" or (numbers != np.floor(numbers)).any():
        return False, ""
    first, last = numbers.min(initial=np.inf), numbers.max(initial=0)
    are_ids = name.lower() in CLASS_COLUMNS and first in (0, 1) and last - first + 1 == distinct
    if (distinct <= MAX_WHOLE_CLASSES or are_ids) and rows >= MIN_ROWS_PER_CLASS * distinct:
        return True, (
            f"target `{name}`: its {distinct} whole numbers are classes; with `task: regression` or "
            "`dataset.classes: false` they are numbers"
        )
    return False, (
        f"target `{name}`: {distinct:,} whole numbers in {rows:,} rows are too many for classes, so they are numbers; "
        "with `dataset.classes: true` they are classes"
    )


def encode_target(
    columns: Sequence[pa.ChunkedArray], encoder: TargetEncoder, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the targets, and which rows have usable ones.

    Args:
        columns: one per target.
        encoder: of the training split.
        settings: of the file.

    Returns:
        Classes: int32 [rows], `UNUSABLE` for one that training does not have; numbers: float64 [rows], or
        [rows, targets] of several. And bool [rows]: whether each target has a value.
    """
    if encoder.class_names:
        filled = _filled(columns[0])
        found = pc.index_in(filled.texts, pa.array(encoder.class_names, pa.string()))
        labels = pc.fill_null(found, UNUSABLE).to_numpy(zero_copy_only=False).astype(np.int32)
        return filled.take(labels, UNUSABLE), ~filled.missing
    pairs = zip(columns, encoder.forms, strict=True)
    values = np.stack([_numbers(column, form, settings) for column, form in pairs], axis=1)
    with np.errstate(over="ignore"):
        usable = np.isfinite(values.astype(np.float32)).all(axis=1)
    return (values[:, 0] if len(columns) == 1 else values), usable


def _filled(column: pa.ChunkedArray) -> Words:
    """Returns classes as they are written (in Unicode NFC); only an empty cell and null are missing."""
    words = as_written(column)
    words = Words(words.codes, pa.array(map(composed, words.texts.to_pylist()), pa.string()))
    return words.without(is_missing(words.texts, ()))


def _known(column: pa.ChunkedArray, settings: Settings) -> Words:
    words = as_written(column)
    return words.without(is_missing(words.texts, settings.missing_values))


def _form(column: pa.ChunkedArray, settings: Settings, least: float = MOSTLY) -> str | None:
    """Returns how the numbers of a column are written; None if fewer than `least` of its values are numbers."""
    if isinstance(values_of(column), Numbers):
        return "plain"
    forms = [form for form in NUMBER_FORMS if form != "time"]  # times of the day may be classes
    return number_form(_known(column, settings), settings.decimal, forms, least)


def _most_have_form(column: pa.ChunkedArray, settings: Settings) -> str | None:
    """Returns how most numbers of a column are written, where it must be numbers: units are no classes then."""
    words = _known(column, settings)
    return _form(column, settings, MOSTLY_ELSE_IGNORED) or unit_form(words, settings.decimal, MOSTLY_ELSE_IGNORED)


def _numbers(column: pa.ChunkedArray, form: str, settings: Settings) -> np.ndarray:
    """Returns the numbers of a column, float64 [rows]; NaN for missing ones, and for those that lack a unit."""
    values = values_of(column)
    if isinstance(values, Numbers):
        return values.values if not has_unit(form) else np.full(len(column), np.nan)
    return parse_numbers(_known(column, settings), form, settings.decimal).values
