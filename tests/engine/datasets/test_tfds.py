"""Datasets that TFDS has prepared: reading in memory and by random access, downloads, and errors."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tfds_builders

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data, Dataset, build_data
from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.choosing import SplitRules
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.datasets import tfds as tfds_module
from tfloop_cli.engine.datasets.tfds import tfds_dataset
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

FORMATS = ("tfrecord", "array_record")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One data_dir per file format, with every builder in it."""
    return {name: tfds_builders.prepare_all(tmp_path_factory.mktemp(name), name) for name in FORMATS}


@pytest.fixture
def copied(folders, tmp_path, request) -> tuple[Path, Path]:
    """A data_dir with a copy of TinyImages in the format of the parameter, and the file of its training split."""
    shutil.copytree(folders[request.param] / "tiny_images", tmp_path / "tiny_images")
    (file,) = tmp_path.glob("tiny_images/1.0.0/*-train.*")
    return tmp_path, file


def build(builder: str, data_dir: Path, **arguments) -> Dataset:
    return tfds_dataset(builder=builder, data_dir=str(data_dir), **arguments)


def build_error(builder: str, data_dir: Path | str, **arguments) -> TfloopError:
    """Returns the error of building the dataset; asserts that it has one problem."""
    with pytest.raises(TfloopError) as caught:
        build(builder, data_dir, **arguments)
    assert len(caught.value.problems) == 1
    return caught.value


def config(**keys) -> Config:
    return Config(dataset="tfds", model="linear", batch_size=16, **keys)


