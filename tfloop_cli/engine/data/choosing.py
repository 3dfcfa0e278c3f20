"""Chooses which training examples are held out, from what is known before they are encoded.

So encoders can be fitted to the others only. The same choice is made again when the dataset is built. Text is read with
pyarrow, which is imported only then: the import takes 0.2 s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.columns import unusable_column
from tfloop_cli.engine.data.splits import choose_groups, choose_latest, choose_random, choose_stratified, is_known
from tfloop_cli.errors import TfloopError

# In this order, so that with `split_by` the latest examples are the test split. The splits depend on these numbers.
KEYS = {"test": 0x74657374, "validation": 0x74666C6F6F70}
MEMBERS = "members"  # the argument of a model that is an ensemble
TASKS = ("auto", "classification", "regression")  # those that train ensembles
AUTO = 0.1  # the fraction that "auto" holds out of the training split

Size = int | float | Literal["auto", "numbers"]


@dataclass(frozen=True)
class SplitRules:
    """The config keys that decide what is held out of the training split; nothing by default.

    With `folds`, an ensemble is validated in so many folds of the training split, unless there is a validation split.
    """

    test: Size = 0
    validation: Size = 0
    group: str | None = None
    split_by: str | None = None
    folds: int = 0

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the keys of a config."""
        return cls(config.test, config.validation, config.group, config.split_by, _number_of_folds(config))

    def for_targets(self, are_classes: bool) -> Self:
        """Returns the rules without `validation: numbers`: it is auto, or 0 if the targets are classes."""
        return replace(self, validation=0 if are_classes else "auto") if self.validation == "numbers" else self

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are needed to choose: name -> the key that names it."""
        named = (("group", self.group), ("split_by", self.split_by))
        return {column: key for key, column in named if column is not None}

    def size(self, split: str) -> Size:
        """Returns how much is held out for a split."""
        size: Size = getattr(self, split)
        return size


def _number_of_folds(config: Config) -> int:
    """Returns the number of folds with `validation: auto`: one per member of the model; 0 for none.

    With `split_by` there are none, since members that are trained on later examples would be validated.
    """
    members = config.model.arguments.get(MEMBERS, 1)
    usable = config.task.name in TASKS and config.split_by is None and config.validation == "auto"
    return members if usable and isinstance(members, int) and members > 1 else 0


@dataclass(frozen=True)
class Candidates:
    """The examples of a dataset's training split, before any are held out.

    Attributes:
        examples: their number.
        splits: names of the dataset's splits.
        labels: the class of each, integer [examples]; None if they are not chosen by class.
        columns: name -> one value per example, [examples]; at least those that the rules name, if they exist.
        names: of all columns of the dataset, for messages.
    """

    examples: int
    splits: Sequence[str]
    labels: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Rule:
    """How examples are chosen.

    Attributes:
        kind: "random", "stratified" (by class), "group" or "time".
        column: that the rule names; "" for none.
        order: how the times of a column of text are read; "" for other columns.
    """

    kind: Literal["random", "stratified", "group", "time"]
    column: str = ""
    order: str = ""

    def __str__(self) -> str:
        return {
            "random": "at random",
            "stratified": "stratified by class",
            "group": f"grouped by `{self.column}`",
            "time": f"the latest by `{self.column}`{f' ({self.order})' if self.order else ''}",
        }[self.kind]


@dataclass(frozen=True)
class Choice:
    """The examples that are held out for a split.

    Attributes:
        split: "test" or "validation".
        indices: of its examples, in the dataset's training split, int64 [examples].
        of: the number of examples of the dataset's training split.
        rule: how they were chosen.
        auto: whether the config leaves the size open.
    """

    split: str
    indices: np.ndarray
    of: int
    rule: Rule
    auto: bool


def choose_held_out(candidates: Candidates, rules: SplitRules) -> list[Choice]:
    """Chooses the examples of the test split, then those of the validation split.

    Both sizes count from the whole training split. An "auto" holds out nothing if the dataset has such a split.

    Raises:
        TfloopError: `test` or `validation` is too large, or `group` or `split_by` is not usable (exit code 2).
    """
    rules = rules.for_targets(candidates.labels is not None)
    rule, values = _rule(candidates, rules)
    left, choices = np.arange(candidates.examples), list[Choice]()
    for split, key in KEYS.items():
        size = rules.size(split)
        if size == "auto" and (split in candidates.splits or (split == "validation" and rules.folds)):
            continue
        if count := _count(split, size, len(left), candidates.examples, choices):
            held = _choose(rule, None if values is None else values[left], len(left), count, key)
            choices.append(Choice(split, left[held], candidates.examples, rule, size == "auto"))
            left = left[~held]
    return choices


def training_rows(candidates: Candidates, rules: SplitRules) -> np.ndarray:
    """Returns which examples are not held out: bool [examples]. Encoders are fitted to these.

    Raises:
        TfloopError: see `choose_held_out`.
    """
    kept = np.ones(candidates.examples, bool)
    for choice in choose_held_out(candidates, rules):
        kept[choice.indices] = False
    return kept


def _count(split: str, size: Size, left: int, examples: int, choices: Sequence[Choice]) -> int:
    """Returns the number of examples to hold out."""
    fraction = AUTO if isinstance(size, str) else size
    count = round(fraction * examples) if isinstance(fraction, float) else int(fraction)
    if count < left or not count:
        return count
    taken = "".join(f", of which `{one.split}` holds out {len(one.indices)}" for one in choices)
    raise TfloopError(
        f"`{split}` holds out {count} examples, and the training split has {examples}{taken}",
        hint=f"use a smaller number, or `--set {split}=auto` for a tenth",
    )


def _rule(candidates: Candidates, rules: SplitRules) -> tuple[Rule, np.ndarray | None]:
    """Returns how examples are chosen, and the values that decide, [examples]: labels, groups or times."""
    if rules.group is not None and rules.split_by is not None:
        raise TfloopError("`group` and `split_by` exclude each other", hint="remove one of them from the config")
    if rules.split_by is not None:
        times, order = times_of(_column(candidates, "split_by", rules.split_by))
        return Rule("time", rules.split_by, order), times
    if rules.group is not None:
        return Rule("group", rules.group), group_numbers(_column(candidates, "group", rules.group))
    return Rule("random" if candidates.labels is None else "stratified"), candidates.labels


def _choose(rule: Rule, values: np.ndarray | None, examples: int, count: int, key: int) -> np.ndarray:
    """Returns which examples are held out: bool [examples]."""
    if values is None:
        return choose_random(examples, count, key)
    if rule.kind == "stratified":
        return choose_stratified(values, count, key)
    if rule.kind == "group":
        if len(np.unique(values)) < 2:
            raise TfloopError(
                f"`group: {rule.column}`: the {examples} training examples are all in one group; nothing can be held "
                "out",
                hint="hold out less (`test: 0`, `validation: 0`), or use another column",
            )
        return choose_groups(values, count, key)
    known = int(is_known(values).sum())
    if known <= count:
        raise TfloopError(
            f"`split_by: {rule.column}`: {count} examples are to be held out, and only {known} of {examples} have a "
            "value",
            hint="hold out less, or use another column",
        )
    return choose_latest(values, count)


def _column(candidates: Candidates, key: str, column: str) -> np.ndarray:
    if not candidates.names:
        raise TfloopError(
            f"`{key}: {column}`: this dataset has no columns to split by",
            hint=f"remove `{key}` from the config, or use a dataset that has them: a table, texts in a table, images "
            "with `labels`, arrays in a file, TFDS, or `from_arrays(..., columns=...)`",
        )
    if column not in candidates.columns:
        problem = f"the dataset has no column `{column}`"
        raise unusable_column(key, column, problem, candidates.names, "the columns are")
    return candidates.columns[column]


def group_numbers(values: np.ndarray) -> np.ndarray:
    """Returns the number of each example's group, in the order of the values: int64 [examples].

    Equal values are one group; all missing ones (None, NaN, empty text) are another.
    """
    values = _numbers_or_text(values)
    if values.dtype != object:
        return np.unique(values, return_inverse=True)[1]
    from tfloop_cli.engine.data.tables.text_keys import groups_of_text

    return groups_of_text(values)


def times_of(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Returns times whose order is that of the values, [examples], NaN or NaT if unknown; and how text was read.

    Text is read as dates or numbers if all its values are; else it is in alphabetical order.
    """
    values = _numbers_or_text(values)
    if values.dtype != object:
        return values, ""
    from tfloop_cli.engine.data.tables.text_keys import times_of_text

    return times_of_text(values)


def _numbers_or_text(values: np.ndarray) -> np.ndarray:
    """Returns an array of numbers or times, or an array of objects: text, with None for missing values."""
    if values.dtype.kind == "U":
        return values.astype(object)
    if values.dtype != object:
        return values
    known = np.array([value is not None and value == value for value in values], bool)
    if all(isinstance(value, int | float) for value in values[known]):
        return np.where(known, values, np.nan).astype(np.float64)
    text: list[Any] = [str(value) if is_value else None for value, is_value in zip(values, known, strict=True)]
    return np.array(text, object)
