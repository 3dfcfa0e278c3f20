"""Relative paths: those of a user's own file count from its folder, all others from the current folder."""

import io
import os
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.config.loading import dump, from_mapping, load, to_mapping
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import datasets, plugins, registry, user_modules

TABLE = "dataset: {name: table, train: data/a.csv, target: y}\nmodel: mlp\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; `configs/` in it has a config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "table.yaml").write_text(TABLE)
    return Path.cwd()


def arguments(*configs: str, **options: Any) -> dict[str, Any]:
    return dict(load(configs, **options).config.dataset.arguments)


def test_paths_of_a_file_count_from_its_folder(here: Path) -> None:
    assert arguments("configs/table.yaml")["train"] == str(here / "configs/data/a.csv")
    (here / "top.yaml").write_text("extends: configs/table.yaml\ndataset: {test: b.csv}\n")
    found = arguments("top.yaml")
    assert (found["train"], found["test"]) == (str(here / "configs/data/a.csv"), str(here / "b.csv"))
    assert found["target"] == "y"  # text, not a path


def test_paths_of_command_line_stdin_and_built_in_configs_count_from_the_current_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = arguments("configs/table.yaml", sets=["dataset.train=b.csv", "dataset.test=2020"])
    assert (found["train"], found["test"]) == (str(here / "b.csv"), str(here / "2020"))
    assert arguments("-", stdin=io.StringIO(TABLE))["train"] == str(here / "data/a.csv")
    assert arguments("images.yaml")["path"] == str(here / "images")
    monkeypatch.setenv("IMAGES", "mine/images")
    assert arguments("images.yaml")["path"] == str(here / "mine/images")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${env:DATA}/a.csv", "from_env/a.csv"),
        ("${env:UNSET:-default.csv}", "configs/default.csv"),
        ("data/${env:DATA}.csv", "configs/data/from_env.csv"),
        ("../a.csv", "a.csv"),
        ("~/a.csv", "home/a.csv"),
        ("/a.csv", "/a.csv"),
    ],
)
def test_paths_with_variables_and_absolute_paths(
    here: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    monkeypatch.setenv("DATA", "from_env")
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "configs" / "table.yaml").write_text(TABLE.replace("data/a.csv", f"'{value}'"))
    assert arguments("configs/table.yaml")["train"] == str(here / expected)


def test_config_of_a_run_does_not_depend_on_the_current_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(["configs/table.yaml"]).config
    assert f"{here}/configs/data/a.csv" in dump(config)
    (here / "run").mkdir()
    (here / "run" / "config.yaml").write_text(dump(config))
    monkeypatch.chdir("/")
    assert load([str(here / "run" / "config.yaml")]).config == from_mapping(to_mapping(config), "x") == config


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd")
def test_paths_of_a_pipe_count_from_the_current_folder(here: Path) -> None:
    """As in `tfloop train <(generate)`."""
    reader, writer = os.pipe()
    os.write(writer, TABLE.encode())
    os.close(writer)
    assert arguments(f"/dev/fd/{reader}")["train"] == str(here / "data/a.csv")
    os.close(reader)


def test_path_that_is_no_text_is_an_error() -> None:
    for text in ("train={}", "train=[[a]]", "train=''", "test={}"):
        with pytest.raises(
            TfloopError, match=r"`dataset\.\w+(\[0\])?` must be (null or )?a path( or list of paths)?; f"
        ):
            load(["configs/table.yaml"], sets=[f"dataset.{text}"])


def test_each_path_of_a_list_counts_from_the_file(here: Path) -> None:
    (here / "configs" / "list.yaml").write_text(
        "dataset: {name: table, train: [a.csv, ../*.csv], target: y}\nmodel: mlp\n"
    )
    assert arguments("configs/list.yaml")["train"] == [str(here / "configs/a.csv"), str(here / "*.csv")]


def test_stdin_is_not_a_path(here: Path) -> None:
    (here / "configs" / "stdin.yaml").write_text("dataset: {name: table, train: '-', target: y}\nmodel: mlp\n")
    assert arguments("configs/stdin.yaml")["train"] == "-"


def test_prepared_dataset_is_found_from_the_folder_of_the_file(here: Path) -> None:
    prepared = here / "configs" / "tfds" / "my_prepared" / "1.0.0"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    (here / "configs" / "c.yaml").write_text("dataset: {name: my_prepared, data_dir: tfds}\nmodel: mlp\n")
    assert arguments("configs/c.yaml")["data_dir"] == str(here / "configs" / "tfds")


CODE = """
import pathlib
from pathlib import Path
from types import SimpleNamespace
from tfloop_cli import datasets

@datasets.register("files")
def files(*, one: Path, more: list[pathlib.Path] = [], other: Path | None = None, text: str = "a"):
    return SimpleNamespace(spec=(one, more, other, text), splits={}, fingerprint="")
"""


def test_builder_receives_a_path(here: Path) -> None:
    (here / "my.py").write_text(CODE)
    (here / "configs" / "c.yaml").write_text("dataset: {name: files, one: a, more: [b, /c]}\nmodel: mlp\n")
    plugins.load([here / "my.py"])
    types = [one.type_description for one in datasets.declaration("files").parameters]
    assert types == ["path", "list of paths", "null or path", "text"]
    spec = datasets.build(load(["configs/c.yaml"]).config.dataset).spec
    assert spec == (here / "configs" / "a", [here / "configs" / "b", Path("/c")], None, "a")
    user_modules.forget()
    for one in registry.REGISTRIES.values():
        one.forget_code()
