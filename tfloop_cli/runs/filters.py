"""`--where "validation/accuracy > 0.97"`: filters for runs, parsed and not evaluated as code."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tfloop_cli.config.yaml_scalars import resolve
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.runs.columns import Value, require_column, value_of
from tfloop_cli.runs.records import STATUSES, RunRecord

_EXPRESSION = re.compile(r"\s*([^\s<>=!~]+)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_HINT = (
    "write KEY OPERATOR VALUE: `test/accuracy >= 0.97`, `config.optimizer.name = adam`, `status != failed`, "
    "`started > 2026-11-01`, `name ~ resnet`; operators are < <= > >= = != ~"
)


@dataclass(frozen=True)
class Filter:
    """A condition for runs.

    Attributes:
        text: as typed.
        column: see `value_of`.
        operator: `<`, `<=`, `>`, `>=`, `=`, `!=`, or `~`: the regular expression `value` is found in the text.
        value: what the run's value is compared with: a number, a date, text, true, false or null.
    """

    text: str
    column: str
    operator: str
    value: Any

    def matches(self, record: RunRecord) -> bool:
        """Whether a run fulfils the condition. A run without a value fulfils only `= null`."""
        value = value_of(record, self.column)
        if self.value is None:
            return (value is None) == (self.operator == "=")
        if value is None:
            return False
        if self.operator == "~":
            return self.value.search(_text(value)) is not None
        if isinstance(self.value, datetime):
            value = _date(value)
            return value is not None and _compare(self.operator, value, self.value)
        if self.operator in _ORDER and not (_is_number(value) and _is_number(self.value)):
            return False
        return _compare(self.operator, *_alike(value, self.value))


def parse_filter(text: str) -> Filter:
    """Parses one expression.

    Raises:
        TfloopError: it is not KEY OPERATOR VALUE, or the value does not suit the operator (exit code 2).
    """
    match = _EXPRESSION.fullmatch(text)
    if not match or not match[3]:
        raise _wrong(text, "this is not a filter")
    column, sign, written = require_column(match[1], f"--where {text}"), match[2], _unquoted(match[3])
    if sign == "~":
        try:
            return Filter(text, column, sign, re.compile(written))
        except re.error as error:
            raise _wrong(text, f"`{written}` is not a regular expression: {error}") from None
    if column == "status" and sign in ("=", "!=") and written not in STATUSES:
        raise _wrong(text, f"there is no status `{written}`", f"a status is {', '.join(STATUSES)}")
    value: Any = written if written != match[3] else resolve(written)
    if column == "started" and value is not None:
        if (value := _date(written)) is None:
            raise _wrong(text, f"`{written}` is not a date", "write 2026-11-26 or 2026-11-26T09:30, in local time")
        if sign not in _ORDER:
            raise _wrong(text, f"`{sign}` does not suit a date", "use < <= > >=")
    if sign in _ORDER and not (_is_number(value) or isinstance(value, datetime)):
        raise _wrong(text, f"`{sign}` compares with a number or, for `started`, with a date; found `{written}`")
    return Filter(text, column, sign, value)


def _compare(sign: str, value: Any, other: Any) -> bool:
    if sign in _ORDER:
        return _ORDER[sign](value, other)
    return bool(value == other) == (sign == "=")


def _alike(value: Value, other: Any) -> tuple[Any, Any]:
    """Returns both as numbers, both as booleans, or else both as text."""
    if (_is_number(value) and _is_number(other)) or (isinstance(value, bool) and isinstance(other, bool)):
        return value, other
    return _text(value), _text(other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _date(value: Any) -> datetime | None:
    """Returns ISO 8601 as a date with a time zone; without one, it is local time."""
    try:
        return datetime.fromisoformat(str(value)).astimezone()
    except (ValueError, OverflowError):
        return None


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _wrong(text: str, message: str, hint: str = _HINT) -> TfloopError:
    return TfloopError(problems=[Problem(message, file=f"--where {text!r}", hint=hint)])
