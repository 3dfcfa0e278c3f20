"""Examples that are held out of the training split: at random, stratified, by group, by time."""

import numpy as np
import pytest

from tfloop_cli.engine.data import Data, from_arrays
from tfloop_cli.engine.data.splits import choose_groups, choose_latest, choose_stratified
from tfloop_cli.errors import ExitCode, TfloopError

SIZES = {0: 300, 1: 50, 2: 7, 3: 2, 4: 1}


def labels_of(sizes: dict[int, int]) -> np.ndarray:
    labels = np.repeat(list(sizes), list(sizes.values()))
    return labels[np.random.default_rng(0).permutation(len(labels))]


@pytest.fixture
def make_data(configure):
    def make(labels: np.ndarray, columns=None, test_labels: np.ndarray | None = None, **changes) -> Data:
        splits = {"train": labels} | ({} if test_labels is None else {"test": test_labels})
        arrays = {name: (np.arange(len(one), dtype=np.float32)[:, None], one) for name, one in splits.items()}
        return Data(
            from_arrays(arrays, columns=columns), configure(**{"batch_size": 4, "validation": "auto"} | changes)
        )

    return make


def held(data: Data, split: str) -> np.ndarray:
    return data.split(split)[1]


@pytest.mark.parametrize("count", [1, 36, 180, 355, 359])
def test_stratified_choice_has_the_exact_number_and_the_share_of_each_class(count: int) -> None:
    labels = labels_of(SIZES)
    chosen = choose_stratified(labels, count, key=5)
    assert chosen.sum() == count
    taken = np.bincount(labels[chosen], minlength=5)
    if count <= 355:
        assert (taken < list(SIZES.values())).all()  # every class keeps an example
    if count <= 180:
        assert np.abs(taken - count * np.array(list(SIZES.values())) / 360).max() < 1.1
    assert (choose_stratified(labels, count, key=6) != chosen).any()


def test_stratified_choice_of_single_examples_is_random() -> None:
    chosen = np.flatnonzero(choose_stratified(np.arange(100), 10, key=1))
    assert chosen.tolist() != list(range(10))
    assert len(chosen) == 10


def test_groups_are_held_out_whole() -> None:
    groups = np.repeat([f"patient {number}" for number in range(50)], np.arange(50) % 7 + 1)
    chosen = choose_groups(groups, 20, key=1)
    assert 15 <= chosen.sum() <= 25
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert choose_groups(np.array([1, 1, 1, 2, 2]), 1, key=1).tolist() == [False, False, False, True, True]
    assert choose_groups(np.array([1, 2]), 1, key=1).sum() == 1


def test_latest_choice_leaves_unknown_times_in_training() -> None:
    times = np.array(["2024-03-01", "NaT", "2024-01-01", "2024-02-01"], "datetime64[D]")
    assert choose_latest(times, 2).tolist() == [True, False, False, True]


def test_test_and_validation_are_stratified_and_independent_of_the_seed(make_data) -> None:
    labels = labels_of({0: 900, 1: 100})
    data, other = make_data(labels, seed=0), make_data(labels, seed=1)
    assert {name: data.examples(name) for name in data.splits} == {"test": 100, "train": 800, "validation": 100}
    for split in ("test", "validation"):
        assert np.bincount(labels[held(data, split)]).tolist() == [90, 10]
        assert held(data, split).tolist() == held(other, split).tolist()
    everything = np.concatenate([held(data, split) for split in data.splits])
    assert sorted(everything) == list(range(1000))
    assert data.run_splits.notes == [
        f"{split}: 100 of 1,000 training examples held out, stratified by class; `{split}: 0` for none"
        for split in ("test", "validation")
    ]
    assert data.facts["held_out_examples"] == 200
    assert data.facts["held_out"]["test"]["rule"] == "stratified by class"


def test_split_of_the_dataset_is_used_with_auto_only(make_data) -> None:
    labels, own = np.zeros(60, np.int32), np.zeros(9, np.int32)
    assert make_data(labels, test_labels=own).examples("test") == 9
    assert make_data(labels, test_labels=own, test=5).examples("test") == 5
    assert "test" not in make_data(labels, test_labels=own, test=0).splits
    assert make_data(labels, test=0.5).examples("test") == 30


