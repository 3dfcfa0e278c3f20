"""Reads numbers and dates that are written as text."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.engine.data.tables.characters import with_ascii_digits
from tfloop_cli.engine.data.tables.units import (
    GROUPS,
    MARKS,
    find_unit,
    has_affix,
    mark_of,
    unit_pattern,
    without_marks,
    without_unit,
)
from tfloop_cli.engine.data.tables.values import SECONDS_PER_DAY, Dates, Numbers, Words, finite

MOSTLY = 0.95  # a column with at least this fraction of numbers, or of dates, is a column of them
_HEAD = 100  # distinct values, one of which is a date if there are any
MOSTLY_ELSE_IGNORED = 0.8  # ... that otherwise would be an id or free text

_DIGITS = r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def _currency(mark: str) -> str:
    return rf"^[+-]?{mark} ?[+-]?{GROUPS}$|^[+-]?{GROUPS} ?{mark}$|^\({mark} ?{GROUPS}\)$"


NUMBER_FORMS = {  # name -> pattern of a whole cell, of RE2; without a decimal comma
    "plain": rf"^[+-]?{_DIGITS}$",
    "thousands": rf"^[+-]?{GROUPS}$",
    "spaces": r"^[+-]?\d{1,3}([ '\x{a0}\x{202f}\x{2019}]\d{3})*(\.\d*)?$",  # 12 000, 12'000
    "percent": rf"^[+-]?{GROUPS} ?%$",
    "time": r"^\d{1,3}:[0-5]\d(:[0-5]\d(\.\d+)?)?( ?[AaPp][Mm])?$",  # of the day, or a duration: in seconds
    **{f"currency {mark}": _currency(f"[{mark}]") for mark in "$€£¥"},
}
_OLD_FORMS = {"currency": _currency("[$€£¥]")}  # of runs of earlier versions
_CODE = r"^[+-]?0\d+$"  # 007
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = r"(?:[T ]+|:)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2}(?:[.,]\d+)?))? ?(?P<p>[AaPp]\.?[Mm]\.?)?"
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +)?"
_OFFSET = r"(?: ?Z| ?(?:GMT|UTC)| ?(?:GMT|UTC)?(?P<o>[+-]\d{1,2})(?::?(?P<r>\d{2}))?(?: \([^()]*\))?)?"  # +0200 (CEST)
_TIME = rf"(?:{_CLOCK}{_OFFSET}|Z|[+-]\d{{2}}:?\d{{2}})?$"
_TH = "(?:st|nd|rd|th)?"
_MONTH = r"(?P<m>[A-Za-z]{3})[a-z]*\.?"
DATE_FORMS = {  # name -> pattern of a whole cell; the first one that fits all values is used
    "year-month-day": r"^(?P<Y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
    "month/day/year": r"^(?P<m>\d{1,2})[/.-](?P<d>\d{1,2})[/.-](?P<Y>\d{4}|\d{2})",
    "day/month/year": r"^(?P<d>\d{1,2})[/.-](?P<m>\d{1,2})[/.-](?P<Y>\d{4}|\d{2})",
    "day month year": rf"^{_WEEKDAY}(?P<d>\d{{1,2}}){_TH}[ /-]{_MONTH}[ ,/-]+(?P<Y>\d{{4}}|\d{{2}})",
    "month day year": rf"^{_WEEKDAY}{_MONTH} +(?P<d>\d{{1,2}}){_TH},? +(?P<Y>\d{{4}})",
    "yearmonthday": r"^(?P<Y>(?:19|20)\d{2})(?P<m>\d{2})(?P<d>\d{2})",
    "year-month": r"^(?P<Y>(?:19|20)\d{2})(?:[-/]|M)(?P<m>\d{2})",
    "year month": r"^(?P<Y>(?:19|20)\d{2})[ -](?P<m>[A-Za-z]{3})[a-z]*\.?",
    "month year": r"^(?P<m>[A-Za-z]{3})[a-z]*\.?[ ,-]+(?P<Y>(?:19|20)\d{2})",
    "year quarter": r"^(?P<Y>(?:19|20)\d{2})[ -]?[Qq](?P<Q>[1-4])",
    "year week": r"^(?P<Y>(?:19|20)\d{2})[ -]?[Ww](?P<W>\d{2})",
    "year年month月day日": r"^(?P<Y>\d{4})[年년] ?(?P<m>\d{1,2})[月월] ?(?P<d>\d{1,2})[日일]",
    "month/year": r"^(?P<m>\d{1,2})[/-](?P<Y>(?:19|20)\d{2})",
}


def number_form(
    words: Words, decimal: str, forms: Sequence[str] = tuple(NUMBER_FORMS), least: float = MOSTLY
) -> str | None:
    """Returns how the numbers of a column are written: the name of a form; None if it is no column of numbers.

    It is the first form that all values have; else the one that most values have, if these are enough, and at least two
    are distinct. None is a code such as 007.

    Args:
        words: the column.
        decimal: the decimal mark.
        forms: to try, in order.
        least: the fraction of the values that is enough.
    """
    counts = words.counts()
    occurring = counts > 0
    total, texts = counts.sum(), _with_point(words.texts, decimal)
    if not total or not _match(texts, r"\d").any() or (counts * _match(texts, _CODE)).any():
        return None
    found, most = None, least * total
    for form in forms:
        matching = _match(texts, NUMBER_FORMS[form]) & occurring
        if (matching == occurring).all():
            return form
        if matching.sum() > 1 and (rows := counts[matching].sum()) >= most and (found is None or rows > most):
            found, most = form, rows
    return found


def most_common_form(words: Words, decimal: str) -> str:
    """Returns the form that most values of a column have, for a column that is declared to be numbers."""
    counts, texts = words.counts(), _with_point(words.texts, decimal)
    return max(NUMBER_FORMS, key=lambda form: int(counts[_match(texts, NUMBER_FORMS[form])].sum()))


def unit_form(words: Words, decimal: str, least: float = MOSTLY) -> str | None:
    """Returns `unit kg` for numbers with one unit, such as 5 kg; None for other columns; see `number_form`."""
    counts, texts = words.counts(), _with_point(words.texts, decimal)
    form = find_unit(texts.filter(pa.array(counts > 0))[:_HEAD].to_pylist())
    if form is None:
        return None
    matching = _match(texts, unit_pattern(form)) & (counts > 0)
    return form if matching.sum() > 1 and counts[matching].sum() >= least * counts.sum() else None


def marked_form(words: Words, decimal: str) -> str | None:
    """Returns `limits plain` or the like for numbers some of which are limits, such as <0.5 and 90+; see `MARKS`.

    None for other columns; at least half of the values must have no mark, since <50K and >50K are words.
    """
    counts, texts = words.counts(), _with_point(words.texts, decimal)
    for mark, (pattern, _) in MARKS.items():
        marked = _match(texts, pattern)
        if not (counts * marked).any() or 2 * (counts * marked).sum() > counts.sum():
            continue
        plain = Words(words.codes, without_marks(texts, mark))
        if form := number_form(plain, ".") or unit_form(plain, "."):
            return f"{mark} {form}"
    return None


def _pattern(form: str) -> str:
    """Returns the pattern of a whole cell with a number in some form."""
    return unit_pattern(form) if has_affix(form) else _OLD_FORMS.get(form) or NUMBER_FORMS[form]


def has_unit(form: str) -> bool:
    """Whether numbers in some form show a unit, which others may not have."""
    form = mark_of(form)[1]
    return has_affix(form) or form.startswith("currency") or form in ("percent", "time")


def parse_numbers(words: Words, form: str, decimal: str) -> Numbers:
    """Returns the numbers of a column; what is not written in that form is missing."""
    texts = _with_point(words.texts, decimal)
    mark, form = mark_of(form)
    texts = without_marks(texts, mark) if mark else texts
    matching = _match(texts, _pattern(form))
    texts = without_unit(texts, form) if has_affix(form) else texts
    if form == "time":
        seconds = [_seconds(text) if fits else np.nan for text, fits in zip(texts.to_pylist(), matching, strict=True)]
        return Numbers(words.take(np.array(seconds, np.float64), np.nan))
    negative = pc.starts_with(texts, "(")  # ($5.30)
    kept = r"[^0-9.eE-]" if form == "plain" else r"[^0-9.-]"
    digits = pc.replace_substring_regex(texts, kept, "")
    digits = pc.if_else(pc.equal(digits, "."), "0", digits)
    values = pc.if_else(pa.array(matching), digits, None).cast(pa.float64())
    numbers = pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False)
    return finite(words.take(np.where(np.asarray(negative), -numbers, numbers), np.nan))


def _seconds(time: str) -> float:
    """Returns the seconds of hours, minutes and perhaps seconds, such as 9:47, 11:38:36 and 9:47 PM."""
    half = time[-2:].lower()
    hours, minutes, *seconds = time.rstrip("AaPpMm ").split(":")
    hour = int(hours) % 12 + 12 * (half == "pm") if half in ("am", "pm") else int(hours)
    return hour * 3600 + int(minutes) * 60 + (float(seconds[0]) if seconds else 0.0)


def date_form(words: Words, least: float = MOSTLY) -> str | None:
    """Returns how the dates of a column are written: the name of a form; None if it is no column of dates.

    It is the first form that all values have; else the one that most values have, if these are enough, and at least two
    are distinct. Where the order of day and month is open (03/04/2020), the month comes first.

    Args:
        words: the column.
        least: the fraction of the values that is enough.
    """
    counts = words.counts()
    texts = words.texts.filter(pa.array(counts > 0))
    counts = counts[counts > 0]
    if not len(counts):
        return None
    found, most = None, least * counts.sum()
    for form in _possible_dates(texts[:_HEAD]):
        dates = ~np.isnan(_days(texts, form))
        if dates.all():
            return form
        if dates.sum() > 1 and (rows := counts[dates].sum()) >= most and (found is None or rows > most):
            found, most = form, rows
    return found


def _possible_dates(texts: pa.Array) -> list[str]:
    """Returns the forms of dates that some text looks like; a cheap test, since most columns are no dates."""
    texts = with_ascii_digits(pc.utf8_trim_whitespace(texts))
    if not _match(texts, r"\d").any():
        return []
    return [form for form, pattern in DATE_FORMS.items() if _match(texts, pattern + _TIME).any()]


def have_a_form(words: Words, decimal: str) -> np.ndarray:
    """Returns which values are numbers or dates in any form: bool [rows]."""
    texts = _with_point(words.texts, decimal)
    fitting = [_match(texts, pattern) for pattern in NUMBER_FORMS.values()]
    fitting += [~np.isnan(_days(words.texts, form)) for form in DATE_FORMS]
    return words.take(np.any(fitting, axis=0), False)


def parse_dates(words: Words, form: str) -> Dates:
    """Returns the dates of a column, in UTC if they have an offset; what is not written in that form is missing."""
    return Dates(words.take(_days(words.texts, form), np.nan))


def _days(texts: pa.Array, form: str) -> np.ndarray:
    """Returns days since 1970, with the time of day as fraction, float64; NaN where there is no such date.

    Times with an offset, such as 10:00+02:00, are in UTC, as pyarrow has those that it reads.
    """
    fields = pc.extract_regex(with_ascii_digits(pc.utf8_trim_whitespace(texts)), DATE_FORMS[form] + _TIME)
    found = np.asarray(pc.is_valid(fields))

    def part(name: str) -> np.ndarray:
        digits = pc.struct_field(fields, name)
        digits = pc.if_else(pc.equal(pc.fill_null(digits, ""), ""), "0", digits)
        digits = pc.replace_substring(digits, ",", ".")  # of seconds
        return digits.cast(pa.float64()).to_numpy(zero_copy_only=False)

    pattern = DATE_FORMS[form]
    if "?P<Q>" in pattern:
        month = 3 * part("Q").astype(np.int64) - 2
    elif "?P<W>" in pattern:
        month = np.ones(len(texts), np.int64)
    else:
        months = pc.struct_field(fields, "m")
        if "<m>[A-Za-z]{3}" in pattern:
            months = pc.add(pc.index_in(pc.utf8_lower(months), pa.array(_MONTHS)), 1)
        month = pc.fill_null(months.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    year = part("Y").astype(np.int64)
    day = part("d").astype(np.int64) if "?P<d>" in pattern else np.ones_like(year)
    year = np.where(year < 70, year + 2000, np.where(year < 100, year + 1900, year))
    found &= (month >= 1) & (month <= 12) & (day >= 1)
    first = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    date = first.astype("M8[D]") + (day - 1)
    found &= date.astype("M8[M]") == first  # not the 30th of February
    if "?P<W>" in pattern:
        date, is_week = _mondays(first, part("W").astype(np.int64))
        found &= is_week
    afternoon = np.asarray(pc.starts_with(pc.utf8_lower(pc.fill_null(pc.struct_field(fields, "p"), "")), "p"))
    noon = np.asarray(pc.not_equal(pc.fill_null(pc.struct_field(fields, "p"), ""), ""))
    hour = np.where(noon, part("H") % 12, part("H")) + 12 * afternoon
    west = np.asarray(pc.starts_with(pc.fill_null(pc.struct_field(fields, "o"), ""), "-"))
    offset = part("o") + np.where(west, -part("r"), part("r")) / 60  # hours
    seconds = (hour - offset) * 3600 + part("M") * 60 + part("S")
    return np.where(found, date.astype(np.int64) + seconds / SECONDS_PER_DAY, np.nan)


def _mondays(first: np.ndarray, week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the Monday of a week as ISO 8601 counts them, M8[D], and whether the year has such a week, bool.

    Args:
        first: the first of January of the year, M8[M].
        week: counted from 1, int64.
    """
    fourth = first.astype("M8[D]") + 3  # it is in week 1
    monday = fourth - (fourth.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    thursday = monday + 7 * (week - 1) + 3
    return thursday - 3, (week >= 1) & (thursday.astype("M8[Y]") == first.astype("M8[Y]"))


def _with_point(texts: pa.Array, decimal: str) -> pa.Array:
    """Returns trimmed texts with ASCII digits, a decimal point, and commas between thousands."""
    texts = with_ascii_digits(pc.utf8_trim_whitespace(texts))
    if decimal == ",":
        texts = pc.replace_substring(pc.replace_substring(pc.replace_substring(texts, ".", "\0"), ",", "."), "\0", ",")
    return texts


def _match(texts: pa.Array, pattern: str) -> np.ndarray:
    return np.asarray(pc.match_substring_regex(texts, pattern))


def matches_code(name: str) -> bool:
    """Whether a column is called like an id: `id`, `user_id`, `userId`, `ID`, `uuid`, `key`."""
    return re.search(r"(^|[^A-Za-z])([Ii][Dd]|[Uu][Uu][Ii][Dd]|[Gg][Uu][Ii][Dd]|[Kk]ey)$|[a-z]I[Dd]$", name) is not None
