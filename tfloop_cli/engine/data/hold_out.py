"""The splits that a run uses: the dataset's own, and those that are held out of its training split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.choosing import (
    KEYS,
    Candidates,
    Choice,
    Rule,
    SplitRules,
    choose_held_out,
    group_numbers,
)
from tfloop_cli.engine.data.folds import MAX_VALIDATED, Folds, divide
from tfloop_cli.engine.data.spec import Dataset, Source
from tfloop_cli.engine.data.structures import is_several, named_values
from tfloop_cli.errors import ExitCode, TfloopError

MAX_NAMES = 5  # of classes in a line


@dataclass
class Splits:
    """The splits of a run.

    Attributes:
        examples: name of a split -> its source, and the indices of its examples in the source, int64 [examples].
        held_out: those that are held out of the training split.
        folds: of the training split, if an ensemble is validated in folds; else None.
        undone: names of those that "auto" held out, before `undo_auto`.
        overfits: whether the training split is the few examples of `overfit_batches`, which nothing is added to.
        limits: a line for the user for each limit of the config; see `limit_splits`.
        missing_classes, shared_groups: (name of a split, what is wrong with it) for each warning.
    """

    examples: dict[str, tuple[Source, np.ndarray]]
    held_out: list[Choice] = field(default_factory=list)
    folds: Folds | None = None
    undone: list[str] = field(default_factory=list)
    overfits: bool = False
    limits: list[str] = field(default_factory=list)
    missing_classes: list[tuple[str, str]] = field(default_factory=list)
    shared_groups: list[tuple[str, str]] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """One line for the user for each problem."""
        return [f"{split}: {problem}" for split, problem in (*self.missing_classes, *self.shared_groups)]

    @property
    def notes(self) -> list[str]:
        """One line for each split that was chosen for the user."""
        notes = [_note(one) for one in self.held_out if one.auto or one.rule.kind in ("group", "time")]
        return notes + ([self.folds.note] if self.folds else []) + self.limits

    @property
    def facts(self) -> dict[str, Any]:
        """What metadata contains about what is held out."""
        held_out = {one.split: _facts(one) for one in self.held_out}
        if self.folds:
            held_out["validation"] = self.folds.facts
        return {"held_out_examples": sum(one["examples"] for one in held_out.values()), "held_out": held_out}

    def is_held_out(self, split: str) -> bool:
        """Whether a split is held out of the training split."""
        return any(one.split == split for one in self.held_out)

    def hold_out(self, choices: Sequence[Choice]) -> None:
        """Moves training examples to other splits."""
        for one in choices:
            source, indices = self.examples["train"]
            self.examples[one.split] = (source, one.indices)
            self.examples["train"] = (source, np.setdiff1d(indices, one.indices, assume_unique=True))
            self.held_out.append(one)

    def use_folds(self, rules: SplitRules, candidates: Candidates) -> None:
        """Divides the training examples into folds, which are the validation split too; see `divide`."""
        source, indices = self.examples["train"]
        count, groups, labels = min(rules.folds, len(indices)), None, candidates.labels
        rule = "" if labels is None else str(Rule("stratified"))
        if rules.group is not None:
            groups, rule = group_numbers(candidates.columns[rules.group])[indices], str(Rule("group", rules.group))
        fold = np.full(len(source), -1, np.int32)
        chosen = None if labels is None else labels[indices]
        fold[indices] = divide(len(indices), count, KEYS["validation"], chosen, groups)
        validated = indices[:: -(-len(indices) // MAX_VALIDATED)]
        self.folds = Folds(count, fold, validated, rule)
        self.examples["validation"] = (source, validated)

    def undo_auto(self) -> None:
        """Makes training examples again of those that "auto" has held out. Encoders were fitted without them."""
        undone = [one for one in self.held_out if one.auto]
        for one in undone:
            source, indices = self.examples["train"]
            self.examples.pop(one.split, None)
            if not self.overfits:
                self.examples["train"] = (source, np.sort(np.concatenate([indices, one.indices])))
            self.held_out.remove(one)
        self.undone = [one.split for one in undone]
        self.missing_classes = [one for one in self.missing_classes if one[0] not in self.undone]


def split_dataset(dataset: Dataset, config: Config, *, training: bool = True) -> Splits:
    """Returns the splits of a run.

    Both held-out splits count from the whole training split of the dataset. Without `training`, that split is not
    required; then nothing can be held out of it.

    Args:
        dataset: its splits, targets and columns.
        config: `test`, `validation`, `group`, `split_by`.

    Raises:
        TfloopError: there is no split `train` (exit code 4); see `choose_held_out`.
    """
    splits = Splits({name: (source, np.arange(len(source))) for name, source in dataset.splits.items()})
    if "train" not in splits.examples and not training:
        return splits
    if "train" not in splits.examples:
        names = ", ".join(sorted(splits.examples))
        raise TfloopError(f"the dataset has no split `train`, only {names}", code=ExitCode.DATA)
    labels = training_labels(dataset)
    rules = SplitRules.of(config).for_targets(any(one.classes for _, one in named_values(dataset.spec.targets)))
    columns = {name: np.asarray(dataset.columns[name]["train"]) for name in rules.columns if name in dataset.columns}
    candidates = Candidates(len(dataset.splits["train"]), list(dataset.splits), labels, columns, list(dataset.columns))
    choices = choose_held_out(candidates, rules)
    for split in KEYS:
        if rules.size(split) != "auto":
            splits.examples.pop(split, None)
    splits.hold_out(choices)
    if rules.folds and "validation" not in splits.examples and len(splits.examples["train"][1]) > 1:
        splits.use_folds(rules, candidates)
    if any(one.rule.kind == "stratified" for one in choices):
        splits.missing_classes = _missing_classes(dataset, splits)
    if rules.group is not None:
        splits.shared_groups = _shared_groups(dataset, rules.group, splits)
    return splits


def _note(choice: Choice) -> str:
    """Returns one line for the user."""
    rule = "" if choice.rule.kind == "random" else f", {choice.rule}"
    text = f"{choice.split}: {len(choice.indices):,} of {choice.of:,} training examples held out{rule}"
    return f"{text}; `{choice.split}: 0` for none" if choice.auto else text


def _facts(choice: Choice) -> dict[str, Any]:
    """Returns what metadata contains about a held-out split."""
    digest = hashlib.sha256(choice.indices.astype("<i8").tobytes()).hexdigest()
    return {"examples": len(choice.indices), "rule": str(choice.rule), "sha256": digest}


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


def _missing_classes(dataset: Dataset, splits: Splits) -> list[tuple[str, str]]:
    """Returns a problem for each held-out split that lacks a class of the training split."""
    labels, names, problems = training_labels(dataset), dataset.spec.class_names, []
    assert labels is not None
    sizes = np.bincount(labels, minlength=len(names))
    for one in splits.held_out:
        held = np.bincount(labels[one.indices], minlength=len(names))
        if len(missing := np.flatnonzero((sizes > 0) & (held == 0))):
            shown = ", ".join(f"`{names[label]}` ({sizes[label]})" for label in missing[:MAX_NAMES])
            more = ", ..." if len(missing) > MAX_NAMES else ""
            classes = "the class" if len(missing) == 1 else f"{len(missing)} of {np.count_nonzero(sizes)} classes:"
            problems.append((one.split, f"too few examples to hold any out of {classes} {shown}{more}"))
    return problems


def _shared_groups(dataset: Dataset, column: str, splits: Splits) -> list[tuple[str, str]]:
    """Returns a problem for each split of the dataset's own that shares groups with the training split."""
    groups, (_, indices) = dataset.columns[column], splits.examples["train"]
    held_out = {"train", *(one.split for one in splits.held_out)}
    own = [split for split in splits.examples if split in groups and split not in held_out]
    trained = set(np.asarray(groups["train"])[indices].tolist())
    shared = {split: len(trained & set(np.asarray(groups[split]).tolist())) for split in own}
    return [(split, f"{count:,} groups of `{column}` are in train too") for split, count in shared.items() if count]
