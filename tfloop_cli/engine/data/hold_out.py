"""The splits that a run uses: the dataset's own, and those that are held out of its training split."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import nearest
from tfloop_cli.engine.data.folds import MAX_VALIDATED, Folds, divide, number_of_folds
from tfloop_cli.engine.data.spec import Dataset, Source
from tfloop_cli.engine.data.splits import (
    choose_groups,
    choose_latest,
    choose_random,
    choose_stratified,
    is_known,
)
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.errors import ExitCode, TfloopError

# In this order, so that with `split_by` the latest examples are the test split. The splits depend on these numbers.
KEYS = {"test": 0x74657374, "validation": 0x74666C6F6F70}
AUTO = 0.1  # the fraction that "auto" holds out of the training split
MAX_NAMES = 5  # of classes in a line

Choose = Callable[[np.ndarray, int, int], np.ndarray]  # indices [n], count, key -> which are held out, bool [n]


@dataclass(frozen=True)
class HeldOut:
    """A split that is held out of the training split.

    Attributes:
        split: "test" or "validation".
        indices: of its examples, in the dataset's training split, int64 [examples].
        of: the number of examples of the dataset's training split.
        rule: how they were chosen; empty for at random.
        auto: whether the config leaves the size open.
    """

    split: str
    indices: np.ndarray
    of: int
    rule: str
    auto: bool

    @property
    def note(self) -> str:
        """One line for the user."""
        rule = f", {self.rule}" if self.rule else ""
        text = f"{self.split}: {len(self.indices):,} of {self.of:,} training examples held out{rule}"
        return f"{text}; `{self.split}: 0` for none" if self.auto else text

    @property
    def facts(self) -> dict[str, Any]:
        """What metadata contains about it."""
        digest = hashlib.sha256(self.indices.astype("<i8").tobytes()).hexdigest()
        return {"examples": len(self.indices), "rule": self.rule or "at random", "sha256": digest}


@dataclass
class Splits:
    """The splits of a run.

    Attributes:
        examples: name of a split -> its source, and the indices of its examples in the source, int64 [examples].
        held_out: those that are held out of the training split.
        folds: of the training split, if an ensemble is validated in folds; else None.
        undone: names of those that "auto" held out, before `undo_auto`.
        missing_classes, shared_groups: lines for the user, see `split_dataset`.
    """

    examples: dict[str, tuple[Source, np.ndarray]]
    held_out: list[HeldOut] = field(default_factory=list)
    folds: Folds | None = None
    undone: list[str] = field(default_factory=list)
    missing_classes: list[str] = field(default_factory=list)
    shared_groups: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the splits, one line each."""
        return [*self.missing_classes, *self.shared_groups]

    @property
    def notes(self) -> list[str]:
        """One line for each split that was chosen for the user."""
        notes = [one.note for one in self.held_out if one.auto or one.rule.startswith(("grouped", "the latest"))]
        return notes + ([self.folds.note] if self.folds else [])

    @property
    def facts(self) -> dict[str, Any]:
        """What metadata contains about what is held out."""
        held_out = {one.split: one.facts for one in self.held_out}
        if self.folds:
            held_out["validation"] = self.folds.facts
        return {"held_out_examples": sum(one["examples"] for one in held_out.values()), "held_out": held_out}

    def hold_out(self, split: str, count: int, choose: Choose, rule: str, auto: bool) -> None:
        """Moves `count` training examples, or about as many, to another split."""
        source, indices = self.examples["train"]
        held = choose(indices, count, KEYS[split])
        self.examples[split], self.examples["train"] = (source, indices[held]), (source, indices[~held])
        self.held_out.append(HeldOut(split, indices[held], len(source), rule, auto))

    def use_folds(self, count: int, classes: np.ndarray | None, groups: np.ndarray | None, rule: str) -> None:
        """Divides the training examples into folds, which are the validation split too; see `divide`."""
        source, indices = self.examples["train"]
        chosen = [None if one is None else one[indices] for one in (classes, groups)]
        fold = np.full(len(source), -1, np.int32)
        fold[indices] = divide(len(indices), count, KEYS["validation"], *chosen)
        validated = indices[:: -(-len(indices) // MAX_VALIDATED)]
        self.folds = Folds(count, fold, validated, rule)
        self.examples["validation"] = (source, validated)

    def undo_auto(self) -> None:
        """Makes training examples again of those that "auto" has held out."""
        undone = [one for one in self.held_out if one.auto]
        for one in undone:
            source, indices = self.examples["train"]
            del self.examples[one.split]
            self.examples["train"] = (source, np.sort(np.concatenate([indices, one.indices])))
            self.held_out.remove(one)
        self.undone = [one.split for one in undone]
        self.missing_classes = [line for line in self.missing_classes if line.partition(":")[0] not in self.undone]


def split_dataset(dataset: Dataset, config: Config, *, training: bool = True) -> Splits:
    """Returns the splits of a run.

    Both held-out splits count from the whole training split of the dataset. Without `training`, that split is not
    required; then nothing can be held out of it.

    Args:
        dataset: its splits, targets and columns.
        config: `test`, `validation`, `group`, `split_by`.

    Raises:
        TfloopError: there is no split `train` (exit code 4); `test` or `validation` is too large, or `group` or
            `split_by` is not usable (exit code 2).
    """
    splits = Splits({name: (source, np.arange(len(source))) for name, source in dataset.splits.items()})
    if "train" not in splits.examples and not training:
        return splits
    if "train" not in splits.examples:
        names = ", ".join(sorted(splits.examples))
        raise TfloopError(f"the dataset has no split `train`, only {names}", code=ExitCode.DATA)
    choose, rule = _choice(dataset, config)
    for split in KEYS:
        requested = getattr(config, split)
        if requested == "auto" and split in splits.examples:
            continue
        splits.examples.pop(split, None)
        left = len(splits.examples["train"][1])
        if split == "validation" and requested == "auto" and (folds := number_of_folds(config, left)):
            groups = None if config.group is None else _column(dataset, "group", config.group)
            splits.use_folds(folds, training_labels(dataset), groups, rule)
        elif count := _count(split, requested, splits):
            splits.hold_out(split, count, choose, rule, auto=requested == "auto")
    if rule == "stratified by class":
        splits.missing_classes = _missing_classes(dataset, splits)
    if config.group is not None:
        splits.shared_groups = _shared_groups(dataset, config.group, splits)
    return splits


def _count(split: str, requested: int | float | str, splits: Splits) -> int:
    """Returns the number of examples to hold out."""
    source, left = splits.examples["train"]
    fraction = AUTO if requested == "auto" else requested
    count = round(fraction * len(source)) if isinstance(fraction, float) else int(fraction)
    if count < len(left):
        return count
    taken = "".join(f", of which `{one.split}` holds out {len(one.indices)}" for one in splits.held_out)
    raise TfloopError(
        f"`{split}` holds out {count} examples, and the training split has {len(source)}{taken}",
        hint=f"use a smaller number, or `--set {split}=auto` for a tenth",
    )


def _choice(dataset: Dataset, config: Config) -> tuple[Choose, str]:
    """Returns how examples are chosen, as a function and in words."""
    if config.split_by is not None:
        times = _column(dataset, "split_by", config.split_by)
        return (
            lambda indices, count, key: _latest(times[indices], count, config.split_by),
            f"the latest by `{config.split_by}`",
        )
    if config.group is not None:
        groups = _column(dataset, "group", config.group)
        return (
            lambda indices, count, key: _groups(groups[indices], count, key, config.group),
            f"grouped by `{config.group}`",
        )
    if (labels := training_labels(dataset)) is not None:
        return lambda indices, count, key: choose_stratified(labels[indices], count, key), "stratified by class"
    return lambda indices, count, key: choose_random(len(indices), count, key), ""


def training_labels(dataset: Dataset) -> np.ndarray | None:
    """Returns the class of each training example, int [examples]; None without classes, or if they are not in memory.

    Several targets, and targets of several classes per example, are no classes here.
    """
    spec, source = dataset.spec.targets, dataset.splits["train"]
    targets = getattr(source, "all_targets", None)
    if targets is None or is_several(spec) or not spec.classes or not (spec.one_hot or spec.shape in ((), (1,))):
        return None
    targets = np.asarray(targets)
    return targets.argmax(axis=1) if spec.one_hot else targets.reshape(len(targets)).astype(np.int64)


def _column(dataset: Dataset, key: str, column: str) -> np.ndarray:
    """Returns the values of a column for the training examples, [examples]."""
    if not dataset.columns:
        raise TfloopError(
            f"`{key}: {column}`: this dataset has no columns to split by", hint=f"remove `{key}` from the config"
        )
    if column not in dataset.columns:
        hint = nearest(column, dataset.columns, "the columns are")
        raise TfloopError(f"`{key}: {column}`: the dataset has no column `{column}`", hint=hint)
    return _comparable(np.asarray(dataset.columns[column]["train"]))


def _comparable(values: np.ndarray) -> np.ndarray:
    """Returns values that can be sorted: an array of objects becomes numbers if all are, else text.

    None and NaN become NaN, in text "".
    """
    if values.dtype != object:
        return values
    known = np.array([value is not None and value == value for value in values])
    if all(isinstance(value, int | float) for value in values[known]):
        return np.where(known, values, np.nan).astype(np.float64)
    return np.where(known, values.astype(str), "")


def _latest(times: np.ndarray, count: int, column: str | None) -> np.ndarray:
    known = int(is_known(times).sum())
    if known <= count:
        raise TfloopError(
            f"`split_by: {column}`: {count} examples are to be held out, and only {known} of {len(times)} have a value",
            hint="hold out less, or use another column",
        )
    return choose_latest(times, count)


def _groups(groups: np.ndarray, count: int, key: int, column: str | None) -> np.ndarray:
    if len(np.unique(groups)) < 2:
        raise TfloopError(
            f"`group: {column}`: the {len(groups)} training examples are all in one group; nothing can be held out",
            hint="hold out less (`test: 0`, `validation: 0`), or use another column",
        )
    return choose_groups(groups, count, key)


def _missing_classes(dataset: Dataset, splits: Splits) -> list[str]:
    """Returns one line for each held-out split that lacks a class of the training split."""
    labels, names, lines = training_labels(dataset), dataset.spec.class_names, []
    assert labels is not None
    sizes = np.bincount(labels, minlength=len(names))
    for one in splits.held_out:
        held = np.bincount(labels[one.indices], minlength=len(names))
        if len(missing := np.flatnonzero((sizes > 0) & (held == 0))):
            shown = ", ".join(f"`{names[label]}` ({sizes[label]})" for label in missing[:MAX_NAMES])
            more = ", ..." if len(missing) > MAX_NAMES else ""
            classes = "the class" if len(missing) == 1 else f"{len(missing)} of {np.count_nonzero(sizes)} classes:"
            lines.append(f"{one.split}: too few examples to hold any out of {classes} {shown}{more}")
    return lines


def _shared_groups(dataset: Dataset, column: str, splits: Splits) -> list[str]:
    """Returns one line for each split of the dataset's own that shares groups with the training split."""
    groups, (_, indices) = dataset.columns[column], splits.examples["train"]
    held_out = {"train", *(one.split for one in splits.held_out)}
    own = [split for split in splits.examples if split in groups and split not in held_out]
    trained = set(np.asarray(groups["train"])[indices].tolist())
    shared = {split: len(trained & set(np.asarray(groups[split]).tolist())) for split in own}
    return [f"{split}: {count:,} groups of `{column}` are in train too" for split, count in shared.items() if count]