def batches(data: Data, steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(data.batches(0, steps).as_numpy_iterator())


@pytest.mark.parametrize("file_format", FORMATS)
def test_examples_are_read_as_written_in_order(folders, file_format):
    dataset = build("tiny_images", folders[file_format])
    spec = dataset.spec
    assert (spec.input_shape, spec.input_dtype, spec.target_shape) == ((8, 8, 3), "uint8", ())
    assert spec.class_names == tfds_builders.CLASSES
    assert set(dataset.splits) == {"train", "validation", "test"}
    for split, source in dataset.splits.items():
        images, labels = tfds_builders.images(split)
        np.testing.assert_array_equal(source.inputs, images)
        np.testing.assert_array_equal(source.targets, labels)
        assert source.targets.dtype == tf.int32


def test_fingerprint_and_spec_do_not_depend_on_format_or_in_memory(folders):
    same = [build("tiny_images", folders[file_format]) for file_format in FORMATS]
    same.append(build("tiny_images", folders["array_record"], in_memory="never"))
    assert len({dataset.fingerprint for dataset in same}) == 1
    assert len({repr(dataset.spec) for dataset in same}) == 1
    other = build("tiny_images", folders["tfrecord"], target="weight")
    assert other.fingerprint != same[0].fingerprint


@pytest.mark.parametrize("augment", [(), ("flip",)])
def test_batches_by_random_access_equal_batches_in_memory(folders, augment):
    in_memory, random_access = (
        Data(build("tiny_images", folders["array_record"], in_memory=setting), config(augment=augment))
        for setting in ("always", "never")
    )
    steps = 3 * in_memory.steps_per_epoch
    pairs = list(zip(batches(in_memory, steps), batches(random_access, steps), strict=True))
    assert len(pairs) == 12
    for (expected_inputs, expected_targets), (inputs, targets) in pairs:
        np.testing.assert_array_equal(inputs, expected_inputs)
        np.testing.assert_array_equal(targets, expected_targets)
    assert random_access.batches(0, 1).element_spec == in_memory.batches(0, 1).element_spec
    for split in ("validation", "test"):
        for expected, batch in zip(in_memory.evaluation(split), random_access.evaluation(split), strict=True):
            np.testing.assert_array_equal(batch[0], expected[0])


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_numeric_features_are_read_by_name(folders, in_memory):
    dataset = build("tiny_vectors", folders["array_record"], input="numbers", target="targets", in_memory=in_memory)
    assert (dataset.spec.input_shape, dataset.spec.target_shape, dataset.spec.classes) == ((5,), (2,), 0)
    inputs, targets = dataset.splits["test"].gather(tf.range(10, dtype=tf.int64))
    expected_inputs, expected_targets = tfds_builders.vectors(10)
    np.testing.assert_array_equal(inputs, expected_inputs)
    np.testing.assert_array_equal(targets, expected_targets)


def test_integer_target_that_is_not_a_class_label_is_numeric(folders):
    dataset = build("tiny_images", folders["tfrecord"], target="weight")
    assert dataset.spec.classes == 0
    np.testing.assert_array_equal(dataset.splits["train"].targets, np.arange(60, dtype=np.float32))


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_images_of_different_shapes_are_resized(folders, in_memory):
    dataset = build("tiny_photos", folders["array_record"], size=(4, 5), splits=["train"], in_memory=in_memory)
    inputs, labels = dataset.splits["train"].gather(tf.range(10, dtype=tf.int64))
    np.testing.assert_array_equal(inputs, np.broadcast_to(np.arange(10)[:, None, None, None], (10, 4, 5, 3)))
    assert inputs.dtype == tf.uint8
    np.testing.assert_array_equal(labels, np.arange(10) % 3)


def test_undeclared_shape_is_read_from_the_files(folders):
    dataset = build("tiny_photos/same:1.0.0", folders["tfrecord"], splits=["train"])
    assert dataset.spec.input_shape == (6, 6, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        ({"builder": "tiny_vectors"}, 2, ["which feature is the input", "`numbers` (Tensor float32[5])", "(Text)"]),
        ({"builder": "tiny_images", "input": "picture"}, 2, ["`picture`", "`image` (Image uint8[8, 8, 3])"]),
        ({"builder": "tiny_images", "target": "class"}, 2, ["`class`", "`label` (ClassLabel"]),
        ({"builder": "tiny_images", "splits": ["dev"]}, 2, ["`dev`", "train, validation, test"]),
        ({"builder": "tiny_vectors", "input": "numbers", "target": "targets", "size": (2, 2)}, 2, ["`numbers`"]),
        ({"builder": "unknown_builder"}, 2, ["`unknown_builder`"]),
        ({"builder": "no name"}, 2, ["`no name`", "mnist"]),
        ({"builder": "tiny_vectors", "input": "numbers", "target": "text"}, 4, ["`text` (Text)", "images, texts"]),
        ({"builder": "tiny_images", "splits": ["train[:9]", "train[9:]"]}, 2, ["called `train`", "test: 'train[9:]'"]),
        ({"builder": "tiny_images", "splits": ["train[:0]"]}, 4, ["the split `train[:0]` is empty"]),
        ({"builder": "tiny_photos", "input": "label", "target": "image"}, 4, ["`image` (Image uint8[?, ?, 3])"]),
        ({"builder": "tiny_photos"}, 4, ["`train`", "6x6x3", "7x6x3", "example 1", "dataset.size"]),
        ({"builder": "tiny_photos/same", "splits": ["train", "test"]}, 4, ["`test`", "example 0 has label -1"]),
        ({"builder": "tiny_images", "in_memory": "never"}, 4, ["tfrecord", "array_record", "in_memory=always"]),
    ],
)  # fmt: skip
def test_unsupported_arguments_are_an_error(folders, arguments, code, parts):
    error = build_error(data_dir=folders["tfrecord"], **arguments)
    assert error.code == code
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("in_memory", ["auto", "never"])
def test_slices_are_splits(folders, file_format, in_memory):
    if (file_format, in_memory) == ("tfrecord", "never"):
        return  # no random access
    wanted = {"train": "train[10:40]", "test": "train[40:]", "validation": "validation+test"}
    dataset = build("tiny_images", folders[file_format], splits=wanted, in_memory=in_memory)
    images, labels = tfds_builders.images("train")
    assert {name: len(source) for name, source in dataset.splits.items()} == {
        "train": 30, "test": 20, "validation": 32,
    }  # fmt: skip
    for split, start, count in (("train", 10, 30), ("test", 40, 20)):
        inputs, targets = dataset.splits[split].gather(tf.range(count, dtype=tf.int64))
        np.testing.assert_array_equal(inputs, images[start : start + count])
        np.testing.assert_array_equal(targets, labels[start : start + count])
    listed = build("tiny_images", folders[file_format], splits=["train[:50%]", "test"], in_memory=in_memory)
    assert {name: len(source) for name, source in listed.splits.items()} == {"train": 30, "test": 20}
    whole = build("tiny_images", folders[file_format], splits=["train", "test"], in_memory=in_memory)
    assert len({one.fingerprint for one in (dataset, listed, whole)}) == 3


