"""Finds the separator of the cells of a file."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from tfloop_cli.engine.data.tables.surroundings import CONSISTENT

SEPARATORS = ("\t", ";", ",", "|", " ")  # the first one that fits all rows is used
UNCOMMON = ("\x01", "\x1f", "||", "::", "~", "^", "¦", "§", ":")  # tried before others; all rows must fit
_CLOCK = re.compile(r"(?<!\d)\d{1,2}:[0-5]\d(?!\d)")  # whose colon separates no cells

Split = Callable[[str], Sequence[Sequence[str]]]  # separator -> the rows


def find_separator(lines: Sequence[str], candidates: Sequence[str], is_tsv: bool, split: Split) -> str:
    """Returns the separator of the cells: one of `UNCOMMON` if there is no doubt, else that which fits most rows.

    Args:
        lines: of the file, from the header on; none is empty.
        candidates: of `SEPARATORS`; without the space for free texts.
        is_tsv: whether it is a .tsv file.
        split: returns the rows for a separator.
    """
    if is_tsv and "\t" in lines[0]:
        return "\t"
    if found := _uncommon(lines, " " not in candidates, split):
        return found
    best, best_fit = ",", 0.0
    for separator in candidates:
        rows = split(separator)
        counts = Counter(map(len, rows[1:] or rows))
        if not counts:
            continue
        cells, rows_with = counts.most_common(1)[0]
        fit = rows_with / counts.total() if cells > 1 and len(rows[0]) in (cells, cells - 1) else 0.0
        if fit >= CONSISTENT:
            return separator
        if fit > best_fit:
            best, best_fit = separator, fit
    return best


def _uncommon(lines: Sequence[str], free_text: bool, split: Split) -> str:
    """Returns the one of `UNCOMMON` that all rows have equally often; "" if none, or if the first line has a usual one.

    A colon must be there twice, and in no time such as 12:30; and it separates no cells of free texts. One of
    `~^:` separates none if spaces are in all rows equally often too, but for those beside it.
    """
    for separator in UNCOMMON:
        if separator not in lines[0] or any(usual in lines[0].replace(separator, "") for usual in SEPARATORS[:-1]):
            continue
        if separator[0] in lines[0].replace(separator, ""):  # a single colon, where :: is an empty cell
            continue
        if separator == ":" and (free_text or any(map(_CLOCK.search, lines))):
            continue
        rows = split(separator)
        cells = len(rows[0]) if len(rows) > 1 and (separator < " " or all(map(str.strip, rows[0]))) else 0
        if cells <= (2 if separator == ":" else 1) or any(len(row) != cells for row in rows):
            continue
        spaces = {len(re.sub(rf" *{re.escape(separator)} *", separator, line).split()) for line in lines}
        if separator not in "~^:" or len(spaces) > 1 or spaces == {1}:
            return separator
    return ""
