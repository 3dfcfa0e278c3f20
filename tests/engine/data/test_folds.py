"""Folds for ensembles: sizes, classes, groups, which examples count for which members; the batch size that follows."""

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Data, from_arrays
from tfloop_cli.engine.data import hold_out as module
from tfloop_cli.engine.data.batch_sizes import batch_size_of
from tfloop_cli.engine.data.folds import divide

ENSEMBLE = {"name": "tabular_ensemble", "members": 4}


@pytest.fixture
def make_data(configure):
    def make(columns=None, weights: np.ndarray | None = None, **changes) -> Data:
        labels = np.arange(100, dtype=np.int32) % 5 // 4  # a fifth is of class 1
        split = (np.arange(100, dtype=np.float32)[:, None], labels, *(() if weights is None else (weights,)))
        config = configure(**{"batch_size": 30, "validation": "auto", "test": 20, "model": ENSEMBLE} | changes)
        return Data(from_arrays({"train": split}, columns=columns), config)

    return make


def test_folds_are_equal_in_size_and_in_classes() -> None:
    classes = np.repeat([0, 1, 2], [60, 30, 13])
    folds = divide(103, 8, 1, classes, None)
    assert set(np.bincount(folds)) == {12, 13}
    for one in range(3):
        counts = np.bincount(folds[classes == one], minlength=8)
        assert counts.max() - counts.min() <= 1
    assert (folds != divide(103, 8, 2, classes, None)).any()
    assert set(np.bincount(divide(103, 8, 1, None, None))) == {12, 13}


def test_groups_are_in_one_fold() -> None:
    groups = np.repeat(np.arange(40), np.arange(40) % 5 + 1)
    folds = divide(len(groups), 4, 1, None, groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(40))
    assert np.ptp(np.bincount(folds)) <= 2


def test_each_example_counts_for_the_members_without_its_fold(make_data) -> None:
    data = make_data()
    assert {name: data.examples(name) for name in data.splits} == {"test": 20, "train": 80, "validation": 80}
    fold = data.run_splits.folds.fold
    assert (fold[data.split("test")[1]] == -1).all()
    for batches in (data.batches(0, 3), data.evaluation("train")):
        for inputs, _, weights in batches:
            np.testing.assert_array_equal(weights, fold[inputs[:, 0].numpy().astype(int), None] != np.arange(4))
    for inputs, _, weights in data.evaluation("validation"):
        np.testing.assert_array_equal(weights, fold[inputs[:, 0].numpy().astype(int), None] == np.arange(4))
    assert len(next(iter(data.evaluation("test")))) == 2
    rule = data.facts["held_out"]["validation"]["rule"]
    assert rule == "4 folds stratified by class"
    assert data.run_splits.notes == [
        f"validation: in {rule} of the 80 training examples; each member is trained without one fold, and validated "
        "on it; `validation: 0.1` holds out a tenth instead"
    ]


def test_weights_of_examples_are_kept(make_data) -> None:
    weights = np.linspace(0.5, 2, 100, dtype=np.float32)
    for inputs, _, found in make_data(weights=weights).batches(0, 3):
        np.testing.assert_array_equal(tf.reduce_max(found, axis=1), weights[inputs[:, 0].numpy().astype(int)])


@pytest.mark.parametrize(
    ("changes", "validation"),
    [
        ({"model": "linear"}, 10),
        ({"validation": 0}, 0),
        ({"validation": 7}, 7),
        ({"split_by": "date"}, 10),
        ({"task": "gan"}, 10),
        ({"model": {"name": "tabular_ensemble", "members": 1}}, 10),
    ],
)
def test_other_runs_hold_out_examples(make_data, changes: dict, validation: int) -> None:
    data = make_data(columns={"date": {"train": np.arange(100)}}, **changes)
    assert data.run_splits.folds is None
    assert (data.examples("train"), data.examples("validation")) == (80 - validation, validation)


def test_many_examples_are_validated_in_part(make_data, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_VALIDATED", 30)
    data = make_data(columns={"patient": {"train": np.arange(100) // 3}}, group="patient")
    assert 25 <= data.examples("validation") <= 30
    assert "folds grouped by `patient`" in data.run_splits.notes[-1]
    count = data.examples("validation")
    assert f"validated on it (on {count} of them in all);" in data.run_splits.notes[-1]


@pytest.mark.parametrize(
    ("examples", "size"), [(3, 3), (100, 16), (511, 16), (512, 32), (4095, 128), (4096, 256), (10**6, 256)]
)
def test_automatic_batch_size_is_a_power_of_two(configure, examples: int, size: int) -> None:
    assert batch_size_of(configure(batch_size="auto"), examples) == size
    assert batch_size_of(configure(batch_size=7), examples) == 7
