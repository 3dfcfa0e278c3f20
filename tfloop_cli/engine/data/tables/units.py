"""What is written around numbers: a unit (5 kg, USD 5), a limit (<0.5, 90+), parentheses for negative ones.

The form of such numbers is `unit kg`, `before USD`, `limits plain`, `parentheses thousands`, ...
"""

import re
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

GROUPS = r"([1-9]\d{0,2}(,\d{2})*(,\d{3})+(\.\d*)?|\d+\.?\d*|\.\d+)"  # 0,123 is a fraction; 12,34,567 is Indian
UNIT, BEFORE = "unit ", "before "
# The unit begins with a letter of any script, a sign of a unit or of a currency; kg/m2 and kWh/100km have digits.
_LATER = r"(?:[^,;:<>()+\d]|(?<=[^\s\-])\d)"
_AFTER_NUMBER = re.compile(rf"[+-]?{GROUPS} ?((?:[^\W\d_]|[°µ²³/‰$€£¥฿₠-⃀])(?:{_LATER}{{0,13}}(?!\s){_LATER})?)")
_CODES = "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF INR JPY KRW MXN NOK NZD PLN RMB RUB SEK SGD THB TRY USD ZAR"
_BEFORE_NUMBER = re.compile(rf"([A-Z]{{0,3}}[$€£¥฿₠-⃀]|{_CODES.replace(' ', '|')}|Rs\.?|kr\.?) ?[+-]?{GROUPS}")
MARKS = {  # name -> pattern of a marked number, and what replaces it; others have no mark
    "limits": (r"^(?:[<>]=?|[≤≥]) ?(.*\d.*)$|^(.*\d) ?\+$", r"\1\2"),
    "parentheses": (r"^\(([^-+()]*\d[^()]*)\)$", r"-\1"),
}


def find_unit(texts: Sequence[str]) -> str | None:
    """Returns the most frequent unit of texts as a form, such as `unit kg` or `before USD`; None if there is none."""
    forms: Counter[str] = Counter()
    for text in texts:
        if found := _AFTER_NUMBER.fullmatch(text):
            forms[f"{UNIT}{found[found.lastindex]}"] += 1
        elif found := _BEFORE_NUMBER.fullmatch(text):
            forms[f"{BEFORE}{found[1]}"] += 1
    return forms.most_common(1)[0][0] if forms else None


def has_affix(form: str) -> bool:
    """Whether numbers of a form have a unit after or before them."""
    return form.startswith((UNIT, BEFORE))


def unit_pattern(form: str) -> str:
    """Returns the pattern of a whole cell for `unit ...` and `before ...`."""
    if form.startswith(UNIT):
        return rf"^[+-]?{GROUPS} ?{re.escape(form.removeprefix(UNIT))}$"
    return rf"^{re.escape(form.removeprefix(BEFORE))} ?[+-]?{GROUPS}$"


def without_unit(texts: pa.Array, form: str) -> pa.Array:
    """Returns the numbers alone."""
    if form.startswith(UNIT):
        return pc.replace_substring_regex(texts, rf" ?{re.escape(form.removeprefix(UNIT))}$", "")
    return pc.replace_substring_regex(texts, rf"^{re.escape(form.removeprefix(BEFORE))} ?", "")


def mark_of(form: str) -> tuple[str, str]:
    """Returns the mark of a form, "" for none, and the form of the numbers without it."""
    mark, _, rest = form.partition(" ")
    return (mark, rest) if mark in MARKS else ("", form)


def without_marks(texts: pa.Array, mark: str) -> pa.Array:
    """Returns the numbers without a mark: 0.5 for <0.5, -5 for (5)."""
    pattern, replacement = MARKS[mark]
    return pc.replace_substring_regex(texts, pattern, replacement)