def test_validation_of_numbers_holds_out_nothing_for_classes(make_data) -> None:
    classes = make_data(np.arange(100) % 2, validation="numbers")
    assert [classes.examples(name) for name in ("train", "validation", "test")] == [90, 0, 10]
    numbers = make_data(np.linspace(0, 1, 100, dtype=np.float32), validation="numbers")
    assert [numbers.examples(name) for name in ("train", "validation", "test")] == [80, 10, 10]
    auto = make_data(np.linspace(0, 1, 100, dtype=np.float32))
    np.testing.assert_array_equal(held(numbers, "validation"), held(auto, "validation"))
    several = make_data(np.arange(200).reshape(100, 2) % 2, validation="numbers")  # classes per example
    assert [several.examples(name) for name in ("train", "validation", "test")] == [90, 0, 10]


def test_class_with_too_few_examples_stays_in_training_with_a_warning(make_data) -> None:
    data = make_data(labels_of({0: 99, 1: 1}), validation=0)
    assert data.run_splits.warnings == ["test: too few examples to hold any out of the class `1` (1)"]
    assert make_data(labels_of({0: 50, 1: 50}), validation=0).run_splits.warnings == []


def test_groups_and_times_divide_a_dataset(make_data) -> None:
    labels = np.tile([0, 1], 50)
    columns = {"patient": {"train": np.arange(100) // 5}, "date": {"train": np.arange(100)[::-1]}}
    data = make_data(labels, columns, group="patient")
    patients = {split: set(columns["patient"]["train"][held(data, split)]) for split in data.splits}
    assert not patients["train"] & (patients["test"] | patients["validation"])
    assert not patients["test"] & patients["validation"]
    assert data.run_splits.notes[0].startswith("test: 10 of 100 training examples held out, grouped by `patient`")
    data = make_data(labels, columns, split_by="date")
    assert held(data, "test").tolist() == list(range(10))
    assert held(data, "validation").tolist() == list(range(10, 20))


def test_columns_of_objects_are_numbers_or_text_and_none_is_unknown(make_data) -> None:
    numbers = np.array([10, None, 9, float("nan"), 2.5, 3], object)
    words = np.array(["b", None, "a", "", "c", "d"], object)
    columns = {"number": {"train": numbers}, "word": {"train": words}}
    labels = np.zeros(6, np.int32)
    assert held(make_data(labels, columns, split_by="number", test=2, validation=0), "test").tolist() == [0, 2]
    assert held(make_data(labels, columns, split_by="word", test=2, validation=0), "test").tolist() == [4, 5]
    assert "test" in make_data(labels, columns, group="word", test=2, validation=0).splits


def test_own_test_split_that_shares_groups_is_reported(make_data) -> None:
    columns = {"patient": {"train": np.arange(20) // 2, "test": [0, 1, 2, 99]}}
    data = make_data(np.zeros(20, np.int32), columns, np.zeros(4, np.int32), group="patient", validation=0)
    assert data.run_splits.warnings == ["test: 3 groups of `patient` are in train too"]


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"group": "pateint"}, "no column `pateint`", "did you mean `patient`"),
        ({"group": "same"}, "all in one group", "another column"),
        ({"split_by": "late", "test": 4}, "only 3 of 20 have a value", "hold out less"),
        ({"test": 15, "validation": 5}, "the training split has 20, of which `test` holds out 15", "smaller number"),
    ],
)
def test_impossible_splits_are_errors(make_data, changes: dict, message: str, hint: str) -> None:
    late = np.where(np.arange(20) < 3, np.arange(20), np.nan)
    columns = {"patient": {"train": np.arange(20)}, "same": {"train": [1] * 20}, "late": {"train": late}}
    with pytest.raises(TfloopError, match=message) as caught:
        make_data(np.zeros(20, np.int32), columns, **changes)
    assert caught.value.code == ExitCode.USAGE
    assert hint in str(caught.value)


def test_dataset_without_columns_is_an_error(make_data) -> None:
    with pytest.raises(TfloopError, match="this dataset has no columns to split by") as caught:
        make_data(np.zeros(20, np.int32), group="patient")
    assert "use a dataset that has them: a table" in str(caught.value)


def test_column_of_another_length_is_an_error() -> None:
    with pytest.raises(TfloopError, match=r"its column `patient` has shape \(3,\), and it has 2 examples"):
        from_arrays({"train": ([1.0, 2.0], [0, 1])}, columns={"patient": {"train": [1, 2, 3]}})
