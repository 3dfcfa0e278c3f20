"""Datasets that TFDS really prepared: read whole, read by number, and every way in which they cannot be had."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tfds_builders
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.datasets import tfds as module
from tfloop_cli.engine.datasets.tfds import tfds_dataset
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

FORMATS = ("tfrecord", "array_record")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data_dir for each file format, with every builder in it."""
    return {one: tfds_builders.prepare_all(tmp_path_factory.mktemp(one), one) for one in FORMATS}


@pytest.fixture
def damaged(folders, tmp_path, request) -> tuple[Path, Path]:
    """A copy of TinyImages in the format that the test asks for, and the file of its training split."""
    shutil.copytree(folders[request.param] / "tiny_images", tmp_path / "tiny_images")
    (file,) = tmp_path.glob("tiny_images/1.0.0/*-train.*")
    return tmp_path, file


def refusal(**arguments) -> TfloopError:
    with pytest.raises(TfloopError) as caught:
        tfds_dataset(**arguments)
    assert len(caught.value.problems) == 1
    return caught.value


def config(**keys) -> Config:
    return Config(dataset="tfds", model="linear", batch_size=16, **keys)


def batches(data: Data, steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(data.batches(0, steps).as_numpy_iterator())


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_was_written_is_read_in_order(folders, file_format):
    read = tfds_dataset(builder="tiny_images", data_dir=str(folders[file_format]))
    assert (read.spec.input_shape, read.spec.input_dtype, read.spec.target_shape) == ((8, 8, 3), "uint8", ())
    assert read.spec.class_names == tfds_builders.CLASSES
    assert set(read.splits) == {"train", "validation", "test"}
    for split, source in read.splits.items():
        images, labels = tfds_builders.images(split)
        np.testing.assert_array_equal(source.inputs, images)
        np.testing.assert_array_equal(source.targets, labels)
        assert source.targets.dtype == tf.int32


def test_both_formats_and_both_ways_of_reading_are_the_same_data(folders):
    read = [tfds_dataset(builder="tiny_images", data_dir=str(folders[one])) for one in FORMATS]
    read.append(tfds_dataset(builder="tiny_images", data_dir=str(folders["array_record"]), in_memory="never"))
    assert len({one.fingerprint for one in read}) == 1
    assert len({repr(one.spec) for one in read}) == 1
    other = tfds_dataset(builder="tiny_images", data_dir=str(folders["tfrecord"]), target="weight")
    assert other.fingerprint != read[0].fingerprint


@pytest.mark.parametrize("augment", [(), ("flip",)])
def test_random_access_trains_on_the_same_bits(folders, augment):
    held, reread = (
        Data(
            tfds_dataset(builder="tiny_images", data_dir=str(folders["array_record"]), in_memory=one),
            config(augment=augment),
        )
        for one in ("always", "never")
    )
    steps = 3 * held.steps_per_epoch
    pairs = list(zip(batches(held, steps), batches(reread, steps), strict=True))
    assert len(pairs) == 12
    for (inputs, targets), (inputs_again, targets_again) in pairs:
        np.testing.assert_array_equal(inputs, inputs_again)
        np.testing.assert_array_equal(targets, targets_again)
    assert reread.batches(0, 1).element_spec == held.batches(0, 1).element_spec
    for split in ("validation", "test"):
        for whole, again in zip(held.evaluation(split), reread.evaluation(split), strict=True):
            np.testing.assert_array_equal(whole[0], again[0])


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_numbers_are_named_and_learned(folders, in_memory):
    read = tfds_dataset(
        builder="tiny_vectors",
        data_dir=str(folders["array_record"]),
        input="numbers",
        target="answers",
        in_memory=in_memory,
    )
    assert (read.spec.input_shape, read.spec.target_shape, read.spec.classes) == ((5,), (2,), 0)
    inputs, answers = read.splits["test"].gather(tf.range(10, dtype=tf.int64))
    np.testing.assert_array_equal(inputs, tfds_builders.vectors(10)[0])
    np.testing.assert_array_equal(answers, tfds_builders.vectors(10)[1])


def test_whole_numbers_are_a_regression(folders):
    read = tfds_dataset(builder="tiny_images", data_dir=str(folders["tfrecord"]), target="weight")
    assert read.spec.classes == 0
    np.testing.assert_array_equal(read.splits["train"].targets, np.arange(60, dtype=np.float32))


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_images_of_several_shapes_are_resized(folders, in_memory):
    read = tfds_dataset(
        builder="tiny_photos", data_dir=str(folders["array_record"]), size=(4, 5), splits=["train"], in_memory=in_memory
    )
    inputs, labels = read.splits["train"].gather(tf.range(10, dtype=tf.int64))
    np.testing.assert_array_equal(inputs, np.broadcast_to(np.arange(10)[:, None, None, None], (10, 4, 5, 3)))
    assert inputs.dtype == tf.uint8
    np.testing.assert_array_equal(labels, np.arange(10) % 3)


def test_a_shape_that_only_the_files_tell(folders):
    read = tfds_dataset(builder="tiny_photos/same:1.0.0", data_dir=str(folders["tfrecord"]), splits=["train"])
    assert read.spec.input_shape == (6, 6, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"builder": "tiny_vectors"}, 2, ["which feature is the input", "`numbers` (Tensor float32[5])", "(Text)"]),
        ({"builder": "tiny_images", "input": "picture"}, 2, ["`picture`", "`image` (Image uint8[8, 8, 3])"]),
        ({"builder": "tiny_images", "target": "class"}, 2, ["`class`", "`label` (ClassLabel"]),
        ({"builder": "tiny_images", "splits": ["dev"]}, 2, ["`dev`", "train, validation, test"]),
        ({"builder": "tiny_vectors", "input": "numbers", "target": "answers", "size": (2, 2)}, 2, ["`numbers`"]),
        ({"builder": "nothing_like_it"}, 2, ["`nothing_like_it`"]),
        ({"builder": "no name"}, 2, ["`no name`", "mnist"]),
        ({"builder": "tiny_vectors", "input": "text", "target": "answers"}, 4, ["`text` (Text)", "images, classes"]),
        ({"builder": "tiny_photos", "input": "label", "target": "image"}, 4, ["`image` (Image uint8[?, ?, 3])"]),
        ({"builder": "tiny_photos"}, 4, ["`train`", "6x6x3", "7x6x3", "example 1", "dataset.size"]),
        ({"builder": "tiny_photos/same"}, 4, ["`test`", "example 0 has label -1", "0 to 2", "dataset.splits"]),
        ({"builder": "tiny_images", "in_memory": "never"}, 4, ["tfrecord", "array_record", "in_memory=always"]),
    ],
)  # fmt: skip
def test_refusals(folders, arguments, code, words):
    error = refusal(data_dir=str(folders["tfrecord"]), **arguments)
    assert error.code == code
    for one in words:
        assert one in str(error)


