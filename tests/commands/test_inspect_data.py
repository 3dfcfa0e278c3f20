"""`tfloop inspect data` as a user calls it: with a file or a folder, a config, `--json`, `--strict`, `--output`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.engine.image_grid import GAP
from tfloop_cli.engine.inspection.images import PER_ROW


@pytest.fixture
def run(machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Returns a function that calls the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["inspect", "data", *arguments, "--set", "threads=1"])
        return result.exit_code, result.stdout, result.stderr

    return call


def table(path: str, leak: bool = False) -> None:
    rows = [
        f"{number % 7 + number / 100},{'ab'[number % 2]},{'xy'[number % 2 if leak else number // 2 % 2]}"
        for number in range(80)
    ]
    Path(path).write_text("\n".join(["size,kind,copy", *rows]) + "\n")


def images(folder: str) -> np.ndarray:
    """Writes images of two classes: the pixels of a class are equal."""
    pixels = np.zeros((2, 10, 12, 3), np.uint8)
    pixels[0, :5], pixels[1, :, :6] = [200, 0, 0], [0, 100, 50]
    for label, image in zip("ab", pixels, strict=True):
        for number in range(20):
            path = Path(folder, label, f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            image[-1, -1] = number  # so that no two files are equal
            path.write_bytes(tf.io.encode_png(image).numpy())
    return pixels


def test_table_without_a_config(run) -> None:
    table("data.csv")
    code, out, err = run("data.csv", "--target", "kind", "--strict")
    assert (code, out.splitlines()[0]) == (0, "table, task classification")
    assert out.endswith("\nno findings\n")
    assert "using built-in config tabular.yaml" in err
    assert "note: test: 8 of 80 training examples held out, stratified by class" in err
    assert sorted(path.name for path in Path().iterdir()) == ["data.csv"]  # no run folder, no image


def test_strict_exits_with_4_if_there_are_findings(run) -> None:
    table("data.csv", leak=True)
    code, out, _ = run("data.csv", "--target", "kind")
    assert (code, out.splitlines()[-1]) == (
        0, "- column `copy` alone predicts the target: it removes 100.0% of the wrong classes",
    )  # fmt: skip
    assert run("data.csv", "--target", "kind", "--strict")[0] == 4


def test_json_is_one_document(run) -> None:
    table("data.csv", leak=True)
    code, out, _ = run("data.csv", "--target", "kind", "--json", "--strict")
    document = json.loads(out)
    assert (code, document["event"], document["dataset"]) == (4, "data", "table")
    assert [split["examples"] for split in document["splits"]] == [72, 8]
    assert [(one["kind"], one["column"]) for one in document["findings"]] == [("leak", "copy")]
    assert document["examples"][0] == {"size": "0.0", "kind": "a", "copy": "x"}


def test_config_and_other_data_with_its_options(run) -> None:
    table("data.csv")
    table("other.csv", leak=True)
    Path("my.yaml").write_text(
        "extends: tabular.yaml\ndataset: {name: table, train: data.csv, target: kind, ignore: [copy]}\nvalidation: 0\n"
    )
    for arguments in (["my.yaml"], ["-c", "my.yaml", "other.csv"]):
        code, out, _ = run(*arguments, "--strict")
        assert code == 0  # the column that would be a leak is ignored
        assert "ignored as configured" in out
        assert "validation" not in out


def test_images_are_written_as_a_grid(run) -> None:
    pixels = images("photos")
    code, out, _ = run("photos", "--set", "augment=[]")
    assert code == 0
    assert "training images as the model receives them: inspect-data.png, one row per class: a, b\n" in out
    found = tf.io.decode_png(Path("inspect-data.png").read_bytes()).numpy()
    assert found.shape == (2 * (10 + GAP) + GAP, PER_ROW * (12 + GAP) + GAP, 3)
    for row, column in ((0, 0), (1, 0), (1, PER_ROW - 1)):
        top, left = GAP + row * (10 + GAP), GAP + column * (12 + GAP)
        np.testing.assert_array_equal(found[top : top + 9, left : left + 12], pixels[row, :9])
    assert not Path("runs").exists()


def test_batch_size_may_be_decided_by_the_data(run) -> None:
    images("photos")
    assert run("photos", "--set", "batch_size=auto")[0] == 0
    assert Path("inspect-data.png").is_file()


def test_output_names_the_grid(run) -> None:
    images("photos")
    code, out, _ = run("photos", "-o", "grid.png", "--json")
    assert (code, json.loads(out)["image"], Path("grid.png").is_file()) == (0, "grid.png", True)
    assert not Path("inspect-data.png").exists()
    code, _, err = run("photos", "-o", "missing/grid.png")
    assert (code, err.splitlines()[-1]) == (2, "error: `--output missing/grid.png`: there is no folder `missing`")


def test_image_that_cannot_be_written_by_default_is_a_warning(run) -> None:
    images("photos")
    Path("inspect-data.png").mkdir()
    code, out, err = run("photos", "--json")
    assert (code, json.loads(out)["image"]) == (0, None)
    assert "warning: the images are not written: " in err
    assert run("photos", "-o", "inspect-data.png")[0] in (2, 75)


def test_texts_and_their_dataset(run) -> None:
    lines = [f"this is {word} number {number},{word}" for number in range(20) for word in ("spam", "ham")]
    Path("mail.csv").write_text("\n".join(["body,kind", *lines]) + "\n")
    code, out, _ = run("mail.csv", "--dataset", "text", "--target", "kind", "--set", "dataset.text=body")
    assert (code, out.splitlines()[0]) == (0, "text, task classification")
    assert "\nkind  body\nspam  this is spam number 0\n" in out


def test_task_without_evaluation_holds_out_nothing(run) -> None:
    code, out, _ = run("gan_mnist", "--json")
    splits = {split["name"]: split["examples"] for split in json.loads(out)["splits"]}
    assert (code, splits) == (0, {"train": 60_000, "test": 10_000})


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 0, "synthetic"),
        (["data.csv"], 2, "`--target COLUMN`, one of `size`, `kind`, `copy`"),
        (["data.csv", "--target", "knd"], 4, "did you mean `kind`?"),
        (["missing.csv", "--target", "kind"], 4, "this file does not exist"),
        (["data.csv", "more.csv"], 2, "data is named twice"),
        (["empty"], 4, "there are no images, tables, texts or arrays in this folder"),
    ],
)
def test_wrong_arguments(run, arguments: list[str], code: int, message: str) -> None:
    table("data.csv")
    Path("empty").mkdir()
    found, out, err = run(*(arguments or ["--dataset", "synthetic"]))
    assert found == code
    assert message in out + err


def test_process_without_a_terminal(shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images("photos")
    process = shell.run(
        "inspect", "data", "photos", "--strict", "--json", cwd=tmp_path, TFLOOP_CACHE=str(tmp_path / "c")
    )
    assert process.code == 0
    (document,) = process.documents
    assert document["image"] == "inspect-data.png"
    assert "\x1b" not in process.out + process.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "inspect-data.png", "photos"]
