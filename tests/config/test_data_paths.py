"""Data on the command line: what is a config and what is data, and which preset and dataset suit it."""

from pathlib import Path

import pytest
from empty_files import touch

from tfloop_cli.config.data_paths import data_sets, dataset_of, is_data, lacks_target, name_of
from tfloop_cli.errors import TfloopError


@pytest.mark.parametrize(
    "name", ["a.csv", "A.CSV", "a.csv.gz", "a.parquet", "a.jsonl", "a.npz", "data/*.csv", "a.tab", "a.dta"]
)
def test_data_files_and_patterns_are_data(name: str) -> None:
    assert is_data(name)


@pytest.mark.parametrize("name", ["mnist", "mnist.yaml", "my.yml", "-", "/dev/fd/63", "a.gz"])
def test_configs_are_no_data(name: str) -> None:
    assert not is_data(name)


def test_file_without_a_known_suffix_is_data_unless_it_begins_as_yaml(tmp_path: Path) -> None:
    for content, data in (("age,kind\n", True), ("# x\nextends: mnist\n", False), ("---\n{a: 1}", False), ("", False)):
        for name in ("adult", "adult.v2"):
            (tmp_path / name).write_text(content)
            assert is_data(str(tmp_path / name)) == data


def test_folder_is_data(tmp_path: Path) -> None:
    assert is_data(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "dataset"),
    [
        (["cat/1.PNG", "readme.txt"], "images"),
        (["train/cat/1.jpeg"], "images"),
        (["ham/1.txt", "spam/2.txt"], "text"),
        (["x_train.npy", "y_train.npy", "notes.txt"], "arrays"),
        (["train.csv", "test.csv", "README.txt"], "table"),
        (["Training.parquet"], "table"),
        (["prices.csv.gz"], "table"),
        (["prices.csv", "plot.png"], "table"),
        (["labels.csv", "1.png", "2.png", "3.png", "4.png"], "images"),
        (["ham/1.txt", "spam/2.txt", "index.csv"], "text"),
    ],
)
def test_files_of_a_folder_decide_its_dataset(tmp_path: Path, files: list[str], dataset: str) -> None:
    assert dataset_of(str(touch(tmp_path, *files))) == dataset


def test_folder_without_known_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="there are no images, tables, texts or arrays in this folder"):
        dataset_of(str(touch(tmp_path, "train.doc")))


@pytest.mark.parametrize(
    ("name", "message"), [("a.zip", "an archive"), ("a.tar.gz", "an archive"), ("a.png", "one image")]
)
def test_archive_or_image_is_no_data(name: str, message: str) -> None:
    assert is_data(name)
    with pytest.raises(TfloopError, match=f"{name}: this is {message}"):
        dataset_of(name)


@pytest.mark.parametrize(
    ("arguments", "sets"),
    [
        (("a b.csv", "table", "price"), ["dataset={\"name\": \"table\", \"train\": \"a b.csv\"}",
                                         "dataset.target=\"price\""]),
        (("a.csv", "text", "kind"), ["dataset={\"name\": \"text\", \"train\": \"a.csv\"}",
                                     "dataset.target=\"kind\""]),
        (("a.npz", "arrays", None), ["dataset={\"name\": \"arrays\", \"path\": \"a.npz\"}"]),
        ((None, "mnist", None), ["dataset={\"name\": \"mnist\"}"]),
        ((None, None, "[a, b]"), ["dataset.target=[a, b]"]),
        ((None, None, None), []),
    ],
)  # fmt: skip
def test_assignments_of_data(arguments: tuple, sets: list[str]) -> None:
    assert data_sets(*arguments) == sets


def test_dataset_that_reads_no_file_is_an_error() -> None:
    with pytest.raises(TfloopError, match="the dataset `mnist` does not read a file"):
        data_sets("a.csv", "mnist", None)


@pytest.mark.parametrize(
    ("path", "name"),
    [("a b.csv", "a b"), ("x/data.v2.csv.gz", "data.v2"), ("photos/", "photos"), ("a/*.csv", None), ("d.npz", "d")],
)
def test_name_of_data(path: str, name: str | None) -> None:
    assert name_of(path) == name


@pytest.mark.parametrize(
    ("path", "target", "sets", "configs", "lacks"),
    [
        ("a.csv", None, [], [], True),
        ("a.csv", "y", [], [], False),
        ("a.csv", None, ["dataset.target=y"], [], False),
        ("a.csv", None, [], ["my.yaml"], False),
        ("a.npz", None, [], [], False),
    ],
)
def test_table_without_a_target(
    path: str, target: str | None, sets: list[str], configs: list[str], lacks: bool
) -> None:
    own = data_sets(path, dataset_of(path), target)
    assert lacks_target([*own, *sets], configs) == lacks