def test_splits_with_common_examples_are_named(folders, capfd):
    build("tiny_images", folders["tfrecord"], splits={"train": "train[:50]", "test": "train[40:]"})
    assert "the splits `train` and `test` of tiny_images/1.0.0 have 10 examples in common" in capfd.readouterr().err
    build("tiny_images", folders["tfrecord"], splits={"train": "train[:40]", "test": "train[40:]"})
    assert "in common" not in capfd.readouterr().err


def test_damaged_record_of_a_slice_is_skipped(folders, tmp_path):
    shutil.copytree(folders["tfrecord"] / "tiny_images", tmp_path / "tiny_images")
    (file,) = tmp_path.glob("tiny_images/1.0.0/*-train.*")
    content = bytearray(file.read_bytes())
    length = len(content) // 60
    content[20 * length + 40] ^= 255
    file.write_bytes(content)
    with collect_invalid_examples(skip=True) as found:
        dataset = build("tiny_images", tmp_path, splits={"train": "train[10:40]"})
    assert found.counts == {"train": 1}
    valid = [one for one in range(10, 40) if one not in (20,)]
    with collect_invalid_examples(skip=True):
        whole = build("tiny_images", tmp_path, splits=["train"])
    assert len(whole.splits["train"]) == 59
    inputs = dataset.splits["train"].inputs.numpy()
    images, _ = tfds_builders.images("train")
    assert len(inputs) == len(valid)
    np.testing.assert_array_equal(inputs[[0, -1]], images[[10, 39]])


def test_nested_features_and_texts(folders, capfd):
    dataset = build("tiny_reviews", folders["tfrecord"], input="review.title", target="rating.kind")
    assert list(dataset.splits) == ["train"]  # the labels of `test` are -1
    assert "note: the split `test` of tiny_reviews/1.0.0 is not used: its labels are -1" in capfd.readouterr().err
    assert set(dataset.spec.inputs) == {"ids", "weights"}
    assert (dataset.spec.class_names, dataset.encoders.text) == (("bad", "good"), "review.title")
    ids = build("tiny_reviews", folders["array_record"], input="review.title", target="rating.kind", features="ids")
    words = ids.encoders.words
    inputs, labels = ids.splits["train"].gather(tf.constant([1, 2], tf.int64))
    assert [words[one - 2] for one in inputs[:, 0]] == ["café", "शोर"]
    assert labels.numpy().tolist() == [1, 0]
    numbers = build("tiny_reviews", folders["tfrecord"], input="review.stars", target="rating.value")
    assert numbers.splits["train"].targets[:3].numpy().tolist() == [0, 0.5, 1]
    numbers = build("tiny_reviews", folders["tfrecord"], input="review.title", target="rating.value")
    assert numbers.splits["train"].all_targets[:3].numpy().tolist() == [0, 0.5, 1]
    assert (set(numbers.spec.inputs), numbers.spec.class_names) == ({"ids", "weights"}, ())
    error = build_error("tiny_reviews", folders["tfrecord"], input="review", target="rating.kind")
    assert "`review.title` (Text)" in str(error)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFLOOP_CACHE_GIB", raising=False)


def split_data(builder: str, folder: Path, keys: dict, **arguments) -> tuple[Data, Dataset]:
    """Returns the splits of a run that holds examples out by a feature."""
    run = config(**{"test": 0, "validation": 6} | keys)
    with use_context(BuildContext(rules=SplitRules.of(run))):
        dataset = build(builder, folder, **arguments)
        return Data(dataset, run), dataset


