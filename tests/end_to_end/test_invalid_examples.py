"""Promise: a bad example ends the run with its place, or is left out, counted and told; never trained on unnoticed."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfloop_cli.errors import ExitCode, TfloopError

sys.path.append(str(Path(__file__).parents[1] / "engine"))  # for `prepared`

FORMATS = [("tfrecord", "always"), ("array_record", "always"), ("array_record", "never")]


@pytest.fixture(autouse=True)
def cache(machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def opened(configure):
    """Opens a dataset as a config that names it would."""

    def make(dataset: dict[str, Any], skip: bool = True, **changes: Any):
        from tfloop_cli.engine.data import build_data

        return build_data(configure(dataset=dataset, on_bad_example="skip" if skip else "stop", **changes))

    return make


def refusal(opened, dataset: dict[str, Any], skip: bool = False) -> str:
    with pytest.raises(TfloopError) as caught:
        opened(dataset, skip)
    assert caught.value.code == ExitCode.DATA
    return str(caught.value)


def contents(data, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    batches = list(data.evaluation(split).as_numpy_iterator())
    return np.concatenate([inputs for inputs, _ in batches]), np.concatenate([targets for _, targets in batches])


# Images


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight to train on, the first and another one no images; two to test, one of another size."""
    import tensorflow as tf

    folder = tmp_path / "pictures"
    for split, count in (("train", 4), ("test", 1)):
        for kind, shade in (("cat", 10), ("dog", 200)):
            (folder / split / kind).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((6, 5, 3), shade + number, np.uint8)
                (folder / split / kind / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (folder / "train/cat/0.png").write_bytes(b"no image")
    whole = (folder / "train/dog/2.png").read_bytes()
    (folder / "train/dog/2.png").write_bytes(whole[: len(whole) // 2])
    (folder / "test/cat/0.png").write_bytes(tf.io.encode_png(np.zeros((7, 7, 3), np.uint8)).numpy())
    return folder


def test_an_undecodable_image_stops(opened, pictures: Path) -> None:
    assert f"{pictures}/train/cat/0.png: this image cannot be used" in refusal(
        opened, {"name": "images", "path": str(pictures)}
    )


@pytest.mark.parametrize("in_memory", ["always", "never"])
@pytest.mark.parametrize("bound", ["20", "0"])
def test_undecodable_images_are_left_out(opened, pictures: Path, monkeypatch, in_memory: str, bound: str) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", bound)
    dataset = {"name": "images", "path": str(pictures), "in_memory": in_memory}
    first, again = opened(dataset), opened(dataset)
    assert first.skipped == again.skipped == {"train": 2, "test": 1}
    assert first.fingerprint == again.fingerprint
    assert "2 bad examples of split `train` left out; the first: " in first.notes[0]
    assert "train/cat/0.png" in first.notes[0]
    assert first.notes == again.notes
    inputs, targets = contents(first)
    np.testing.assert_array_equal(np.round(inputs[:, 0, 0, 0] * 255), [11, 12, 13, 200, 201, 203])
    assert targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert contents(first, "test")[1].tolist() == [1]


def test_the_second_run_looks_for_no_bad_images(opened, pictures: Path, monkeypatch) -> None:
    from tfloop_cli.engine.data.image_decoding import Decoder

    first = opened({"name": "images", "path": str(pictures)})
    monkeypatch.setattr(Decoder, "good", None)
    assert opened({"name": "images", "path": str(pictures)}).skipped == first.skipped


def test_a_folder_without_bad_images_is_the_same_data_either_way(opened, pictures: Path) -> None:
    for path in ("train/cat/0.png", "train/dog/2.png", "test/cat/0.png"):
        (pictures / path).unlink()
    dataset = {"name": "images", "path": str(pictures)}
    strict, lenient = opened(dataset, skip=False), opened(dataset)
    assert strict.fingerprint == lenient.fingerprint
    assert not lenient.skipped
    assert not lenient.notes


def test_a_split_of_bad_images_only_is_an_error(opened, pictures: Path) -> None:
    (pictures / "test/dog/0.png").write_bytes(b"")
    (pictures / "test/cat/0.png").write_bytes(b"")
    said = refusal(opened, {"name": "images", "path": str(pictures)}, skip=True)
    assert "split `test`: all of its 2 examples are bad; the first: " in said


# Tables and texts

TRAIN = "size,colour,kind\n1,red,b\n,blue,a\n3,red,b\n6,green,a\ninf,red,b\n1,2\n4,NaN,a\n"
TEST = "size,colour,kind\n3,blue,b\ntwo,red,a\n1,red,c\n"


@pytest.fixture
def table(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "a.csv").write_text(TRAIN)
    (tmp_path / "b.csv").write_text(TEST)
    return {"name": "table", "train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.csv"), "target": "kind"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("1,red,b\n,blue,a\n", "a.csv:3: split `train`: column `size`: the value is missing"),
        ("1,red,b\n2,red\n", "a.csv:3: split `train`: there are 2 cells"),
        ("inf,red,b\n2,red,a\n", "a.csv:2: split `train`: column `size`: inf is not finite"),
        ("1,red,b\n2,red,a\n", "b.csv:3: split `test`: column `size`: `two` is not a number"),
    ],
)
def test_a_bad_row_stops(opened, table: dict[str, str], rows: str, said: str) -> None:
    Path(table["train"]).write_text("size,colour,kind\n" + rows)
    assert said in refusal(opened, table)


def test_bad_rows_are_left_out(opened, table: dict[str, str]) -> None:
    data = opened(table)
    assert data.skipped == {"train": 4, "test": 2}
    assert "a.csv:7: split `train`: there are 2 cells" in data.notes[0]  # the reader comes first
    inputs, targets = contents(data)
    # size, less its mean and over its deviation; green, red: nothing is known of rows that are left out
    sizes = np.array([1, 3, 6])
    np.testing.assert_allclose(inputs[:, 0], (sizes - sizes.mean()) / sizes.std(), rtol=1e-6)
    np.testing.assert_array_equal(inputs[:, 1:], [[0, 1], [0, 1], [1, 0]])
    assert targets.tolist() == [1, 1, 0]
    assert contents(data, "test")[1].tolist() == [1]


def test_a_table_is_that_without_its_bad_rows(opened, table: dict[str, str]) -> None:
    with_bad = opened(table).fingerprint
    Path(table["train"]).write_text("size,colour,kind\n1,red,b\n3,red,b\n6,green,a\n")
    Path(table["test"]).write_text("size,colour,kind\n3,blue,b\n")
    assert opened(table, skip=False).fingerprint == with_bad


def test_a_slip_among_many_numbers_is_left_out_and_free_text_is_not(opened, table: dict[str, str]) -> None:
    del table["test"]
    numbers = [f"{number},red,{'ab'[number % 2]}\n" for number in range(1100)]
    Path(table["train"]).write_text("size,colour,kind\n" + "".join(numbers) + "12o,red,a\n")
    assert "`12o` is not a number" in refusal(opened, table)
    data = opened(table)
    assert data.skipped == {"train": 1}
    assert data.spec.input_shape == (2,)
    words = [f"{number}th,red,a\n" for number in range(1100)]
    Path(table["train"]).write_text("size,colour,kind\n" + "".join(words) + "1,red,b\n")
    assert "too many to be words" in refusal(opened, table, skip=True)


def test_a_name_that_is_wrong_is_no_bad_example(opened, table: dict[str, str]) -> None:
    assert "there is no column `sort`" in refusal(opened, table | {"target": "sort"}, skip=True)


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    train = [{"text": "a b", "label": "x"}, {"text": "c d e"}, {"text": "b", "label": "y"}, {"text": [], "label": "x"}]
    test = [{"text": "a c", "label": "z"}, {"text": "b", "label": "x"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train) + '{"text": "cut')
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test))
    return {"name": "text", "train": str(tmp_path / "a.jsonl"), "test": str(tmp_path / "b.jsonl")}


