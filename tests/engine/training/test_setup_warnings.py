"""Warnings before training about data and settings that do not fit together."""

from typing import Any

import numpy as np
import pytest

from tfloop_cli.config.loading import load
from tfloop_cli.config.precedence import shipped_names
from tfloop_cli.engine.data import build_data, from_arrays
from tfloop_cli.engine.tasks import build_task
from tfloop_cli.engine.training.setup_warnings import class_counts, setup_warnings

COSINE = {"name": "cosine", "decay_steps": 8}
STEPS = {"name": "piecewise", "boundaries_steps": [4, 8], "factors": [1.0, 0.5, 0.1]}


def warnings_of(run: Any) -> list[str]:
    return setup_warnings(run.config, run.data, run.task)


@pytest.mark.parametrize(
    ("labels", "changes", "expected"),
    [
        (None, {}, None),  # 60 examples of 3 classes in 8 steps of at most 16
        ([0, 2] * 30, {}, "the class `1` has no training example"),
        ([0, 9] * 30, {}, "8 of 10 classes have no training example: `1`, `2`, `3`, `4`, `5`, ..."),
        ([*[0] * 59, 1], {"validation": 59, "batch_size": 1}, "the class `1` has no training example"),
        ([0] * 60, {}, "the data has a single class, `0`: every prediction is right"),
        (None, {"task": {"name": "classification", "metrics": ["top_3_accuracy"]}}, "`top_3_accuracy` is always 1"),
        (
            [*range(4), *range(4)],
            {"task": {"name": "classification", "metrics": ["top_3_accuracy"]}, "batch_size": 8},
            None,
        ),
        (None, {"warmup_steps": 7}, None),
        (None, {"warmup_steps": "auto"}, None),
        (None, {"warmup_steps": 8}, "`warmup_steps: 8` does not end within the 8 steps of the run"),
        (None, {"batch_size": 61}, "`batch_size: 61` is larger than the training split of 60 examples"),
        (None, {"batch_size": 60}, None),
        (
            [0, 1, 0, 1],
            {"validation": "auto", "early_stopping": {"patience_epochs": 1}, "epochs": 3, "batch_size": 2},
            "`early_stopping` has no effect: there is no validation split",
        ),
        (None, {"schedule": COSINE}, None),
        (None, {"schedule": COSINE | {"decay_steps": 9}}, "`schedule.decay_steps: 9` is longer than the run"),
        (None, {"schedule": COSINE, "warmup_steps": 2}, "`schedule.decay_steps: 8` is longer than the run"),
        (None, {"schedule": COSINE | {"decay_steps": 7}}, "`schedule.decay_steps: 7` is shorter than the run"),
        (None, {"schedule": COSINE | {"decay_steps": 7, "alpha": 0.1}}, None),
        (None, {"schedule": STEPS}, "`schedule.boundaries_steps`: 8 is after the end of the run, which has 8 steps"),
        (None, {"schedule": STEPS, "epochs": 3}, None),
    ],
)
def test_what_is_off_is_named_once(trainer, labels: list[int] | None, changes: dict, expected: str | None) -> None:
    """The labels are those of the training split; None for the data of `SMALL`."""
    split = None if labels is None else (np.zeros((len(labels), 8), np.float32), labels)
    lines = warnings_of(trainer(split and from_arrays({"train": split}), **changes))
    assert len(lines) == (expected is not None), lines
    assert not lines or lines[0].startswith(str(expected))


def test_classes_are_not_checked_for_tasks_without_them(trainer) -> None:
    numbers = {"name": "synthetic", "shape": [8], "classes": 0, "train_examples": 60, "test_examples": 23}
    assert warnings_of(trainer(dataset=numbers, task="regression")) == []


@pytest.mark.parametrize("name", sorted({*shipped_names()} - {"images.yaml", "images"}))
def test_built_in_config_has_no_warnings(machine: None, name: str) -> None:
    config = load([name]).config
    data = build_data(config)
    task = build_task(config.task, data.spec)
    assert setup_warnings(config, data, task) == []
    assert class_counts(data).sum() == data.examples("train")
