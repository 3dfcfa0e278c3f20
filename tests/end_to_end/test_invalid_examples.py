"""Guarantee: an invalid example ends the run with its location, or is skipped, counted and reported."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfloop_cli.errors import ExitCode, TfloopError

sys.path.append(str(Path(__file__).parents[1] / "engine" / "datasets"))  # for tfds_builders

FORMATS = [("tfrecord", "always"), ("array_record", "always"), ("array_record", "never")]  # file format, in_memory
TFRECORD = pytest.mark.parametrize("records", FORMATS[:1], indirect=True, ids="-".join)
ARRAY_RECORD = pytest.mark.parametrize("records", FORMATS[1:], indirect=True, ids="-".join)
EVERY_FORMAT = pytest.mark.parametrize("records", FORMATS, indirect=True, ids="-".join)


@pytest.fixture(autouse=True)
def isolated_cache(machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def open_data(configure):
    """Returns a function that builds a dataset; `warn` receives the lines about skipped examples."""

    def open_data(
        dataset: dict[str, Any], *, skip: bool = True, warn: Callable[[str], None] = print, **changes: Any
    ) -> Any:
        from tfloop_cli.engine.data import build_data

        return build_data(configure(dataset=dataset, on_bad_example="skip" if skip else "stop", **changes), warn)

    return open_data


def error_message(action: Callable[..., object], *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(TfloopError) as caught:
        action(*arguments, **keywords)
    assert caught.value.code == ExitCode.DATA
    return str(caught.value)


def read_all(data, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Returns all inputs and targets of a split."""
    batches = list(data.evaluation(split).as_numpy_iterator())
    return np.concatenate([inputs for inputs, _ in batches]), np.concatenate([targets for _, targets in batches])


# Images