def test_what_is_too_large_for_memory(folders, monkeypatch):
    monkeypatch.setattr(module, "_free_memory", lambda: 4 * 92 * 196 - 1)  # one byte short of 92 examples of 196
    error = refusal(builder="tiny_images", data_dir=str(folders["tfrecord"]))
    assert error.code == ExitCode.DATA
    assert "in_memory: auto" in str(error)
    assert hasattr(
        tfds_dataset(builder="tiny_images", data_dir=str(folders["array_record"])).splits["train"], "failure"
    )
    error = refusal(builder="tiny_photos/same", data_dir=str(folders["array_record"]), in_memory="never")
    assert "dataset.size" in str(error)
    monkeypatch.setattr(module, "_free_memory", lambda: 4 * 92 * 196)
    assert hasattr(tfds_dataset(builder="tiny_images", data_dir=str(folders["tfrecord"])).splits["train"], "inputs")


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_bytes(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for position in range(500, len(content), 97):
        content[position] ^= 0xFF
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("spoil", [cut_in_half, flip_bytes, empty, Path.unlink])
@pytest.mark.parametrize(
    ("damaged", "in_memory"),
    [("tfrecord", "always"), ("array_record", "always"), ("array_record", "never")],
    indirect=["damaged"],
)
def test_damaged_files_are_named(damaged, in_memory, spoil):
    folder, file = damaged
    spoil(file)
    error = refusal(builder="tiny_images", data_dir=str(folder), in_memory=in_memory)
    assert error.code == ExitCode.DATA
    assert f"split `train`: {file} cannot be read" in str(error)


@pytest.mark.parametrize("damaged", ["tfrecord"], indirect=True)
def test_a_file_that_ends_between_two_records(damaged):
    folder, file = damaged
    records = list(tf.data.TFRecordDataset(str(file)).take(31).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    error = refusal(builder="tiny_images", data_dir=str(folder))
    assert error.code == ExitCode.DATA
    assert "31 of its 60 examples" in str(error)


@pytest.mark.parametrize("damaged", ["array_record"], indirect=True)
def test_a_file_that_is_damaged_while_training(damaged):
    folder, file = damaged
    data = Data(tfds_dataset(builder="tiny_images", data_dir=str(folder), in_memory="never"), config())
    cut_in_half(file)
    with pytest.raises(TfloopError) as caught, data.explain_errors():
        batches(data, 4)
    assert caught.value.code == ExitCode.DATA
    assert f"split `train`: {file} cannot be read" in str(caught.value)


def test_a_label_out_of_range_while_training(folders):
    data = Data(
        tfds_dataset(builder="tiny_photos/same", data_dir=str(folders["array_record"]), in_memory="never", size=(6, 6)),
        config(),
    )
    assert len(batches(data, 1)) == 1
    with pytest.raises(TfloopError, match="split `test`: example 0 has label -1") as caught, data.explain_errors():
        list(data.evaluation("test"))
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize("damaged", ["tfrecord"], indirect=True)
@pytest.mark.parametrize("spoiled", ["dataset_info.json", "features.json"])
def test_a_damaged_description(damaged, spoiled):
    folder, _ = damaged
    cut_in_half(folder / "tiny_images" / "1.0.0" / spoiled)
    error = refusal(builder="tiny_images", data_dir=str(folder))
    assert error.code == ExitCode.DATA
    assert str(folder) in str(error)


@pytest.mark.parametrize("damaged", ["tfrecord"], indirect=True)
def test_an_empty_split(damaged):
    folder, _ = damaged
    info = folder / "tiny_images" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"60"', '"0"'))
    error = refusal(builder="tiny_images", data_dir=str(folder))
    assert (error.code, "`train` is empty" in str(error)) == (ExitCode.DATA, True)


def test_a_builder_whose_code_is_not_installed(folders, tmp_path):
    for file in (folders["array_record"] / "tiny_images" / "1.0.0").iterdir():
        there = tmp_path / "unheard_of" / "2.0.0" / file.name.replace("tiny_images", "unheard_of")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(file.read_bytes())
    info = tmp_path / "unheard_of" / "2.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"tiny_images"', '"unheard_of"').replace('"1.0.0"', '"2.0.0"'))
    built = datasets.build(Component("unheard_of:2.0.0", {"data_dir": str(tmp_path)}))
    np.testing.assert_array_equal(built.splits["train"].inputs, tfds_builders.images("train")[0])


@pytest.fixture
def no_network(monkeypatch) -> list:
    """Fails every attempt to reach another machine, and keeps what was tried."""
    tried: list = []

    def refuse(*arguments, **_) -> None:
        tried.append(arguments)
        raise OSError("Network is unreachable")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def test_offline(folders, tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("TFLOOP_OFFLINE", "1")
    for name in ("cifar10", "tiny_images", "huggingface:mnist"):
        error = refusal(builder=name, data_dir=str(tmp_path))
        assert error.code == ExitCode.DATA
        for word in (f"`{name}`", str(tmp_path), "--offline", "--set dataset.data_dir="):
            assert word in str(error)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("TFDS_DATA_DIR", str(folders["tfrecord"]))
    assert len(tfds_dataset(builder="tiny_images").splits["train"]) == 60
    assert refusal(builder="cifar10", data_dir="gs://tfds-data/datasets").code == ExitCode.USAGE
    assert not no_network


def test_no_network(tmp_path, no_network, capfd):
    started = time.monotonic()
    error = refusal(builder="cifar10", data_dir=str(tmp_path))
    assert time.monotonic() - started < 20
    assert error.code == ExitCode.DATA
    for word in ("`cifar10`", str(tmp_path), "ConnectionError", "cs.toronto.edu", "--set dataset.data_dir="):
        assert word in str(error)
    assert no_network
    assert "\n" not in error.problems[0].message
    written = capfd.readouterr()
    assert written.out == ""
    assert "Retrying" not in written.err


def test_a_download_that_is_not_what_it_should_be(tmp_path, monkeypatch):
    file = tmp_path / "numbers.bin"
    file.write_bytes(b"0123456789")
    monkeypatch.setattr(tfds_builders.TinyDownload, "url", str(file))
    expected = tfds.download.checksums.UrlInfo(size=10, checksum="0" * 64, filename=None)
    monkeypatch.setattr(tfds_builders.TinyDownload, "url_infos", {str(file): expected})
    error = refusal(builder="tiny_download", data_dir=str(tmp_path / "data"))
    assert error.code == ExitCode.DATA
    assert "NonMatchingChecksumError" in str(error)

    # TFDS keeps expectations for the life of a process: another file has none.
    monkeypatch.setattr(tfds_builders.TinyDownload, "url", str(shutil.copy(file, tmp_path / "others.bin")))
    read = tfds_dataset(builder="tiny_download", data_dir=str(tmp_path / "data"))
    np.testing.assert_array_equal(read.splits["train"].targets, 2.0 * np.arange(10))


def test_never_in_memory_prepares_array_record(tmp_path, capfd):
    read = tfds_dataset(builder="tiny_images", data_dir=str(tmp_path), in_memory="never")
    assert len(read.splits["train"]) == 60
    assert list(tmp_path.glob("tiny_images/1.0.0/*.array_record*"))
    assert capfd.readouterr().out == ""  # stdout is for results


def test_two_processes_prepare_one_dataset(tmp_path):
    environment = {**os.environ, "TINY_GATE": str(tmp_path / "gate")}  # the one that prepares waits for the other
    told = [tmp_path / "first", tmp_path / "second"]

    def start(file: Path) -> subprocess.Popen:
        command = [sys.executable, tfds_builders.__file__, str(tmp_path / "data")]
        with file.open("w") as errors:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)

    pair = [start(file) for file in told]
    deadline = time.monotonic() + 100
    while not any("waiting for it" in file.read_text() for file in told) and time.monotonic() < deadline:
        time.sleep(0.05)
    (tmp_path / "gate").touch()
    made = [process.communicate(timeout=60)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], [file.read_text() for file in told]
    assert made[0] == made[1] != ""
    waited = ["waiting for it" in file.read_text() for file in told]
    assert sorted(waited) == [False, True]
    assert ["Downloading and loading_tensorflow" in file.read_text() for file in told] == [not one for one in waited]


@pytest.mark.parametrize(("file_format", "in_memory"), [("tfrecord", "auto"), ("array_record", "never")])
def test_an_epoch_of_training(folders, file_format, in_memory):
    read = tfds_dataset(builder="tiny_images", data_dir=str(folders[file_format]), in_memory=in_memory)
    data = Data(read, config())
    weights = tf.Variable(tf.zeros([8 * 8 * 3, 3]))
    seen = 0
    for images, labels in data.batches(0, data.steps_per_epoch):
        with tf.GradientTape() as tape:
            logits = tf.reshape(images, [len(images), -1]) @ weights
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        weights.assign_sub(0.01 * tape.gradient(loss, weights))
        seen += len(images)
    assert seen == 60
    assert np.isfinite(weights).all()
    assert np.any(weights)


def test_the_shipped_mnist_does_not_import_tfds():
    code = (
        "import sys; from tfloop_cli.registry import Component, datasets; datasets.build(Component('mnist')); "
        "sys.exit('tensorflow_datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
