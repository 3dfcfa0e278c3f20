"""Data that has grown since training: a run finds the examples that it held out, or says what has changed."""

import gzip
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import tensorflow as tf
from pyarrow import csv

from tfloop_cli.engine.data import Data, build_data
from tfloop_cli.engine.data.read_files import MAX_BLOCKS
from tfloop_cli.engine.run_data import build_run_data
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.checkpoints import Checkpoint

HEADER = "size,kind,label\n"


class Trained:
    """What a run keeps of its data, without a training.

    Args:
        config: of the run.
        folder: of the run.
    """

    def __init__(self, config: Any, folder: Path) -> None:
        self.config, self.notes, self.warnings = config, list[str](), list[str]()
        self.before = build_data(config)
        encoders, files = self.before.documents()
        self.encoders = json.loads(encoders or b"null")
        folder.mkdir()
        (folder / "config.yaml").touch()
        (folder / "data-files.json.gz").write_bytes(gzip.compress(json.dumps(files).encode()))
        self.checkpoint = Checkpoint(folder / "checkpoints" / "step-00000001", self.before.facts)

    def build(self, split: str = "test") -> Data:
        self.notes.clear()
        self.warnings.clear()
        how: dict[str, Any] = {"warn": self.warnings.append, "note": self.notes.append}
        return build_run_data(self.checkpoint, self.config, self.encoders, split, **how)

    def same(self, *splits: str) -> str:
        """Checks that splits have the same examples as at training; returns the only note."""
        for split in splits or ("test",):
            now = self.build(split)
            for one, two in zip(contents(self.before, split), contents(now, split), strict=True):
                np.testing.assert_array_equal(one, two)
            assert self.warnings == []
        return self.notes[0] if self.notes else ""

    def refused(self, split: str = "test") -> str:
        """Returns why a split is refused."""
        with pytest.raises(TfloopError, match=f"held out for `{split}` are not known") as caught:
            self.build(split)
        assert caught.value.code == ExitCode.DATA
        return str(caught.value)


def contents(data: Data, split: str) -> list[np.ndarray]:
    source, indices = data.split(split)
    return [np.asarray(one) for one in tf.nest.flatten(source.gather(tf.constant(indices)))]


@pytest.fixture
def trained(configure: Callable, tmp_path: Path) -> Callable[..., Trained]:
    def make(name: str, changes: Mapping[str, Any] = {}, **arguments: Any) -> Trained:
        arguments = {key: str(one) if isinstance(one, Path) else one for key, one in arguments.items()}
        config = configure(dataset={"name": name, **arguments}, **{"test": 0.2, "validation": 0.1, **changes})
        return Trained(config, tmp_path / "run")

    return make


def rows(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 100, count).tolist()
    return [f"{size},{'abc'[size % 3]},{'yes' if size > 50 else 'no'}\n" for size in sizes]


def test_rows_appended_to_a_table_change_nothing(trained, tmp_path: Path) -> None:
    file = tmp_path / "my.csv"
    file.write_text(HEADER + "".join(rows(150)))
    run = trained("table", train=file, target="label")
    with file.open("a") as opened:  # a category, a class and a type that training has not seen
        opened.writelines([*rows(17, seed=1), "7,new,no\n", "many,a,perhaps\n", "5,a,\n"])
    note = run.same("test", "validation", "train")
    assert note.endswith("my.csv has 20 rows more; `train` has the same 105 examples as then")
    file.rename(tmp_path / "moved.csv")
    moved = replace(run.config.dataset, arguments={**run.config.dataset.arguments, "train": tmp_path / "moved.csv"})
    run.config = run.config.model_copy(update={"dataset": moved})
    assert "moved.csv has 20 rows more" in run.same()


def test_changed_table_is_refused_with_what_has_changed(trained, tmp_path: Path) -> None:
    file, lines = tmp_path / "my.csv", rows(150)
    file.write_text(HEADER + "".join(lines))
    run = trained("table", train=file, target="label")
    file.write_text(HEADER + "".join([*lines[:16], "999,a,no\n", *lines[17:], *rows(20, seed=1)]))
    assert "my.csv:18 has changed" in run.refused()
    run.build("train")  # is not held out
    assert "the data has changed since training" in run.warnings[0]
    file.write_text(HEADER + "".join(lines[:140]))
    assert "my.csv has 140 rows, 150 then" in run.refused("validation")
    file.write_text(HEADER + "".join([*lines[1:], lines[0]]))
    assert "all rows differ" in run.refused()
    file.write_text(HEADER + "".join([*lines, *rows(20, seed=1)]))
    run.checkpoint.path.parent.parent.joinpath("data-files.json.gz").write_bytes(b"damaged")
    run.refused()