@pytest.fixture
def image_dataset(tmp_path: Path) -> dict[str, Any]:
    """8 training images, 2 of them undecodable; 2 test images, one undecodable."""
    import tensorflow as tf

    folder = tmp_path / "images"
    for split, count in (("train", 4), ("test", 1)):
        for kind, shade in (("cat", 10), ("dog", 200)):
            (folder / split / kind).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((6, 5, 3), shade + number, np.uint8)
                (folder / split / kind / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (folder / "train/cat/0.png").write_bytes(b"not an image")
    complete = (folder / "train/dog/2.png").read_bytes()
    (folder / "train/dog/2.png").write_bytes(complete[: len(complete) // 2])
    (folder / "test/cat/0.png").write_bytes(complete[:-30])
    return {"name": "images", "path": str(folder)}


def test_undecodable_image_is_an_error(open_data, image_dataset) -> None:
    message = error_message(open_data, image_dataset, skip=False)
    assert f"{image_dataset['path']}/train/cat/0.png: this image cannot be used" in message


@pytest.mark.parametrize("in_memory", ["always", "never"])
@pytest.mark.parametrize("cache_gib", ["20", "0"])
def test_undecodable_images_are_skipped(open_data, image_dataset, monkeypatch, in_memory: str, cache_gib: str) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", cache_gib)
    dataset = image_dataset | {"in_memory": in_memory}
    warnings: list[str] = []
    warnings_again: list[str] = []
    data, again = open_data(dataset, warn=warnings.append), open_data(dataset, warn=warnings_again.append)
    assert data.skipped == again.skipped == {"train": 2, "test": 1}
    assert data.fingerprint == again.fingerprint
    assert "train: 2 invalid examples skipped; the first: " in warnings[0]
    assert "train/cat/0.png" in warnings[0]
    assert warnings == warnings_again
    inputs, targets = read_all(data)
    np.testing.assert_array_equal(np.round(inputs[:, 0, 0, 0] * 255), [11, 12, 13, 200, 201, 203])
    assert targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert read_all(data, "test")[1].tolist() == [1]


def test_second_run_decodes_no_image_but_the_first_invalid_one(open_data, image_dataset, monkeypatch) -> None:
    from tfloop_cli.engine.data.images.decoding import Decoder

    decode, paths = Decoder._decode, []
    monkeypatch.setattr(Decoder, "_decode", lambda self, path: (paths.append(path), decode(self, path))[1])
    data = open_data(image_dataset)
    first = [path for path in paths if path.endswith(("train/cat/0.png", "test/cat/0.png"))]
    assert len(first) == 4  # decoded, and decoded again for the reason that is shown
    assert len(paths) == len(set(paths)) + 2
    monkeypatch.setattr(Decoder, "blocks", None)
    assert open_data(image_dataset).skipped == data.skipped


def test_valid_images_are_the_same_data_with_and_without_skipping(open_data, image_dataset) -> None:
    for path in ("train/cat/0.png", "train/dog/2.png", "test/cat/0.png"):
        (Path(image_dataset["path"]) / path).unlink()
    warnings: list[str] = []
    strict, skipping = open_data(image_dataset, skip=False), open_data(image_dataset, warn=warnings.append)
    assert strict.fingerprint == skipping.fingerprint
    assert not skipping.skipped
    assert not warnings


def test_split_with_only_invalid_images_is_an_error(open_data, image_dataset) -> None:
    for path in ("test/dog/0.png", "test/cat/0.png"):
        (Path(image_dataset["path"]) / path).write_bytes(b"")
    message = error_message(open_data, image_dataset)
    assert "split `test`: all of its 2 examples are invalid; the first: " in message


# Tables and texts

TRAIN = "size,colour,kind\n1,red,b\n,blue,a\n3,red,b\n6,green,a\ninf,red,b\n1,2\n4,NaN,a\n2,red,\n"
TEST = "size,colour,kind\n3,blue,b\ntwo,red,a\n1,red,c\n"


@pytest.fixture
def table(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "a.csv").write_text(TRAIN)
    (tmp_path / "b.csv").write_text(TEST)
    return {"name": "table", "train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.csv"), "target": "kind"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,red,b\n2,red\n", "a.csv:3: split `train`: the row has 2 cell(s)"),
        ("1,red,b\n2,red,a\n", "b.csv:4: split `test`: column `kind`: the class `c` does not occur"),
    ],
)
def test_invalid_row_is_an_error(open_data, table, rows: str, message: str) -> None:
    Path(table["train"]).write_text("size,colour,kind\n" + rows)
    assert message in error_message(open_data, table, skip=False)


def test_invalid_rows_are_skipped(open_data, table) -> None:
    """A row of another length, and a class without training examples; missing values are not invalid."""
    warnings: list[str] = []
    data = open_data(table, warn=warnings.append)
    assert data.skipped == {"train": 2, "test": 1}  # also the row without a target
    assert "a.csv:7: split `train`: the row has 2 cell(s)" in warnings[0]
    inputs, targets = read_all(data)
    assert targets.tolist() == [1, 0, 1, 0, 1, 0]
    assert inputs[:, 1].tolist() == [0, 1, 0, 0, 1, 0]  # the missing numbers
    np.testing.assert_array_equal(inputs[:, 2:].argmax(axis=1), [2, 0, 2, 1, 2, 3])  # blue, green, red, missing
    inputs, targets = read_all(data, "test")
    assert targets.tolist() == [1, 0]
    assert inputs[1, :2].tolist() == [0, 1]  # "two" is a missing number


def test_skipped_rows_do_not_change_the_fingerprint(open_data, table) -> None:
    fingerprint = open_data(table).fingerprint
    Path(table["train"]).write_text(TRAIN.replace("1,2\n", "").replace("2,red,\n", ""))
    Path(table["test"]).write_text(TEST.replace("1,red,c\n", ""))
    assert open_data(table, skip=False).fingerprint == fingerprint


def test_wrong_target_column_is_an_error_with_skipping(open_data, table) -> None:
    assert "there is no column `sort`" in error_message(open_data, table | {"target": "sort"})


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    train = [{"text": "a b", "label": "x"}, {"text": "c d e"}, {"text": "b", "label": "y"}, {"text": [], "label": "x"}]
    test = [{"text": "a c", "label": "z"}, {"text": "b", "label": "x"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train) + '{"text": "cut')
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test))
    return {"name": "text", "train": str(tmp_path / "a.jsonl"), "test": str(tmp_path / "b.jsonl"), "features": "ids"}


def test_text_that_is_no_json_is_an_error(open_data, texts) -> None:
    assert "a.jsonl:5: split `train`: this line is not JSON" in error_message(open_data, texts, skip=False)


