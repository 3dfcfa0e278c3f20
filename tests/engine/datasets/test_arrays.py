"""The dataset `arrays`: names in .npz and .npy files, classes, weights, mapped files, and errors."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Dataset
from tfloop_cli.engine.data.array_files import find_arrays
from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.choosing import SplitRules
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.datasets import arrays as arrays_module
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

X, XT = np.arange(24, dtype=np.float32).reshape(6, 4), -np.arange(8, dtype=np.float32).reshape(2, 4)
Y, YT = np.array([0, 1, 2, 0, 1, 2]), np.array([2, 0])


def build(path: Path, **arguments: object) -> Dataset:
    return datasets.build(Component("arrays", {"path": str(path), **arguments}))


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def error_of(path: Path, **arguments: object) -> str:
    with pytest.raises(TfloopError) as caught:
        build(path, **arguments)
    assert caught.value.code == ExitCode.DATA
    return str(caught.value)


def batch(dataset: Dataset, split: str, *indices: int) -> list[np.ndarray]:
    return [one.numpy() for one in dataset.splits[split].gather(tf.constant(indices, tf.int64))]


@pytest.mark.parametrize("in_memory", ["auto", "never"])
@pytest.mark.parametrize("kind", ["npz", "compressed", "npy"])
def test_splits_are_read_by_name(tmp_path: Path, kind: str, in_memory: str) -> None:
    found = {"x_train": X, "y_train": Y, "x_val": X[:1], "y_val": Y[:1], "x_test": XT, "y_test": YT, "w_train": Y / 2}
    path = tmp_path / "a.npz"
    if kind == "npy":
        path = tmp_path
        for name, one in found.items():
            np.save(tmp_path / f"{name}.npy", one)
    else:
        (np.savez if kind == "npz" else np.savez_compressed)(path, **found)
    dataset = build(path, in_memory=in_memory)
    assert (dataset.spec.input_shape, dataset.spec.input_dtype) == ((4,), "float32")
    assert dataset.spec.class_names == ("0", "1", "2")
    inputs, targets, weights = batch(dataset, "train", 5, 1)
    assert (inputs.tolist(), targets.tolist(), weights.tolist()) == (X[[5, 1]].tolist(), [2, 1], [1.0, 0.5])
    inputs, targets = batch(dataset, "test", 1)
    assert (inputs.tolist(), targets.tolist()) == (XT[[1]].tolist(), [0])
    assert len(dataset.splits["validation"]) == 1
    stored = find_arrays(path)["x_train"]
    assert isinstance(stored.map(), np.memmap) == (kind != "compressed")
    assert stored.map().tolist() == X.tolist()


def test_names_are_arguments_and_one_pair_is_the_training_split(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", images=X, digits=Y, test_images=XT, test_digits=YT, train_images=X, train_digits=Y)
    assert list(build(path, input="images", target="digits").splits) == ["train"]
    named = build(path, input="{split}_images", target="{split}_digits")
    assert [len(source) for source in named.splits.values()] == [6, 2]
    assert list(build(save(tmp_path / "b.npz", x=X, y=Y)).splits) == ["train"]


def test_training_is_equal_in_memory_and_mapped(tmp_path: Path, trainer, assert_bitwise_equal) -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((40, 4), np.float32), random.integers(0, 3, 40)
    path = save(tmp_path / "a.npz", x_train=x, y_train=y)
    runs = [trainer(dataset={"name": "arrays", "path": str(path), "in_memory": how}) for how in ("always", "never")]
    for run in runs:
        run.fit()
    assert_bitwise_equal(runs[0].everything(), runs[1].everything())
    assert runs[0].data.fingerprint == runs[1].data.fingerprint


def test_classes_are_the_distinct_targets_of_training(tmp_path: Path) -> None:
    words = build(
        save(
            tmp_path / "a.npz",
            x_train=X,
            y_train=np.array(list("bababa")),
            x_test=XT,
            y_test=np.array(["bb", "a"])[[1, 1]],
        )
    )
    assert words.spec.class_names == ("a", "b")
    assert batch(words, "train", 0, 1)[1].tolist() == [1, 0]
    signs = build(save(tmp_path / "b.npz", x_train=X, y_train=np.array([[-1], [1], [1], [-1], [1], [1]])))
    assert (signs.spec.class_names, signs.spec.target_shape) == (("-1", "1"), (1,))
    assert batch(signs, "train", 0, 1)[1].tolist() == [[0], [1]]
    with use_context(BuildContext(numbers=True)):
        assert build(tmp_path / "b.npz").spec.classes == 0
    assert build(save(tmp_path / "c.npz", x_train=X, y_train=X[:, :2])).spec.target_shape == (2,)
    swapped = build(save(tmp_path / "d.npz", x_train=X.astype(">f4"), y_train=Y.astype(">i8")), in_memory="never")
    assert batch(swapped, "train", 1)[0].tolist() == X[[1]].tolist()


def test_unknown_class_is_an_error_or_skipped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=XT, y_test=np.array([2, 7]))
    assert "a.npz: `y_test`: split `test`: the target of row 1 is `7`, which does not occur" in error_of(path)
    with collect_invalid_examples(skip=True) as found:
        dataset = build(path, in_memory="never")
    assert (found.counts, len(dataset.splits["test"])) == ({"test": 1}, 1)
    assert batch(dataset, "test", 0)[0].tolist() == XT[:1].tolist()


def test_many_whole_numbers_are_numbers_if_the_data_decides(tmp_path: Path) -> None:
    ages, ids = np.arange(200) % 60 + 18, np.arange(200) % 40
    path, counted = (save(tmp_path / f"{len(y)}{y[0]}.npz", x=np.zeros((200, 1), np.float32), y=y) for y in (ages, ids))
    with use_context(BuildContext(decides=True)):
        dataset = build(path)
        assert (dataset.spec.classes, batch(dataset, "train", 1)[1].tolist()) == (0, [19.0])
        assert "60 whole numbers in 200 rows are too many" in dataset.encoders.notes[0]
        assert build(counted).spec.classes == 40
        assert build(save(tmp_path / "few.npz", x=X, y=Y * 5)).spec.classes == 3
    assert build(path).spec.classes == 60  # with `task: classification`


def test_capital_names_and_splits_without_targets(tmp_path: Path) -> None:
    dataset = build(save(tmp_path / "a.npz", X_train=X, y_train=Y, X_test=XT))
    assert list(dataset.splits) == ["train"]
    assert "a.npz: `X_test`, since there is no array `y_test`" in dataset.encoders.notes[-1]
    assert list(build(save(tmp_path / "b.npz", X=X, y=Y)).splits) == ["train"]
    path = save(tmp_path / "c.npz", x_train=X, y_train=Y, x_test=XT)
    assert "there is no array `y_test`" in error_of(path, target="y_{split}")


def test_words_that_are_whole_numbers_are_in_their_order(tmp_path: Path) -> None:
    words = build(save(tmp_path / "a.npz", x_train=X, y_train=np.array(["10", "9", "9", "-1", "10", "9"])))
    assert words.spec.class_names == ("-1", "9", "10")
    assert batch(words, "train", 0, 1, 3)[1].tolist() == [2, 1, 0]


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_other_arrays_are_read_as_those_of_the_run(tmp_path: Path, in_memory: str) -> None:
    trained = build(save(tmp_path / "a.npz", x_train=X, y_train=Y * 5 + 5, x_test=XT, y_test=YT * 5 + 5))
    document = json.loads(json.dumps(trained.encoders.to_json()))
    other = save(tmp_path / "b.npz", x=XT.astype(np.float64), y=np.array([15, 5]))
    with use_context(BuildContext(encoders=document, data=other)):
        dataset = build(tmp_path / "gone.npz", in_memory=in_memory)
    assert (list(dataset.splits), dataset.spec.class_names) == (["data"], ("5", "10", "15"))
    assert batch(dataset, "data", 0, 1)[1].tolist() == [2, 0]
    assert dataset.encoders.notes == (f"data: {other}: `x` and {other}: `y`",)
    with use_context(BuildContext(encoders=document, split="test")):
        assert list(build(tmp_path / "a.npz").splits) == ["test"]
    wrong = {"x": XT[:, :3], "y": YT}, {"x": XT.astype(np.uint8), "y": YT}, {"x": XT, "y": np.array([5, 7])}
    for number, arrays_of in enumerate(wrong):
        other = save(tmp_path / f"wrong{number}.npz", **arrays_of)
        with use_context(BuildContext(encoders=document, data=other)), pytest.raises(TfloopError) as caught:
            build(tmp_path / "gone.npz")
        assert ("the run was trained on float32[4]", "which does not occur in training")[number == 2] in str(
            caught.value
        )


def test_targets_of_other_arrays_are_what_they_were_in_training(tmp_path: Path) -> None:
    one_hot, numbers = np.eye(3, dtype=np.float32)[Y], np.float32(X[:, :3])
    for name, targets, classes in (("a", one_hot, 3), ("b", numbers, 0)):
        trained = build(save(tmp_path / f"{name}.npz", x_train=X, y_train=targets))
        other = save(tmp_path / f"{name}-other.npz", x_test=XT[:1], y_test=one_hot[:1])
        with use_context(BuildContext(encoders=trained.encoders.to_json(), data=other)):
            assert build(tmp_path).spec == trained.spec
        assert trained.spec.classes == classes


def test_arrays_of_the_file_are_columns_to_split_by(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=X, y_train=Y, patient_train=Y + 7, x_test=XT, y_test=YT, patient_test=YT)
    with use_context(BuildContext(rules=SplitRules(group="patient"))):
        columns = build(path).columns
    assert {split: one.tolist() for split, one in columns["patient"].items()} == {
        "train": [7, 8, 9, 7, 8, 9],
        "test": [2, 0],
    }


def test_unknown_column_names_the_arrays(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=X, y_train=Y, patient_train=Y)
    with use_context(BuildContext(rules=SplitRules(group="pateint"))), pytest.raises(TfloopError) as caught:
        build(path)
    assert "`group: pateint`: there is no array `pateint` or `pateint_train`" in str(caught.value)
    assert "did you mean `patient`?" in str(caught.value)
    with use_context(BuildContext(rules=SplitRules(group="site"))), pytest.raises(TfloopError, match="the arrays are"):
        build(path)


def test_fingerprint_depends_on_the_values(tmp_path: Path, monkeypatch) -> None:
    changed = X.copy()
    changed[3, 2] += 1
    for limit in (2**29, 64):
        monkeypatch.setattr(arrays_module, "MAX_HASHED", limit)
        first, same, other = (
            build(save(tmp_path / "a.npz", x_train=x, y_train=Y)).fingerprint for x in (X, X, changed)
        )
        assert first == same != other


@pytest.mark.parametrize(
    ("found", "arguments", "message"),
    [
        ({"x_train": X}, {}, "a.npz: there is no array `y_train`\n  did you mean `x_train`?"),
        ({"a": X}, {}, "a.npz: there is no array `x_train`\n  the arrays are `a`"),
        ({"x_train": X, "y_train": Y}, {"target": "labels"}, "a.npz: there is no array `labels`"),
        ({"x_train": X, "y_train": Y[:5]}, {}, "a.npz: `y_train`: it has 5 rows, and"),
        ({"x_train": X, "y_train": Y, "x_test": XT[:, :3], "y_test": YT}, {}, "`x_test`: its rows are float32[3], and"),
        ({"x_train": X, "y_train": np.array([None] * 6)}, {}, "a.npz: `y_train`: it has Python objects"),
        (
            {"x_train": X.astype(str), "y_train": Y},
            {},
            "a.npz: `x_train`: its dtype is <U32, and inputs must be numbers",
        ),
        ({"x_train": np.float32(1), "y_train": Y}, {}, "a.npz: `x_train`: it is a single value"),
        ({}, {}, "a.npz: there are no arrays in it"),
    ],
)
def test_error_names_file_and_key(tmp_path: Path, found: dict, arguments: dict, message: str) -> None:
    assert message in error_of(save(tmp_path / "a.npz", **found), **arguments)


def test_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=X, y_train=Y)
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    assert "a.npz: it cannot be read" in error_of(path)
    np.save(tmp_path / "x_train.npy", X)
    np.save(tmp_path / "y_train.npy", Y)
    (tmp_path / "x_train.npy").write_bytes((tmp_path / "x_train.npy").read_bytes()[:-4])
    for in_memory in ("always", "never"):
        assert "x_train.npy: it cannot be read" in error_of(tmp_path, in_memory=in_memory)
    assert "missing.npz: it cannot be read: No such file" in error_of(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["X_train", "Y_train", "X_test", "Y_test"], ["train", "test"]),
        (["train_images", "train_labels", "val_images", "val_labels"], ["train", "validation"]),
        (["images", "labels"], ["train"]),
        (["data", "target"], ["train"]),
        (["trainX", "trainY", "testX", "testY"], ["train", "test"]),
        (["train_set_x", "train_set_y"], ["train"]),
        (["features", "labels", "ids"], ["train"]),
    ],
)
def test_other_spellings_of_names_are_known(tmp_path: Path, names: list[str], splits: list[str]) -> None:
    dataset = build(save(tmp_path / "a.npz", **dict(zip(names, [X, Y, XT, YT], strict=False))))
    assert list(dataset.splits) == splits
    assert batch(dataset, "train", 1)[0].tolist() == X[1:2].tolist()
    (note,) = dataset.encoders.notes
    assert note.endswith(f"`{names[0]}` (key `input`), targets: {tmp_path / 'a.npz'}: `{names[1]}` (key `target`)")


def test_two_arrays_without_names_are_inputs_and_targets(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X, Y)
    assert batch(build(tmp_path / "a.npz"), "train", 5)[1].tolist() == [2]


def test_names_that_are_not_clear_are_an_error_with_the_keys(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", data=X, images=X, target=Y)
    assert "`--set dataset.input=data --set dataset.target=target`" in error_of(path)
    assert batch(build(path, input="images", target="target"), "train", 0)[1].tolist() == [0]


def write_idx(path: Path, array: np.ndarray, code: int = 8) -> None:
    content = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(("dash", "suffix"), [("-", ""), (".", ""), ("-", ".gz")])
def test_files_of_mnist_are_read(tmp_path: Path, dash: str, suffix: str) -> None:
    images, classes = np.arange(48, dtype=np.uint8).reshape(4, 4, 3), np.array([7, 2, 7, 2], np.uint8)
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        write_idx(folder / f"{split}-images{dash}idx3-ubyte{suffix}", images if split == "train" else images[::-1])
        write_idx(folder / f"{split}-labels{dash}idx1-ubyte{suffix}", classes)
    for in_memory in ("always", "never"):
        dataset = build(tmp_path, in_memory=in_memory)
        assert (dataset.spec.input_shape, dataset.spec.class_names) == ((4, 3), ("2", "7"))
        assert [one.tolist() for one in batch(dataset, "train", 2)] == [images[2:3].tolist(), [1]]
        assert batch(dataset, "test", 0)[0].tolist() == images[3:].tolist()


def test_idx_files_of_other_types_and_damaged_ones(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx2-ubyte", X.astype(">f4"), code=13)
    write_idx(tmp_path / "train-labels-idx1-ubyte", Y.astype(np.uint8))
    assert batch(build(tmp_path), "train", 1)[0].tolist() == X[1:2].tolist()
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"<html>")
    assert "it cannot be read: it is not in the format of MNIST" in error_of(tmp_path)
    write_idx(tmp_path / "emnist-digits-train-images-idx3-ubyte", X.astype(np.uint8))
    assert "there are several data sets in this folder: `emnist-digits`, `mnist`" in error_of(tmp_path)


def test_one_array_per_example_is_an_error(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", X)
    assert "there is one array per file, in 2 folders such as `cat`\n  save all examples as one" in error_of(tmp_path)


def test_file_that_has_no_arrays_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert "a.h5: this is an HDF5 file\n  convert it: python -c" in error_of(tmp_path / "a.h5")