@pytest.mark.parametrize(
    ("file_format", "in_memory"), [("tfrecord", "always"), ("array_record", "never")], ids=["memory", "disk"]
)
def test_examples_are_held_out_by_a_feature(folders, cache, capfd, file_format, in_memory):
    arguments = {"folder": folders[file_format], "in_memory": in_memory}
    splits = {"splits": ["train", "test"]}  # the latest of the training split only
    data, _ = split_data("tiny_images", keys={"split_by": "weight"}, **splits, **arguments)
    assert data.split("validation")[1].tolist() == list(range(54, 60))
    assert "reading `weight` of 60 train examples" in capfd.readouterr().err
    split_data("tiny_images", keys={"split_by": "weight"}, **splits, **arguments)
    assert "reading" not in capfd.readouterr().err  # but the cache
    data, _ = split_data("tiny_images", keys={"group": "label"}, splits={"train": "train[10:]"}, **arguments)
    labels = tfds_builders.images("train")[1][10:]
    assert set(labels[data.split("validation")[1]]).isdisjoint(labels[data.split("train")[1]])
    data, _ = split_data(
        "tiny_images", keys={"group": "weight", "test": "auto", "validation": 0}, **splits, **arguments
    )
    assert data.run_splits.warnings == ["test: 20 groups of `weight` are in train too"]


def test_texts_are_held_out_by_a_nested_feature(folders, cache):
    held_out = []
    for keys in ({"split_by": "review.stars"}, {"split_by": "rating.value"}, {"group": "review.title"}) * 2:
        arguments = {"input": "review.title", "target": "rating.kind"}
        data, dataset = split_data("tiny_reviews", folders["tfrecord"], keys, **arguments)
        held_out.append(data.split("validation")[1].tolist())
    assert held_out[:2] == [list(range(14, 20))] * 2
    assert held_out[:3] == held_out[3:]  # with values from the cache
    assert dataset.columns["review.title"]["train"][:2].tolist() == ["शोर 0", "café 1"]
    own = {"name": "tiny_reviews", "data_dir": str(folders["tfrecord"])} | arguments
    run = Config(dataset=own, model="linear", batch_size=16, test=0, validation=6, group="review.title")
    evaluated = build_data(run, encoders=dataset.encoders.to_json(), split="validation")
    assert evaluated.split("validation")[1].tolist() == held_out[2]


@pytest.mark.parametrize(
    ("builder", "keys", "parts"),
    [
        ("tiny_images", {"group": "wieght"}, ["`group: wieght`: tiny_images/1.0.0 has no", "did you mean `weight`?"]),
        ("tiny_images", {"split_by": "day"}, ["the features that can be used are", "`label`"]),
        ("tiny_images", {"group": "image"}, ["`image` (Image uint8[8, 8, 3]) of", "is not one number or text"]),
    ],
)
def test_feature_that_cannot_hold_out_is_an_error(folders, builder, keys, parts):
    with pytest.raises(TfloopError) as caught:
        split_data(builder, folders["tfrecord"], keys)
    assert caught.value.code == ExitCode.USAGE
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("copied", ["tfrecord"], indirect=True)
def test_feature_of_a_damaged_record_is_skipped_with_it(copied, cache):
    folder, file = copied
    content = bytearray(file.read_bytes())
    content[len(content) // 60 * 20 + 40] ^= 255
    file.write_bytes(content)
    with collect_invalid_examples(skip=True) as found:
        _, dataset = split_data("tiny_images", folder, {"split_by": "weight"})
    assert found.counts == {"train": 1}
    assert dataset.columns["weight"]["train"].tolist() == [one for one in range(60) if one != 20]


def test_dataset_larger_than_memory_requires_random_access(folders, monkeypatch):
    needed = 4 * 92 * 196  # auto uses at most a quarter of the free memory; 92 examples of 196 bytes
    monkeypatch.setattr(tfds_module, "_free_memory", lambda: needed - 1)
    error = build_error("tiny_images", folders["tfrecord"])
    assert error.code == ExitCode.DATA
    assert "in_memory: auto" in str(error)
    assert hasattr(build("tiny_images", folders["array_record"]).splits["train"], "failure")
    error = build_error("tiny_photos/same", folders["array_record"], in_memory="never", splits=["test"])
    assert "dataset.size" in str(error)
    monkeypatch.setattr(tfds_module, "_free_memory", lambda: needed)
    assert hasattr(build("tiny_images", folders["tfrecord"]).splits["train"], "inputs")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_bytes(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for position in range(500, len(content), 97):
        content[position] ^= 0xFF
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_bytes, empty, Path.unlink])
@pytest.mark.parametrize(
    ("copied", "in_memory"),
    [("tfrecord", "always"), ("array_record", "always"), ("array_record", "never")],
    indirect=["copied"],
)
def test_damaged_file_error_contains_split_and_path(copied, in_memory, damage):
    folder, file = copied
    damage(file)
    error = build_error("tiny_images", folder, in_memory=in_memory)
    assert error.code == ExitCode.DATA
    assert f"split `train`: {file} cannot be read" in str(error)


