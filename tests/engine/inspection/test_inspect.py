"""What `tfloop inspect data` finds: sizes, balance, statistics, and each kind of finding, with the right values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.data_summary import DataSummary, Finding, InputSummary
from tfloop_cli.engine.data import Data, Dataset, DataSpec, build_data, from_arrays
from tfloop_cli.engine.data.images.decoding import Decoder
from tfloop_cli.engine.data.tables import table_cache
from tfloop_cli.engine.datasets import table
from tfloop_cli.engine.inspection import inspect, scanning
from tfloop_cli.engine.inspection.leaks import ranks, removed_errors
from tfloop_cli.engine.inspection.scanning import hash_rows
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import datasets

random = np.random.default_rng(0)


@pytest.fixture
def inspected(configure: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DataSummary]:
    """Returns a function that inspects the dataset of a config, or one of the test."""
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))

    def inspect_changes(own: Any = None, **changes: Any) -> DataSummary:
        config, skipped = configure(**changes), []
        data = Data(own, config) if own is not None else build_data(config, skipped.append, skip_invalid=True)
        return inspect(data, config, skipped)

    return inspect_changes


def write_table(path: Path, columns: dict[str, Any]) -> dict[str, Any]:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return {"name": "table", "train": str(path), "target": "y"}


def of_kind(event: DataSummary, kind: str) -> list[Finding]:
    return [one for one in event.findings if one.kind == kind]


# Sizes, balance, statistics


def test_splits_are_those_of_a_run_with_their_classes(inspected) -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    images = random.integers(0, 256, (100, 8, 8, 1), np.uint8)
    own = from_arrays({"train": (images, labels)}, class_names=["a", "b", "c"])
    event = inspected(own, validation=20, test=0.1)
    assert [(one.name, one.examples, one.classes) for one in event.splits] == [
        ("train", 70, {"a": 42, "b": 21, "c": 7}),
        ("validation", 20, {"a": 12, "b": 6, "c": 2}),
        ("test", 10, {"a": 6, "b": 3, "c": 1}),
    ]
    assert event.findings == ()
    assert [note.partition(":")[0] for note in event.notes] == []  # nothing was decided for the user


def test_inputs_have_mean_and_deviation_as_the_model_receives_them(inspected) -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[..., 0], images[:2, ..., 1] = 255, 51  # channels: 1; 0.2 in half of the images; 0
    event = inspected(from_arrays({"train": (images, [0, 1, 0, 1])}), test=0, batch_size=4)
    (one,) = event.inputs
    assert (one.name, one.shape, one.dtype) == ("", (8, 8, 3), "uint8")
    np.testing.assert_allclose(one.mean, [1, 0.1, 0], atol=1e-7)
    np.testing.assert_allclose(one.deviation, [0, 0.1, 0], atol=1e-7)


def test_targets_that_are_numbers_have_statistics(inspected) -> None:
    own = from_arrays({"train": (np.eye(4, dtype=np.float32), np.array([1, 2, 3, 6], np.float32))})
    (split,) = inspected(own, test=0, batch_size=4).splits
    expected = {"mean": [3], "deviation": [3.5**0.5], "minimum": [1], "maximum": [6]}
    assert split.classes is None
    assert {name: pytest.approx(values) for name, values in expected.items()} == split.targets


def test_table_has_columns_with_moments_and_rows_of_the_file(inspected, tmp_path: Path) -> None:
    numbers = [1.5, "", 2.5, 3.5] * 5
    dataset = write_table(tmp_path / "a.csv", {"x": numbers, "w": ["p", "q"] * 10, "y": ["n", "m"] * 10})
    event = inspected(dataset=dataset, test=0)
    by_name = {row["name"]: row for row in event.columns}
    assert by_name["x"] | {"use": ""} == {
        "name": "x", "type": "number", "missing": 5, "distinct": 3, "use": "", "mean": 2.5,
        "deviation": pytest.approx((2 / 3) ** 0.5),
    }  # fmt: skip
    assert (by_name["w"]["mean"], by_name["w"]["deviation"]) == (None, None)
    assert event.examples[:2] == ({"x": "1.5", "w": "p", "y": "n"}, {"x": "", "w": "q", "y": "m"})
    assert len(event.examples) == 5
    assert event.inputs == (InputSummary("", (4,), "float32"),)  # means of standardized numbers say nothing


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "feather", "csv.gz"])
def test_every_format_of_a_table_shows_its_first_rows(inspected, tmp_path: Path, suffix: str) -> None:
    import gzip
    import json

    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    rows = [{"x": number, "w": None if number == 1 else "é", "y": "ab"[number % 2]} for number in range(20)]
    path = tmp_path / f"a.{suffix}"
    match suffix:
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        case "json":
            path.write_text(json.dumps(rows))
        case "parquet":
            pa.parquet.write_table(pa.Table.from_pylist(rows), path)
        case "feather":
            pa.feather.write_feather(pa.Table.from_pylist(rows), path)
        case _:
            lines = ["x,w,y", *(f"{row['x']},{row['w'] or ''},{row['y']}" for row in rows)]
            path.write_bytes(gzip.compress("\n".join(lines).encode()))
    event = inspected(dataset={"name": "table", "train": str(path), "target": "y"}, test=0)
    assert event.examples[:2] == ({"x": "0", "w": "é", "y": "a"}, {"x": "1", "w": "", "y": "b"})


def test_folder_of_texts_shows_a_text_per_class(inspected, tmp_path: Path) -> None:
    for number in range(20):
        for label in ("ham", "spam"):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{number:02}.txt").write_text(f"{label} number {number}")
    event = inspected(dataset={"name": "text", "train": str(tmp_path)}, test=0)
    assert event.examples == (
        {"label": "ham", "text": "ham number 0"}, {"label": "spam", "text": "spam number 0"},
    )  # fmt: skip


def test_rows_of_numbers_are_shown_with_the_name_of_their_class(inspected) -> None:
    own = from_arrays({"train": (np.array([[0.5, 2], [1, 3]] * 5, np.float32), [0, 1] * 5)}, class_names=["no", "yes"])
    event = inspected(own, test=0, batch_size=4)
    assert event.examples[:2] == ({"target": "no", "0": "0.5", "1": "2"}, {"target": "yes", "0": "1", "1": "3"})


# Findings


def test_unreadable_image_is_found_and_the_others_are_used(inspected, tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(5):
            image = random.integers(0, 256, (8, 8, 3), np.uint8)
            (tmp_path / "images" / label / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    (tmp_path / "images" / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    event = inspected(dataset={"name": "images", "path": str(tmp_path / "images")}, test=0, batch_size=4)
    assert event.splits[0].examples == 10
    (found,) = event.findings
    assert (found.kind, found.split, found.count) == ("invalid_examples", "train", 1)
    assert "broken.png: this image cannot be used" in found.message


def test_unreadable_images_are_all_named_and_decoded_once(inspected, tmp_path: Path, monkeypatch) -> None:
    decode, decoded = Decoder._decode, []
    monkeypatch.setattr(Decoder, "_decode", lambda self, path: (decoded.append(path), decode(self, path))[1])
    folder = tmp_path / "images"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            content = tf.io.encode_png(random.integers(0, 256, (8, 8, 3), np.uint8)).numpy()
            (folder / label / f"{number:02}.png").write_bytes(content if number % 3 or label == "b" else b"x")
    dataset = {"name": "images", "path": str(folder)}
    for first in (True, False):  # then from the cache
        (found,) = inspected(dataset=dataset, test=0, batch_size=4).findings
        assert (found.kind, found.count) == ("invalid_examples", 7)
        assert found.places == tuple(str(folder / "a" / f"{number:02}.png") for number in range(0, 20, 3))
        assert len(decoded) == (41 if first else 1)  # the first invalid one once more: why it is
        decoded.clear()


def test_rows_without_a_target_are_found(inspected, tmp_path: Path) -> None:
    dataset = write_table(tmp_path / "a.csv", {"x": range(0, 80, 2), "y": ["a", "b", "", "b"] * 10})
    (found,) = of_kind(inspected(dataset=dataset, test=0), "invalid_examples")
    assert (found.split, found.count) == ("train", 10)


def test_duplicates_across_splits_are_counted_and_named(inspected, tmp_path: Path) -> None:
    pixels = random.integers(0, 256, (20, 8, 8, 3), np.uint8)
    for split, numbers in (("train", range(12)), ("test", [0, 1, 2, 13, 14, 14])):
        for position, number in enumerate(numbers):
            folder = tmp_path / "images" / split / "ab"[position % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{position:02}.png").write_bytes(tf.io.encode_png(pixels[number]).numpy())
    event = inspected(dataset={"name": "images", "path": str(tmp_path / "images")}, batch_size=4)
    assert event.findings == (
        Finding(
            "duplicates",
            "test: 3 of 6 images are in train too, with the same pixels, such as train/a/00.png and test/a/00.png",
            "test", count=3,
        ),
    )  # fmt: skip
    assert {one.name: one.repeated for one in event.splits} == {"train": 0, "test": 1}
    assert not any(note.startswith("duplicates") for note in event.notes)


def test_duplicates_are_found_between_held_out_splits(inspected) -> None:
    rows = random.random((100, 3)).astype(np.float32)
    labels = np.arange(100) % 2
    own = from_arrays({"train": (np.repeat(rows, 2, axis=0), np.repeat(labels, 2))})  # every row occurs twice
    event = inspected(own, test=40, validation=40)
    examples = {one.name: one.examples for one in event.splits}
    counts = {(one.split, one.message.split(" in ")[1].split(" ")[0]): one.count for one in event.findings}
    pairs = sum(counts.values()) + sum(one.repeated for one in event.splits)
    assert examples == {"train": 120, "validation": 40, "test": 40}
    assert set(counts) == {("validation", "train"), ("test", "train"), ("test", "validation")}
    assert pairs == 100  # each pair is either within a split, or across two


def test_rows_of_numbers_with_another_target_are_no_duplicates(inspected) -> None:
    rows = random.random((40, 3)).astype(np.float32)
    labels = np.arange(40) % 2
    own = from_arrays({"train": (rows, labels), "test": (rows, np.where(np.arange(40) < 7, labels, 1 - labels))})
    (found,) = of_kind(inspected(own), "duplicates")
    assert found.message == "test: 7 of 40 rows are in train too, with the same target"


def test_equal_texts_are_duplicates_and_empty_ones_are_not(inspected, tmp_path: Path) -> None:
    words = [f"word{number} again" for number in range(20)]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{word},{'xy'[len(word) % 2]}\n" for word in words))
    (tmp_path / "b.csv").write_text("text,label\nword3 again,x\n???,x\n???,y\nword99 again,x\n")
    files = {"train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.csv")}
    event = inspected(dataset={"name": "text", **files, "features": "ids"})
    (found,) = of_kind(event, "duplicates")
    assert (found.split, found.count) == ("test", 1)


def test_class_that_a_split_lacks_is_found(inspected) -> None:
    train, test = np.repeat([0, 1, 2], 20), np.repeat([0, 2], 5)
    images = random.integers(0, 256, (70, 8, 8, 1), np.uint8)
    own = from_arrays({"train": (images[:60], train), "test": (images[60:], test)}, class_names=["a", "b", "c", "d"])
    assert inspected(own).findings == (
        Finding("missing_class", "train: no example of the class `d`", "train", count=1),
        Finding("missing_class", "test: no example of the class `b`", "test", count=1),
    )


def test_single_class_is_found(inspected) -> None:
    own = from_arrays({"train": (random.random((40, 3)).astype(np.float32), np.zeros(40, np.int64))})
    (found,) = inspected(own, test=0).findings
    assert (found.kind, found.message) == (
        "single_class", "the data has a single class, `0`: every prediction is right",
    )  # fmt: skip


def test_groups_that_two_splits_share_are_found(inspected) -> None:
    rows = random.random((60, 3)).astype(np.float32)
    splits = {"train": (rows[:40], np.arange(40) % 2), "test": (rows[40:], np.arange(20) % 2)}
    groups = {"patient": {"train": np.arange(40) // 4, "test": np.arange(20) // 4 + 7}}  # 7, 8 and 9 are in both
    (found,) = inspected(from_arrays(splits, columns=groups), group="patient").findings
    assert (found.kind, found.split) == ("shared_groups", "test")
    assert found.message == "test: 3 groups of `patient` are in train too"


def test_constant_columns_are_found(inspected, tmp_path: Path) -> None:
    columns = {
        "same": ["k"] * 40, "none": [""] * 40, "unused": [5] * 40, "x": random.random(40), "y": ["a", "b"] * 20,
    }  # fmt: skip
    dataset = write_table(tmp_path / "a.csv", columns) | {"ignore": ["unused"]}
    found = of_kind(inspected(dataset=dataset, test=0), "constant_column")
    assert [(one.column, one.message) for one in found] == [
        ("same", "column `same`: all values are equal; it is ignored"),
        ("none", "column `none`: it has no values; it is ignored"),
    ]


def test_constant_features_of_arrays_are_found(inspected) -> None:
    rows = random.random((40, 4)).astype(np.float32)
    rows[:, 1] = rows[:, 3] = 0.5
    (found,) = inspected(from_arrays({"train": (rows, np.arange(40) % 2)}), test=0).findings
    assert found.message == "2 features have the same value in all training examples: 1, 3"


CLASSES = np.tile(["a", "b", "c"], 40)
LEAKS = {
    "copy": CLASSES,
    "number": np.select([CLASSES == "a", CLASSES == "b"], [1.0, 2.0], 3.0) + random.normal(0, 0.01, 120),
    "missing": np.where(CLASSES == "a", "", np.where(CLASSES == "b", "7", "9")),  # the gaps are the third class
}
NO_LEAKS = {
    "noise": random.random(120),
    "id": [f"k{number // 2}" for number in range(120)],  # every value has two rows of different classes
    "half": np.where(np.arange(120) % 10 < 9, CLASSES, "z"),  # 90% of the rows
}


def test_columns_that_alone_predict_the_class_are_found(inspected, tmp_path: Path) -> None:
    dataset = write_table(tmp_path / "a.csv", LEAKS | NO_LEAKS | {"y": CLASSES})
    found = of_kind(inspected(dataset=dataset, test=0), "leak")
    assert {one.column for one in found} == set(LEAKS)
    assert found[0].message == "column `copy` alone predicts the target: it removes 100.0% of the wrong classes"


def test_training_prints_a_note_about_leaks(configure: Callable, tmp_path: Path) -> None:
    from tfloop_cli.commands.before_training import warn_before_training

    config = configure(dataset=write_table(tmp_path / "a.csv", LEAKS | NO_LEAKS | {"y": CLASSES}), test=0)
    notes = list[str]()
    warn_before_training(config, build_data(config), object(), notes.append, lambda line: None)  # type: ignore[arg-type]
    assert notes == [
        "leak: each of the columns `copy`, `number`, `missing` alone predicts the target; if new data does not have "
        """it, leave it out: `--set dataset.ignore='["copy", "number", "missing"]'`"""
    ]


def test_columns_that_alone_predict_the_number_are_found(inspected, tmp_path: Path) -> None:
    prices = np.exp(random.normal(0, 2, 400)).round(4)  # a few far outliers
    columns = {
        "euros": (prices * 1.1).round(4), "falling": (1 / prices).round(6), "noise": random.random(400),
        "trend": np.log(prices) + random.normal(0, 1, 400), "y": prices,
    }  # fmt: skip
    event = inspected(dataset=write_table(tmp_path / "a.csv", columns), test=0)
    assert {one.column for one in of_kind(event, "leak")} == {"euros", "falling"}


def test_few_rows_are_no_leak() -> None:
    labels = np.arange(40) // 2 % 2
    assert removed_errors(labels, labels) == 1
    assert removed_errors(labels[:39], labels[:39]) == 0
    rare = np.where(np.arange(100) // 2 % 25 == 1, 1, 0)  # a guess without the column is wrong twice
    assert removed_errors(rare, rare) == 0


def test_ranks_of_equal_numbers_are_their_mean() -> None:
    np.testing.assert_array_equal(ranks(np.array([5.0, 1, 5, 9])), [1.5, 0, 1.5, 3])


def test_hash_depends_on_every_value_and_its_place_but_not_on_padding() -> None:
    rows = np.array([[1, 2, 0], [2, 1, 0], [1, 2, 1], [1, 2, 0]], np.int32)
    hashes = hash_rows([rows])
    assert len(set(hashes.tolist())) == 3
    assert hashes[0] == hashes[3] == hash_rows([rows[:1, :2]])[0]
    two = np.array([[1], [2]], np.int16), np.array([[2], [1]], np.int16)
    assert hash_rows(two)[0] != hash_rows(two)[1]
    many = random.integers(0, 2, (100_000, 17), np.uint8)
    assert len(np.unique(hash_rows([many]))) == len(np.unique(many, axis=0))


# Kinds of data


class FromDisk:
    """A source that does not have its targets in memory."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        self._inputs, self._targets = tf.constant(inputs), tf.constant(targets)

    def __len__(self) -> int:
        return len(self._inputs)

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(self._inputs, indices), tf.gather(self._targets, indices)