def test_texts_without_label_are_skipped(open_data, texts) -> None:
    data = open_data(texts, validation=0)
    assert data.skipped == {"train": 3, "test": 1}
    assert data.spec.vocabulary == 4  # padding, unknown, a and b: words of skipped texts do not count
    assert read_all(data)[1].tolist() == [0, 1]
    assert read_all(data, "test")[1].tolist() == [0]


# TFDS


@pytest.fixture(scope="session")
def prepared_datasets(machine: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import tfds_builders

    formats = ("tfrecord", "array_record")
    return {name: tfds_builders.prepare_all(tmp_path_factory.mktemp(name), name) for name in formats}


@pytest.fixture
def records(prepared_datasets: dict[str, Path], tmp_path: Path, request) -> tuple[dict[str, Any], Path]:
    """A copy of TinyImages in one format, as a dataset config, and the file of its training split."""
    file_format, in_memory = request.param
    shutil.copytree(prepared_datasets[file_format] / "tiny_images", tmp_path / "tfds" / "tiny_images")
    (file,) = tmp_path.glob("tfds/tiny_images/1.0.0/*-train.*")
    return {"name": "tiny_images", "data_dir": str(tmp_path / "tfds"), "in_memory": in_memory}, file


def png_of(index: int) -> bytes:
    """Returns the encoded image of a training example."""
    import tensorflow as tf
    import tfds_builders

    return tf.io.encode_png(tfds_builders.images("train")[0][index]).numpy()


def corrupt_record(file: Path, index: int) -> None:
    """Inverts a byte in the pixels of a record, so that its checksum is wrong."""
    content = bytearray(file.read_bytes())
    start = content.find(png_of(index))
    assert start > 0
    content[start + 60] ^= 0xFF
    file.write_bytes(content)


def replace_image(file: Path, index: int) -> None:
    """Writes the file again, with correct checksums and an undecodable image in one record."""
    import tensorflow as tf
    from array_record.python import array_record_module

    image, is_tfrecord = png_of(index), "tfrecord" in file.name
    if is_tfrecord:
        records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    else:
        records = array_record_module.ArrayRecordReader(str(file)).read_all()
    records[index] = records[index].replace(image, b"x" * len(image))
    assert b"xxxx" in records[index]
    if is_tfrecord:
        writer = tf.io.TFRecordWriter(str(file))
    else:
        writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def require_all_except(data, skipped: list[int]) -> None:
    """Asserts that the training split of TinyImages has all examples except the skipped ones."""
    import tfds_builders

    images, labels = tfds_builders.images("train")
    inputs, targets = read_all(data)
    np.testing.assert_array_equal(np.round(inputs * 255), np.delete(images, skipped, axis=0))
    assert targets.tolist() == np.delete(labels, skipped).tolist()


@TFRECORD
def test_corrupt_record_is_an_error(open_data, records) -> None:
    dataset, file = records
    corrupt_record(file, 17)
    message = error_message(open_data, dataset, skip=False)
    assert f"split `train`: {file} cannot be read: example 17: DataLossError" in message


@TFRECORD
def test_corrupt_records_are_skipped(open_data, records) -> None:
    dataset, file = records
    intact = open_data(dataset, skip=False)
    corrupt_record(file, 17)
    corrupt_record(file, 59)
    data = open_data(dataset)
    assert data.skipped == {"train": 2}
    require_all_except(data, [17, 59])
    assert data.fingerprint != intact.fingerprint


@EVERY_FORMAT
def test_undecodable_image_in_record_is_an_error(open_data, records) -> None:
    dataset, file = records
    replace_image(file, 5)

    def open_and_read() -> None:  # depending on the format, the error occurs at opening or at the first read
        data = open_data(dataset, skip=False, validation=0)
        with data.explain_errors():
            read_all(data)

    assert f"split `train`: {file} cannot be read: example 5: " in error_message(open_and_read)


@EVERY_FORMAT
def test_undecodable_image_in_record_is_skipped(open_data, records) -> None:
    dataset, file = records
    replace_image(file, 5)
    warnings: list[str] = []
    data, again = open_data(dataset, warn=warnings.append), open_data(dataset)
    assert data.skipped == again.skipped == {"train": 1}
    assert data.fingerprint == again.fingerprint
    assert "example 5: " in warnings[0]
    require_all_except(data, [5])


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@TFRECORD
def test_truncated_tfrecord_keeps_its_first_records(open_data, records) -> None:
    dataset, file = records
    truncate(file)
    data = open_data(dataset)
    assert 25 < data.skipped["train"] < 35
    assert data.skipped["train"] + data.examples("train") == 60


@ARRAY_RECORD
def test_truncated_array_record_has_no_valid_examples(open_data, records) -> None:
    dataset, file = records
    truncate(file)  # the index of the records is at the end of the file
    assert "all of its 60 examples are invalid" in error_message(open_data, dataset)


@EVERY_FORMAT
def test_missing_file_is_an_error_with_skipping(open_data, records) -> None:
    dataset, file = records
    file.unlink()
    assert f"{file} cannot be read" in error_message(open_data, dataset)


@pytest.mark.parametrize("dataset", ["mnist", "synthetic", "synthetic_text"])
def test_datasets_without_invalid_examples_support_skipping(open_data, dataset: str) -> None:
    assert not open_data({"name": dataset}).skipped


# The user's own datasets, and the commands

CODE = '''\
import numpy as np

from tfloop_cli import ArraySource, Dataset, DataSpec, datasets, from_arrays


@datasets.register("my_arrays")
def my_arrays():
    """Has one invalid label in each split."""
    inputs = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    labels = np.arange(40, dtype=np.int32) % 3
    labels[7] = -1
    return from_arrays({"train": (inputs, labels), "test": (inputs[:9], labels[:9])}, class_names="abc")


@datasets.register("my_source")
def my_source():
    """Does not support skipping."""
    source = ArraySource(np.zeros((40, 4), np.float32), np.zeros(40, np.int32))
    return Dataset(DataSpec((4,), "float32", (), ("a", "b")), {"train": source}, "fingerprint")
'''
CONFIG = """\
dataset: my_arrays
model: linear
epochs: 1
batch_size: 8
device: cpu
threads: 1
steps_per_execution: 1
"""
TRAIN_COMMAND = "train", "-c", "my.yaml", "--code", "my.py"
SKIP = "--set", "on_bad_example=skip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my.py").write_text(CODE)
    (tmp_path / "my.yaml").write_text(CONFIG)
    return tmp_path