@pytest.mark.parametrize("copied", ["tfrecord"], indirect=True)
def test_file_truncated_between_records_is_an_error(copied):
    folder, file = copied
    records = list(tf.data.TFRecordDataset(str(file)).take(31).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    error = build_error("tiny_images", folder)
    assert error.code == ExitCode.DATA
    assert "31 of its 60 examples" in str(error)


@pytest.mark.parametrize("copied", ["array_record"], indirect=True)
def test_file_damaged_during_training_error_contains_split_and_path(copied):
    folder, file = copied
    data = Data(build("tiny_images", folder, in_memory="never"), config())
    truncate(file)
    with pytest.raises(TfloopError) as caught, data.explain_errors():
        batches(data, 4)
    assert caught.value.code == ExitCode.DATA
    assert f"split `train`: {file} cannot be read" in str(caught.value)


def test_label_out_of_range_error_is_raised_during_evaluation(folders):
    own = build("tiny_photos/same", folders["array_record"], in_memory="never", size=(6, 6), splits=["train", "test"])
    data = Data(own, config())
    assert len(batches(data, 1)) == 1
    with pytest.raises(TfloopError, match="split `test`: example 0 has label -1") as caught, data.explain_errors():
        list(data.evaluation("test"))
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize("copied", ["tfrecord"], indirect=True)
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_metadata_file_is_an_error(copied, name):
    folder, _ = copied
    truncate(folder / "tiny_images" / "1.0.0" / name)
    error = build_error("tiny_images", folder)
    assert error.code == ExitCode.DATA
    assert str(folder) in str(error)


@pytest.mark.parametrize("copied", ["tfrecord"], indirect=True)
def test_empty_split_is_an_error(copied):
    folder, _ = copied
    info = folder / "tiny_images" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"60"', '"0"'))
    error = build_error("tiny_images", folder)
    assert error.code == ExitCode.DATA
    assert "`train` is empty" in str(error)


def test_prepared_dataset_without_installed_builder_is_read(folders, tmp_path):
    target = tmp_path / "not_installed" / "2.0.0"
    target.mkdir(parents=True)
    for file in (folders["array_record"] / "tiny_images" / "1.0.0").iterdir():
        shutil.copy(file, target / file.name.replace("tiny_images", "not_installed"))
    info = target / "dataset_info.json"
    info.write_text(info.read_text().replace('"tiny_images"', '"not_installed"').replace('"1.0.0"', '"2.0.0"'))
    dataset = datasets.build(Component("not_installed:2.0.0", {"data_dir": str(tmp_path)}))
    np.testing.assert_array_equal(dataset.splits["train"].inputs, tfds_builders.images("train")[0])


@pytest.fixture
def network_attempts(monkeypatch) -> list:
    """Disables the network; returns the arguments of every attempt to connect."""
    attempts: list = []

    def refuse(*arguments, **_) -> None:
        attempts.append(arguments)
        raise OSError("Network is unreachable")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


def test_offline_reads_prepared_datasets_and_never_connects(folders, tmp_path, monkeypatch, network_attempts):
    monkeypatch.setenv("TFLOOP_OFFLINE", "1")
    for name in ("cifar10", "tiny_images", "huggingface:mnist"):
        error = build_error(name, tmp_path)
        assert error.code == ExitCode.DATA
        for part in (f"`{name}`", str(tmp_path), "--offline", "--set dataset.data_dir="):
            assert part in str(error)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("TFDS_DATA_DIR", str(folders["tfrecord"]))
    assert len(tfds_dataset(builder="tiny_images").splits["train"]) == 60
    assert build_error("cifar10", "gs://tfds-data/datasets").code == ExitCode.USAGE
    assert not network_attempts


def test_download_without_network_is_an_error_within_seconds(tmp_path, network_attempts, capfd):
    started = time.monotonic()
    error = build_error("cifar10", tmp_path)
    assert time.monotonic() - started < 20
    assert error.code == ExitCode.DATA
    for part in ("`cifar10`", str(tmp_path), "ConnectionError", "cs.toronto.edu", "--set dataset.data_dir="):
        assert part in str(error)
    assert network_attempts
    assert "\n" not in error.problems[0].message
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "Retrying" not in printed.err


def test_download_with_wrong_checksum_is_an_error(tmp_path, monkeypatch):
    file = tmp_path / "numbers.bin"
    file.write_bytes(b"0123456789")
    monkeypatch.setattr(tfds_builders.TinyDownload, "url", str(file))
    wrong = tfds.download.checksums.UrlInfo(size=10, checksum="0" * 64, filename=None)
    monkeypatch.setattr(tfds_builders.TinyDownload, "url_infos", {str(file): wrong})
    error = build_error("tiny_download", tmp_path / "data")
    assert error.code == ExitCode.DATA
    assert "NonMatchingChecksumError" in str(error)

    # TFDS caches checksums per URL in the process, so the second attempt uses another file.
    monkeypatch.setattr(tfds_builders.TinyDownload, "url", str(shutil.copy(file, tmp_path / "others.bin")))
    dataset = build("tiny_download", tmp_path / "data")
    np.testing.assert_array_equal(dataset.splits["train"].targets, 2.0 * np.arange(10))


def test_in_memory_never_prepares_array_record_files(tmp_path, capfd):
    dataset = build("tiny_images", tmp_path, in_memory="never")
    assert len(dataset.splits["train"]) == 60
    assert list(tmp_path.glob("tiny_images/1.0.0/*.array_record*"))
    assert capfd.readouterr().out == ""  # stdout is for results


def test_two_processes_prepare_a_dataset_once(tmp_path):
    release = tmp_path / "release"  # the process that prepares the dataset waits for this file
    environment = {**os.environ, "TINY_WAIT_FOR": str(release)}
    logs = [tmp_path / "first", tmp_path / "second"]

    def start(log: Path) -> subprocess.Popen:
        command = [sys.executable, tfds_builders.__file__, str(tmp_path / "data")]
        with log.open("w") as stderr:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)

    def contain(text: str) -> list[bool]:
        return [text in log.read_text() for log in logs]

    processes = [start(log) for log in logs]
    deadline = time.monotonic() + 100
    while not any(contain("waiting for it")) and time.monotonic() < deadline:
        time.sleep(0.05)
    release.touch()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [log.read_text() for log in logs]
    assert outputs[0] == outputs[1] != ""
    waited = contain("waiting for it")
    assert sorted(waited) == [False, True]
    assert contain("Downloading and preparing") == [not process_waited for process_waited in waited]


@pytest.mark.parametrize(("file_format", "in_memory"), [("tfrecord", "auto"), ("array_record", "never")])
def test_epoch_of_training_uses_all_examples(folders, file_format, in_memory):
    data = Data(build("tiny_images", folders[file_format], in_memory=in_memory), config())
    weights = tf.Variable(tf.zeros([8 * 8 * 3, 3]))
    examples = 0
    for images, labels in data.batches(0, data.steps_per_epoch):
        with tf.GradientTape() as tape:
            logits = tf.reshape(images, [len(images), -1]) @ weights
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        weights.assign_sub(0.01 * tape.gradient(loss, weights))
        examples += len(images)
    assert examples == 60
    assert np.isfinite(weights).all()
    assert np.any(weights)


def test_shipped_mnist_does_not_import_tfds():
    code = (
        "import sys; from tfloop_cli.registry import Component, datasets; datasets.build(Component('mnist')); "
        "sys.exit('tensorflow_datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