def from_disk() -> Dataset:
    images, labels = random.integers(0, 256, (30, 8, 8, 1), np.uint8), np.arange(30, dtype=np.int32) % 3
    splits = {"train": FromDisk(images, labels), "test": FromDisk(images[:6], labels[:6])}
    return Dataset(DataSpec((8, 8, 1), "uint8", (), ("a", "b", "c")), splits, "fingerprint")


def test_targets_are_read_where_they_are_not_in_memory(inspected) -> None:
    event = inspected(from_disk())
    assert event.splits[0].classes == {"a": 10, "b": 10, "c": 10}
    assert [(one.kind, one.count) for one in event.findings] == [("duplicates", 6)]


def test_large_data_is_not_searched_for_duplicates(inspected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MAX_COMPARED_BYTES", 36 * 64 - 1)
    event = inspected(from_disk())
    assert event.findings == ()
    assert [(one.classes, one.repeated) for one in event.splits] == [(None, None), (None, None)]
    assert event.notes[0].endswith("GiB is not searched for duplicates")


def test_several_inputs_and_targets_are_summarized(inspected) -> None:
    inputs = {"left": random.integers(0, 256, (20, 8, 8, 3), np.uint8), "right": random.random((20, 5))}
    event = inspected(from_arrays({"train": (inputs, {"kind": np.arange(20) % 2, "age": random.random(20)})}), test=0)
    assert [(one.name, one.shape, len(one.mean)) for one in event.inputs] == [
        ("left", (8, 8, 3), 3),
        ("right", (5,), 1),
    ]
    assert (event.splits[0].classes, event.splits[0].targets, event.findings) == (None, None, ())


def test_dataset_that_does_not_support_skipping_is_inspected(configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "build", lambda component: from_disk())
    data = build_data(configure(), skip_invalid=True)
    assert data.splits == ["test", "train"]
    with pytest.raises(TfloopError, match="is not supported by the dataset"):
        build_data(configure(on_bad_example="skip"), skip_invalid=True)


@pytest.mark.parametrize("broken", [False, True])
def test_encoded_table_is_shared_with_training_if_all_rows_are_valid(
    configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(table_cache, "MIN_BYTES", 0)
    dataset = write_table(tmp_path / "a.csv", {"x": range(40), "y": ["a", "b"] * 20})
    if broken:
        with (tmp_path / "a.csv").open("a") as file:
            file.write("1,a,2\n")
    config = configure(dataset=dataset, test=0)
    assert build_data(config, skip_invalid=True).skipped == ({"train": 1} if broken else {})
    if broken:
        with pytest.raises(TfloopError, match=r"a.csv:42: split `train`: the row has 3 cell"):
            build_data(config)
    else:
        monkeypatch.setattr(table, "build_splits", None)  # not read again
        assert build_data(config).examples("train") == 40