def test_run_stops_at_invalid_example(shell, folder: Path) -> None:
    process = shell.run(*TRAIN_COMMAND, "--json", cwd=folder)
    assert process.code == ExitCode.DATA
    (error,) = process.documents[0]["errors"]
    assert "split `train`: example 7 has label -1, which is not in 0 to 2" in error["message"]
    assert not (folder / "runs").exists()


def test_run_reports_skipped_examples(shell, folder: Path) -> None:
    process = shell.run(*TRAIN_COMMAND, *SKIP, "-o", "run", cwd=folder)
    assert process.code == 0, process.err
    assert "warning: train: 1 invalid example skipped: dataset split `train`: example 7" in process.err
    assert "; train: 1 invalid example skipped; test: 1 invalid example skipped)" in process.err
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["skipped_examples"] == {"train": 1, "test": 1}
    assert summary["evaluations"]["test"]["examples"] == 8
    process = shell.run("evaluate", "run", "--trust-code", cwd=folder)
    assert process.code == 0, process.err
    assert "warning: test: 1 invalid example skipped" in process.err
    assert "(8 examples)" in process.out


def test_resumed_run_skips_the_same_examples(shell, folder: Path) -> None:
    command = *TRAIN_COMMAND, *SKIP, "--json"
    uninterrupted = shell.run(*command, "-o", "uninterrupted", cwd=folder)
    shell.run(*command, "-o", "stopped", "--max-time", "0s", cwd=folder)
    resumed = shell.run(*command, "-o", "stopped", "--resume", cwd=folder)
    assert resumed.code == 0, resumed.err
    start, *_, end = resumed.documents
    assert start["event"] == "start"
    assert start["step"] > 0
    assert start["skipped_examples"] == {"train": 1, "test": 1}
    assert end["weights_sha256"] == uninterrupted.documents[-1]["weights_sha256"]
    assert "may differ" not in resumed.err
    assert "the data has changed" not in resumed.err


def test_skipping_with_unsupported_dataset_is_an_error(shell, folder: Path) -> None:
    process = shell.run(*TRAIN_COMMAND, *SKIP, "--set", "dataset=my_source", cwd=folder)
    assert process.code == ExitCode.USAGE
    assert "`on_bad_example: skip` is not supported by the dataset `my_source`" in process.err