def test_a_text_without_a_label_stops(opened, texts: dict[str, str]) -> None:
    assert "a.jsonl:2: split `train`: there is no column `label`" in refusal(opened, texts)


def test_texts_without_a_label_are_left_out(opened, texts: dict[str, str]) -> None:
    data = opened(texts, validation=0)
    assert data.skipped == {"train": 3, "test": 1}
    assert data.spec.vocabulary == 4  # a and b: the words of a text that is left out are not known
    assert contents(data)[1].tolist() == [0, 1]
    assert contents(data, "test")[1].tolist() == [0]


# TFDS


@pytest.fixture(scope="session")
def prepared_folders(machine: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import prepared

    return {one: prepared.prepare_all(tmp_path_factory.mktemp(one), one) for one in ("tfrecord", "array_record")}


@pytest.fixture
def records(prepared_folders: dict[str, Path], tmp_path: Path, request):
    """TinyImages in a format, and the file of its training split."""
    import shutil

    file_format, in_memory = request.param
    shutil.copytree(prepared_folders[file_format] / "tiny_images", tmp_path / "tfds" / "tiny_images")
    (file,) = tmp_path.glob("tfds/tiny_images/1.0.0/*-train.*")
    return {"name": "tiny_images", "data_dir": str(tmp_path / "tfds"), "in_memory": in_memory}, file


def flip(file: Path, number: int) -> None:
    """Turns a byte around in the pixels of a record."""
    import prepared
    import tensorflow as tf

    pixels = prepared.images("train")[0][number]
    content = bytearray(file.read_bytes())
    place = content.find(tf.io.encode_png(pixels).numpy())
    assert place > 0
    content[place + 60] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize("records", [FORMATS[0]], indirect=True)
def test_a_damaged_record_stops(opened, records) -> None:
    dataset, file = records
    flip(file, 17)
    said = refusal(opened, dataset)
    assert f"split `train`: {file} cannot be read: example 17: DataLossError" in said


@pytest.mark.parametrize("records", [FORMATS[0]], indirect=True)
def test_damaged_records_are_left_out(opened, records) -> None:
    import prepared

    dataset, file = records
    whole = opened(dataset, skip=False)
    flip(file, 17)
    flip(file, 59)
    data = opened(dataset)
    assert data.skipped == {"train": 2}
    images, labels = prepared.images("train")
    inputs, targets = contents(data)
    np.testing.assert_array_equal(np.round(inputs * 255), np.delete(images, [17, 59], axis=0))
    assert targets.tolist() == np.delete(labels, [17, 59]).tolist()
    assert data.fingerprint != whole.fingerprint


@pytest.mark.parametrize("records", FORMATS, indirect=True)
def test_what_is_undecodable_in_a_whole_file(opened, records, tmp_path: Path) -> None:
    """The file's own sums are right: it was written so."""
    import prepared

    dataset, file = records
    rewrite(file, dataset)
    assert f"split `train`: {file} cannot be read: example 5: " in stopped(opened, dataset)
    data, again = opened(dataset), opened(dataset)
    assert data.skipped == again.skipped == {"train": 1}
    assert data.fingerprint == again.fingerprint
    assert "example 5: " in data.notes[0]
    images, labels = prepared.images("train")
    inputs, targets = contents(data)
    np.testing.assert_array_equal(np.round(inputs * 255), np.delete(images, 5, axis=0))
    assert targets.tolist() == np.delete(labels, 5).tolist()


def stopped(opened, dataset: dict[str, Any]) -> str:
    """What is said, when it is opened or read for the first time."""

    def read() -> None:
        data = opened(dataset, skip=False, validation=0)
        with data.explain_errors():
            contents(data)

    with pytest.raises(TfloopError) as caught:
        read()
    assert caught.value.code == ExitCode.DATA
    return str(caught.value)


def rewrite(file: Path, dataset: dict[str, Any]) -> None:
    """The same records, one with other bytes for an image."""
    import prepared
    import tensorflow as tf
    from array_record.python import array_record_module

    if "tfrecord" in file.name:
        found = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    else:
        reader = array_record_module.ArrayRecordReader(str(file))
        found = reader.read_all()
    image = tf.io.encode_png(prepared.images("train")[0][5]).numpy()
    found[5] = found[5].replace(image, b"x" * len(image))
    assert b"xxxx" in found[5]
    if "tfrecord" in file.name:
        with tf.io.TFRecordWriter(str(file)) as writer:
            for record in found:
                writer.write(record)
        return
    writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
    for record in found:
        writer.write(record)
    writer.close()


@pytest.mark.parametrize("records", FORMATS, indirect=True)
def test_a_file_that_was_cut_short(opened, records) -> None:
    """A tfrecord file gives what lies before the cut; an array_record file, whose end tells where all lies, nothing."""
    dataset, file = records
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if "tfrecord" in file.name:
        data = opened(dataset)
        assert 25 < data.skipped["train"] < 35
        assert data.skipped["train"] + data.examples("train") == 60
    else:
        assert "all of its 60 examples are bad" in refusal(opened, dataset, skip=True)


@pytest.mark.parametrize("records", FORMATS, indirect=True)
def test_a_file_that_is_not_there_is_no_bad_example(opened, records) -> None:
    dataset, file = records
    file.unlink()
    assert f"{file} cannot be read" in refusal(opened, dataset, skip=True)


# Arrays of one's own, and the command

CODE = '''\
import numpy as np

from tfloop_cli.engine.data import ArraySource, DataSpec, Dataset, from_arrays
from tfloop_cli.registry import datasets


@datasets.register("mine")
def mine():
    """With a label too many in each split."""
    inputs = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    labels = np.arange(40, dtype=np.int32) % 3
    labels[7] = -1
    return from_arrays({"train": (inputs, labels), "test": (inputs[:9], labels[:9])}, class_names="abc")


@datasets.register("deaf")
def deaf():
    """Its source is its own."""
    source = ArraySource(np.zeros((40, 4), np.float32), np.zeros(40, np.int32))
    return Dataset(DataSpec((4,), "float32", (), ("a", "b")), {"train": source}, "deaf")
'''
CONFIG = "dataset: mine\nmodel: linear\nepochs: 1\nbatch_size: 8\ndevice: cpu\nthreads: 1\nsteps_per_call: 1\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "my.py").write_text(CODE)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize("dataset", ["mnist", "synthetic", "synthetic_text"])
def test_what_has_no_bad_examples_may_be_asked_to_leave_them_out(opened, dataset: str) -> None:
    assert not opened({"name": dataset}).skipped


def test_a_run_stops_at_a_bad_example(shell, home: Path) -> None:
    done = shell.run("train", "-c", "mine.yaml", "--code", "my.py", "--json", cwd=home)
    assert done.code == ExitCode.DATA
    assert "split `train`: example 7 has label -1, not one from 0 to 2" in done.documents[0]["errors"][0]["message"]
    assert not (home / "runs").exists()


def test_a_run_tells_what_it_has_left_out(shell, home: Path) -> None:
    arguments = "-c", "mine.yaml", "--code", "my.py", "--set", "on_bad_example=skip", "-o", "run"
    done = shell.run("train", *arguments, cwd=home)
    assert done.code == 0, done.err
    assert "warning: 1 bad example of split `train` left out; the first: dataset split `train`: example 7" in done.err
    assert "; bad and left out: 1 of train, 1 of test)" in done.err
    summary = json.loads((home / "run" / "summary.json").read_text())
    assert summary["skipped_examples"] == {"train": 1, "test": 1}
    assert summary["evaluations"]["test"]["examples"] == 8
    done = shell.run("evaluate", "run", "--trust-code", cwd=home)
    assert done.code == 0, done.err
    assert "of split `test` left out" in done.err
    assert "(8 examples)" in done.out


def test_a_resumed_run_leaves_the_same_out(shell, home: Path) -> None:
    arguments = "-c", "mine.yaml", "--code", "my.py", "--set", "on_bad_example=skip", "--json"
    whole = shell.run("train", *arguments, "-o", "whole", cwd=home)
    shell.run("train", *arguments, "-o", "cut", "--max-time", "0s", cwd=home)
    rest = shell.run("train", *arguments, "-o", "cut", "--resume", cwd=home)
    assert rest.code == 0, rest.err
    assert rest.documents[0]["event"] == "start"
    assert rest.documents[0]["step"] > 0
    assert rest.documents[0]["skipped_examples"] == {"train": 1, "test": 1}
    assert rest.documents[-1]["weights_sha256"] == whole.documents[-1]["weights_sha256"]
    assert "bits may differ" not in rest.err
    assert "the data is not" not in rest.err


def test_a_dataset_that_cannot_tell_is_refused(shell, home: Path) -> None:
    arguments = "-c", "mine.yaml", "--code", "my.py", "--set", "on_bad_example=skip", "--set", "dataset=deaf"
    done = shell.run("train", *arguments, cwd=home)
    assert done.code == ExitCode.USAGE
    assert "the dataset `deaf` cannot tell which of its examples are bad" in done.err