def test_block_of_many_rows_has_its_first_and_last_line(trained, tmp_path: Path) -> None:
    file, lines = tmp_path / "my.csv", rows(10 * MAX_BLOCKS)
    file.write_text(HEADER + "".join(lines))
    run = trained("table", train=file, target="label")
    file.write_text(HEADER + "".join([*lines[:123], "999,a,no\n", *lines[124:], *rows(20, seed=1)]))
    message = run.refused()
    assert "my.csv:122 or a row until" in message
    assert "my.csv:131 has changed" in message


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_added_to_a_pattern_change_nothing(kind: str, trained, tmp_path: Path) -> None:
    def write(name: str, content: list[str]) -> None:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(HEADER + "".join(content))
        if kind == "parquet":
            parquet.write_table(csv.read_csv(file), file.with_suffix(".parquet"))
            file.unlink()

    write("data/b.csv", rows(60))
    write("data/d.csv", rows(90, seed=1))
    run = trained("table", train=f"{tmp_path}/data/**/*.{kind}", target="label")
    write("data/a/b.csv", rows(10, seed=2))
    write("data/c.csv", rows(10, seed=3))
    write("data/b.csv", [*rows(60), *rows(5, seed=4)])
    note = run.same("test", "validation")
    assert f"train has 2 files more (`a/b.{kind}`, `c.{kind}`)" in note
    assert f"b.{kind} has 5 rows more" in note
    (tmp_path / f"data/d.{kind}").unlink()
    assert f"`d.{kind}` is missing" in run.refused()


def test_texts_added_to_a_table_or_folder_change_nothing(trained, tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    lines = [f"the {word} number {number},{word}\n" for number in range(30) for word in ("sea", "fire")]
    file.write_text("text,label\n" + "".join(lines))
    run = trained("text", train=file)
    with file.open("a") as opened:
        opened.write("a text of no known words,other\n")
    assert "texts.csv has 1 row more" in run.same("test", "validation")
    file.write_text("text,label\n" + "".join([*lines[:4], "another text,sea\n", *lines[5:]]))
    assert "texts.csv:6 has changed" in run.refused()

    shutil.rmtree(tmp_path / "run")
    for number, line in enumerate(lines):
        text, label = line.strip().split(",")
        (tmp_path / "texts" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / label / f"{number:03}.txt").write_text(text)
    run = trained("text", train=tmp_path / "texts")
    (tmp_path / "texts" / "fire" / "000.txt").write_text("a hot text")
    (tmp_path / "texts" / "cold").mkdir()
    (tmp_path / "texts" / "cold" / "1.txt").write_text("a text of another class")
    assert "train has 2 files more (`cold/1.txt`, `fire/000.txt`)" in run.same("test", "validation")
    (tmp_path / "texts").rename(tmp_path / "moved")
    (tmp_path / "texts").symlink_to(tmp_path / "moved")
    (tmp_path / "moved" / "sea" / "000.txt").write_text("other words")
    assert "sea/000.txt" in run.refused()


def test_images_added_to_a_folder_change_nothing(trained, tiny_runs, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(tiny_runs.cwd / "images", folder)
    run = trained("images", path=folder)
    first, other = folder / "blue" / "00.png", folder / "red" / "00.png"
    shutil.copy(first, folder / "red" / "00a.png")
    shutil.copy(first, folder / "blue" / "zz.png")
    (folder / "green").mkdir()
    shutil.copy(first, folder / "green" / "1.png")
    note = run.same("test", "validation")
    assert "train has 3 files more (`blue/zz.png`, `green/1.png`, `red/00a.png`)" in note
    assert note.endswith("`validation` has the same 8 examples as then")
    first.write_bytes(other.read_bytes() + b"\0")
    assert re.search(r"\(`blue/00\.png` has \d+ bytes, \d+ then\)", run.refused())
    first.unlink()
    assert "(`blue/00.png` is missing)" in run.refused("validation")
    (folder / "train").mkdir()
    with pytest.raises(TfloopError, match="images/train: it has no folders with images"):
        run.build()


def test_rows_added_to_arrays_change_nothing(trained, tmp_path: Path) -> None:
    random, file = np.random.default_rng(0), tmp_path / "my.npz"
    inputs, labels = random.normal(size=(70, 3)).astype(np.float32), np.array(["no", "yes"] * 35)
    labels[60:] = "perhaps"
    np.savez(file, x_train=inputs[:60], y_train=labels[:60])
    run = trained("arrays", path=file)
    for save in (np.savez, np.savez_compressed):
        save(file, x_train=inputs, y_train=labels)
        assert "has 10 rows more" in run.same("test", "validation")
    inputs[3] += 1
    np.savez(file, x_train=inputs, y_train=labels)
    run.refused()


def test_new_file_of_a_split_does_not_replace_the_held_out_one(trained, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_text(HEADER + "".join(rows(150)))
    run = trained("table", {"test": "auto"}, train=folder, target="label")
    (folder / "test.csv").write_text(HEADER + "".join(rows(10, seed=1)))
    run.same()
    run.checkpoint.path.parent.parent.joinpath("data-files.json.gz").unlink()  # a run of an earlier version
    assert "the dataset has a split `test` of its own now" in run.refused()


def test_changed_groups_of_the_same_rows_are_refused(trained, tmp_path: Path) -> None:
    file, lines = tmp_path / "my.csv", rows(150)
    lines = [f"{number % 20},{line}" for number, line in enumerate(lines)]
    file.write_text(f"person,{HEADER}" + "".join(lines))
    run = trained("table", {"group": "person"}, train=file, target="label")
    file.write_text(f"person,{HEADER}" + "".join([*lines, "20,7,a,no\n"]))
    run.same("test", "validation")
    file.write_text(
        f"person,{HEADER}" + "".join([*lines, "Ada,7,a,no\n"])
    )  # numbers become words, whose order is another one
    assert "others would be held out" in run.refused()
    others = [f"{(number + 1) % 20},{line.split(',', 1)[1]}" for number, line in enumerate(lines)]
    file.write_text(f"person,{HEADER}" + "".join(others))
    assert "others would be held out" in run.refused("validation")
