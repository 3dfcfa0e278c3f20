"""`tfloop predict` as a user calls it, in this process: each kind of run and of input, errors, outputs."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from tiny_runs import TinyRuns
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.errors import TfloopError
from tfloop_cli.runs.checkpoints import Checkpoint


class Result:
    def __init__(self, result: Any) -> None:
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [one for one in self.documents if one.get("event") == "prediction"]


@pytest.fixture
def predict(tiny_runs: TinyRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Returns a function that calls the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(kind: str, *arguments: object, stdin: str | None = None) -> Result:
        command = ["predict", str(tiny_runs(kind)), *map(str, arguments)]
        return Result(CliRunner().invoke(app, command, input=stdin))

    return call


# The examples of the run's own split


def true_scores(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of a split by the steps of the evaluation, and the targets."""
    from tfloop_cli.commands.opening import open_trained_run
    from tfloop_cli.engine.data import build_data
    from tfloop_cli.engine.kernels import fast_kernels
    from tfloop_cli.engine.runtime import kernel_settings
    from tfloop_cli.terminal.console import Console

    run = open_trained_run(folder, Console(quiet=True))
    data = build_data(run.config, encoders=run.encoders or None)
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)
    def compute(inputs):
        with fast_kernels(kernel_settings(run.config)):
            found = run.task.probabilities(run.state, inputs)
            return run.task.predict(run.state, inputs) if found is None else found

    batches = list(data.evaluation(split))
    return np.concatenate([compute(batch[0]) for batch in batches]), np.concatenate([batch[1] for batch in batches])


@pytest.mark.parametrize("kind", TinyRuns.KINDS)
def test_split_has_the_scores_of_the_evaluation(kind: str, predict: Callable, tiny_runs: TinyRuns) -> None:
    arguments = [] if kind == "numbers" else ["--probabilities"]
    result = predict(kind, "--split", "test", "--output", "test.parquet", *arguments)
    assert result.code == 0, result.err
    table = pyarrow.parquet.read_table("test.parquet")
    scores, targets = true_scores(tiny_runs(kind), "test")
    summary = tiny_runs.read(kind, "summary.json")["evaluations"]["test"]
    assert table.num_rows == summary["examples"]
    first = "prediction_" if kind == "numbers" else "probability_"
    columns = [name for name in table.column_names if name.startswith(first)]
    np.testing.assert_array_equal(np.stack([table[name].to_numpy() for name in columns], axis=1), scores)
    if kind == "numbers":
        error = np.abs(scores - targets).mean()
        assert error == pytest.approx(summary["mae"], rel=1e-5)
    else:
        names = [name.removeprefix(first) for name in columns]
        right = np.array([names[target] for target in targets]) == np.array(table["prediction"].to_pylist())
        assert right.mean() == summary["accuracy"]


# Rows of tables


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def write_rows(path: str, rows: list[dict[str, Any]], separator: str = ",") -> None:
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def expected(tiny_runs: TinyRuns, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[str, float]]:
    """The predictions for the test split of the run `table`: number of a row -> class and probability."""
    result = Result(
        CliRunner().invoke(app, ["predict", str(tiny_runs("table")), "--split", "test", "--json", "--device", "cpu"])
    )
    return {row["input"]: (row["prediction"], row["probability"]) for row in result.rows}


def check(rows: list[dict[str, Any]], expected: dict[int, tuple[str, float]], without: set[int] = frozenset()) -> None:
    by_number = {int(str(row["input"]).rpartition(":")[2]): row for row in rows}
    assert len(by_number) == len(rows) > 0
    for number, (label, probability) in expected.items():
        if number not in without:
            assert by_number[number]["prediction"] == label
            assert by_number[number]["probability"] == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "parquet", "feather", "jsonl", "json"])
def test_table_files_without_the_target(
    form: str, predict: Callable, tiny_runs: TinyRuns, expected: dict[int, tuple[str, float]]
) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather

    rows = rows_of(tiny_runs.cwd / "table.csv")
    for row in rows:
        del row["label"]
    if form in ("csv", "tsv", "csv.gz"):
        write_rows("new.csv", rows, "\t" if form == "tsv" else ",")
        content = Path("new.csv").read_bytes()
        with pa.output_stream(f"new.{form}", compression="gzip" if form == "csv.gz" else None) as stream:
            stream.write(content)
    elif form in ("jsonl", "json"):
        objects = [row | {"size": int(row["size"]), "paid": float(row["paid"] or "nan")} for row in rows]
        texts = [json.dumps(one).replace("NaN", "null") for one in objects]
        Path(f"new.{form}").write_text("\n".join(texts) if form == "jsonl" else f"[{','.join(texts)}]")
    else:
        write_rows("new.csv", rows)
        table = pyarrow.csv.read_csv("new.csv")
        writer = pyarrow.parquet.write_table if form == "parquet" else pyarrow.feather.write_feather
        writer(table, f"new.{form}")
    result = predict("table", f"new.{form}", "--json")
    assert result.code == 0, result.err
    check(result.rows, expected)
    *_, last = result.documents
    assert (last["event"], last["inputs"], last["errors"]) == ("predictions", 240, 0)


def test_rows_that_cannot_be_used_have_an_error(
    predict: Callable, tiny_runs: TinyRuns, expected: dict[int, tuple[str, float]]
) -> None:
    lines = (tiny_runs.cwd / "table.csv").read_bytes().splitlines()
    first, second, third = sorted(expected)[:3]
    lines[first] = b"1,many,a,2024-03-05,7.5,red"
    lines[second] = b"1,7,a"
    lines[third] = b"1,7,a,soon,7.5,red"
    Path("new.csv").write_bytes(b"\n".join(lines) + b"\n")
    result = predict("table", "new.csv", "--output", "out.jsonl", "--keep", "id", "--keep", "size")
    assert (result.code, result.out) == (4, "out.jsonl\n")
    assert "warning: 3 of 240 input(s) could not be used" in result.err
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    check(rows, expected, {first, second, third})
    errors = {row["input"]: row["error"] for row in rows if "error" in row}
    assert errors == {
        first: "column `size`: `many` is not a number as in training, plain",
        second: "the row has 3 cell(s), and the file has 6 columns",
        third: "column `day`: `soon` is not a date as in training, year-month-day",
    }
    assert rows[first - 1]["prediction"] is None
    assert (rows[9]["id"], rows[first - 1]["size"]) == ("9", "many")
    assert predict("table", "new.csv", "--output", "out.csv", "--keep", "size").code == 4
    assert rows_of(Path("out.csv"))[first - 1]["size"] == "many"


def test_unknown_categories_and_missing_values_are_as_in_training(predict: Callable, tiny_runs: TinyRuns) -> None:
    rows = rows_of(tiny_runs.cwd / "table.csv")[:3]
    rows[0]["kind"], rows[1]["paid"], rows[2]["size"] = "new", "", ""
    write_rows("new.csv", rows)
    result = predict("table", "new.csv")
    assert result.code == 0
    assert "note: 1 value(s) of `kind` do not occur in training" in result.err
    assert "note: 1 value(s) of `size` are missing, and none is in training" in result.err
    assert "`paid`" not in result.err
    assert [line.split()[0] for line in result.out.splitlines()] == ["input", "1", "2", "3"]


def test_large_file_is_read_in_chunks_and_a_wrong_cell_far_inside_is_found(
    predict: Callable, tiny_runs: TinyRuns, expected: dict[int, tuple[str, float]]
) -> None:
    header, *lines = (tiny_runs.cwd / "table.csv").read_text().splitlines()
    wide = [f"{line},{'x' * 300}" for line in lines] * 80
    wide[19_000] = wide[19_000].replace("2024", "never")
    wide[18_000] = re.sub(",[abc],", ",\xe4,", wide[18_000])  # the file is no UTF-8, which its beginning does not show
    Path("new.csv").write_text("\n".join([f"{header},more", *wide]) + "\n", encoding="latin-1")
    result = predict("table", "new.csv", "--output", "out.csv", "--batch-size", "64")
    rows = rows_of(Path("out.csv"))
    assert (result.code, len(rows)) == (4, 19_200)
    assert [int(row["input"]) for row in rows] == list(range(1, 19_201))
    assert [row["input"] for row in rows if row["error"]] == ["19001"]
    check([row | {"probability": float(row["probability"])} for row in rows[:240]], expected)
    assert [row["prediction"] for row in rows[19_001:]] == [row["prediction"] for row in rows[41:240]]


def test_file_with_a_single_column_has_no_separator(predict: Callable) -> None:
    Path("new.csv").write_text("text\nthe cold sea\na warm rose\n\na cold sea\n")
    assert [row["prediction"] for row in predict("text", "new.csv", "--json").rows] == ["blue", "red", "blue"]
    from tfloop_cli.engine.data.tables.dialect import DialectOptions
    from tfloop_cli.engine.data.tables.files import find_files
    from tfloop_cli.engine.inference.rows import RowReader

    Path("new.csv").write_text("day\n2024-01-02 10:00:00\n2024-01-03 11:30:00\n")
    reader = RowReader(DialectOptions(), {"decimal": ".", "header": True}, ["views"], ["day"], [], [], ["day"])
    (rows,) = reader.read(find_files("new.csv")[0])
    assert str(rows.table["day"][1].as_py()) == "2024-01-03 11:30:00"


def test_several_files_name_the_rows(predict: Callable, tiny_runs: TinyRuns) -> None:
    rows = rows_of(tiny_runs.cwd / "table.csv")
    write_rows("a.csv", rows[:2])
    write_rows("b.csv", rows[2:3])
    result = predict("table", "*.csv", "--json")
    assert [row["input"] for row in result.rows] == ["a.csv:1", "a.csv:2", "b.csv:1"]


def test_missing_columns_are_named_at_once(predict: Callable, tiny_runs: TinyRuns) -> None:
    rows = [{"id": row["id"], "size": row["size"]} for row in rows_of(tiny_runs.cwd / "table.csv")]
    for form in ("csv", "jsonl"):
        write_rows("new.csv", rows)
        Path("new.jsonl").write_text("\n".join(map(json.dumps, rows)))
        result = predict("table", f"new.{form}", "--output", "out.csv", "--keep", "nothing")
        assert result.code == 4
        assert "there are no columns `kind`, `day`, `paid`, `nothing`, which the run needs" in result.err
        assert not Path("out.csv").exists()
    result = predict("table", tiny_runs.cwd / "table.csv", "--keep", "nothing")
    assert "there is no column `nothing`, which `--keep` names" in result.err


def test_several_targets_and_a_table_without_header(predict: Callable, tiny_runs: TinyRuns) -> None:
    result = predict("numbers", tiny_runs.cwd / "table.csv", "--output", "out.csv")
    assert result.code == 0
    assert list(rows_of(Path("out.csv"))[0]) == ["input", "prediction_price", "prediction_weight", "error"]
    assert predict("numbers", "out.csv", "--top", "2").code == 2


# Lines of JSON


def test_json_lines_of_a_table(predict: Callable, tiny_runs: TinyRuns, expected: dict[int, tuple[str, float]]) -> None:
    number = min(expected)
    row = rows_of(tiny_runs.cwd / "table.csv")[number - 1]
    good = row | {"size": int(row["size"]), "paid": None}
    lines = [good, "no", good | {"paid": [1]}, {"size": 1}, good | {"paid": None}]
    assert predict("table", "-", stdin="{}\n").documents[0]["error"] == "there is no `size`, `kind`, `day`, `paid`"
    result = predict("table", "-", "--keep", "id", stdin="\n".join(map(json.dumps, lines)) + "\n\n{\n")
    assert result.code == 4
    first, *others = result.documents
    assert first == {
        "input": 1,
        "prediction": expected[number][0],
        "probability": first["probability"],
        "id": row["id"],
    }
    assert first["probability"] == pytest.approx(expected[number][1], abs=1e-6)
    assert others[0]["error"] == "this line is not a JSON object"
    assert "column `paid` has a value of type list" in others[1]["error"]
    assert others[2]["error"] == "there is no `kind`, `day`, `paid`, `id`"
    assert "error" not in others[3]
    assert (others[4]["input"], others[4]["error"][:25]) == (7, "this line is not JSON: Ex")


# Texts


def test_texts_in_files_tables_and_lines(predict: Callable) -> None:
    Path("texts", "deep").mkdir(parents=True)
    Path("texts", "a.txt").write_text("the cold sea and the sky")
    Path("texts", "deep", "b.txt").write_text("a warm rose, fire")
    Path("texts", "c.txt").write_bytes(b"\xff")
    result = predict("text", "texts", "--json")
    assert result.code == 4
    found = [(row["input"], row["prediction"]) for row in result.rows]
    assert found == [("texts/a.txt", "blue"), ("texts/c.txt", None), ("texts/deep/b.txt", "red")]
    Path("new.csv").write_text('id,text\n7,"cold, sky"\n8,"warm\nfire"\n')
    result = predict("text", "new.csv", "texts/a.txt", "--json")
    assert [(row["input"], row["prediction"]) for row in result.rows] == [
        ("new.csv:1", "blue"), ("new.csv:2", "red"), ("texts/a.txt", "blue"),
    ]  # fmt: skip
    assert "missing" not in result.err
    Path("new.jsonl").write_text('{"text": "sea"}\n{"id": 1}\n{"text": null}\n{"text": [1]}\n3\n')
    assert "note: 2 text(s) are missing, and predicted as empty ones" in predict("text", "new.jsonl").err
    lines = '{"text": "sea sky"}\n{"input": "rose fire"}\n{"what": 1}\n'
    result = predict("text", "-", stdin=lines)
    assert [row["prediction"] for row in result.documents] == ["blue", "red", None]
    result = predict("text", "a cold sea")
    assert result.code == 4
    assert "this file does not exist" in result.err


# Images and arrays


def test_image_files_folders_patterns_and_lines(predict: Callable, tiny_runs: TinyRuns) -> None:
    folder = tiny_runs.cwd / "images"
    result = predict("images", folder, "--output", "out.csv", "--probabilities", "--top", "2")
    assert result.code == 0, result.err
    rows = rows_of(Path("out.csv"))
    assert len(rows) == 80
    assert np.mean([row["prediction"] in row["input"] for row in rows]) > 0.9
    columns = "input prediction probability prediction_2 probability_2 probability_blue probability_red error"
    assert " ".join(rows[0]) == columns
    Path("bad.png").write_bytes(b"no image")
    assert predict("images", "bad.png").code == 4
    result = predict("images", f"{folder}/red/*0.png", "bad.png", "--json")
    assert (result.code, len(result.rows)) == (4, 5)
    assert result.rows[0]["input"] == f"{folder}/red/00.png"
    assert result.rows[4]["error"].startswith("this image cannot be used: ")
    lines = [{"input": f"{folder}/blue/01.png"}, {"input": "missing.png"}, {"input": 3}]
    result = predict("images", "-", stdin="\n".join(map(json.dumps, lines)))
    assert [row["input"] for row in result.documents] == [f"{folder}/blue/01.png", "missing.png", "3"]
    assert [row["prediction"] for row in result.documents] == ["blue", None, None]


def test_arrays_in_files_and_lines(predict: Callable, tiny_runs: TinyRuns) -> None:
    inputs = np.load(tiny_runs.cwd / "arrays.npz")["x_test"]
    known = predict("arrays", "--split", "test", "--json").rows
    np.save("x.npy", inputs.astype(np.float64))
    np.savez_compressed("x.npz", x=inputs, other=inputs[0])
    for name in ("x.npy", "x.npz", str(tiny_runs.cwd / "arrays.npz")):
        result = predict("arrays", name, "--json")
        assert [row["prediction"] for row in result.rows] == [row["prediction"] for row in known]
        assert [row["input"] for row in result.rows] == list(range(1, 61))
    lines = [{"input": inputs[0].tolist()}, {"input": [1, 2]}, {"input": "x"}]
    result = predict("arrays", "-", stdin="\n".join(map(json.dumps, lines)))
    assert [row["prediction"] for row in result.documents] == [known[0]["prediction"], None, None]
    np.save("one.npy", inputs[0])
    result = predict("arrays", "one.npy")
    assert result.code == 4
    assert "the first axis is that of the examples" in result.err


def test_arrays_for_a_table_with_names_are_refused(predict: Callable) -> None:
    np.save("x.npy", np.zeros((2, 4)))
    np.savez("x.npz", x=np.zeros((2, 4)))
    for name in ("x.npy", "x.npz"):
        result = predict("table", name)
        assert result.code == 2
        assert (
            f"{name}: this file does not suit the run\n  its columns have no names: save them as .csv or" in result.err
        )
        assert "with the column(s) `size`, `kind`, `day`, `paid`" in result.err


def test_lines_of_json_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .jsonl file that is larger than the memory: only the rows of one block are there at once."""
    from tfloop_cli.engine.data.tables.dialect import DialectOptions
    from tfloop_cli.engine.data.tables.files import find_files
    from tfloop_cli.engine.inference import rows

    monkeypatch.setattr(rows, "JSON_BLOCK", 100)
    (tmp_path / "x.jsonl").write_text("".join(f'{{"size": {number}}}\n' for number in range(100)))
    reader = rows.RowReader(DialectOptions(), None, [], ["size"], [], ["size"], ["size"])
    found = [one.table["size"].to_pylist() for one in reader.read(find_files(str(tmp_path / "x.jsonl"))[0])]
    assert [value for values in found for value in values] == list(range(100))
    assert 10 < len(found) < 20


def test_images_for_a_dataset_without_encoders(predict: Callable, tiny_runs: TinyRuns) -> None:
    result = predict("mnist", tiny_runs.cwd / "images" / "red" / "00.png")
    assert result.code == 0
    assert "note: image files become 28x28" in result.err
    np.save("x.npy", np.zeros((3, 28, 28), np.uint8))
    result = predict("mnist", "x.npy", "--json")
    assert len(result.rows) == 3
    assert "image files" not in result.err


# Options


def test_wrong_use(predict: Callable, tiny_runs: TinyRuns) -> None:
    table = tiny_runs.cwd / "table.csv"
    for kind, arguments, message in (
        ("images", [table], "this file does not suit the run"),
        ("table", [tiny_runs.cwd / "images"], "this folder does not suit the run"),
        ("table", [], "no input is given"),
        ("table", [table, "--split", "test"], "both inputs and `--split` are given"),
        ("table", ["-", table], "`-` (stdin) cannot be used together"),
        ("table", [table, "--output", "x.txt"], "use one of .csv, .jsonl, .parquet"),
        ("table", [table, "--keep", "prediction"], "the result has a column of this name"),
        ("table", ["--split", "nothing"], "there is no split `nothing`"),
    ):
        result = predict(kind, *arguments)
        assert (result.code, message in result.err) == (2, True), result.err


def test_screen_has_the_first_rows(predict: Callable, tiny_runs: TinyRuns) -> None:
    result = predict("table", tiny_runs.cwd / "table.csv")
    lines = result.out.splitlines()
    assert (len(lines), lines[0].split()) == (22, ["input", "prediction", "probability"])
    assert lines[-1] == "... and 220 more: `--output FILE` writes all"


def test_failed_run_leaves_no_file(tmp_path: Path) -> None:
    import pyarrow as pa

    from tfloop_cli.commands.prediction_file import PredictionFile

    table = pa.table({"input": [1], "error": pa.array([None], pa.string())})

    def interrupted(name: str) -> None:
        with PredictionFile(tmp_path / name) as file:
            file.write(table)
            raise KeyboardInterrupt

    for suffix in (".csv", ".jsonl", ".parquet"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(f"x{suffix}")
    assert not list(tmp_path.iterdir())


def test_folder_with_other_files(predict: Callable, tiny_runs: TinyRuns) -> None:
    Path("photos", "deep").mkdir(parents=True)
    (Path("photos") / "deep" / "a.png").symlink_to(tiny_runs.cwd / "images" / "red" / "00.png")
    Path("photos", "broken.png").symlink_to("nowhere.png")
    for name in ("notes.txt", ".hidden.png", "model.bin"):
        Path("photos", name).write_text("no image")
    result = predict("images", "photos", "--json")
    assert result.code == 4
    assert [(row["input"], "error" in row) for row in result.rows] == [
        ("photos/broken.png", True), ("photos/deep/a.png", False), ("photos/model.bin", True),
    ]  # fmt: skip


def test_paths_that_are_not_utf8(predict: Callable, tiny_runs: TinyRuns) -> None:
    name = os.fsdecode(b"photos/\xff.png")
    Path("photos").mkdir()
    Path(name).symlink_to(tiny_runs.cwd / "images" / "red" / "00.png")
    Path(f"{name}.gif").write_bytes(b"no image")
    for output in ("out.csv", "out.jsonl", "out.parquet"):
        assert predict("images", "photos", "--output", output).code == 4
    assert [row["input"] for row in rows_of(Path("out.csv"))] == ["photos/\\udcff.png", "photos/\\udcff.png.gif"]
    result = predict("images", name, "--json")
    assert (result.code, result.rows[0]["prediction"]) == (0, "red")


def test_missing_texts_are_empty_in_every_format(predict: Callable) -> None:
    Path("new.csv").write_text('text\n""\n')
    Path("new.jsonl").write_text('{"text": null}\n')
    expected = predict("text", "new.csv", "--json").rows[0]
    for arguments, stdin in ((["new.jsonl"], None), (["-"], '{"text": null}\n')):
        result = predict("text", *arguments, "--json", stdin=stdin)
        assert (result.code, result.rows[0]) == (0, expected)
        assert "1 text(s) are missing, and predicted as empty ones" in result.err


@pytest.mark.filterwarnings("error")
def test_number_that_is_too_large_for_the_run(predict: Callable) -> None:
    np.save("x.npy", np.full((1, 5), 1e300))
    result = predict("arrays", "x.npy", "--json")
    assert (result.code, result.rows[0]["error"]) == (4, "the model's output is not finite")


UNITS = {  # what the tiny run `table` was not trained on: column, cells -> message
    "percent": ("size", "20%", "column `size`: `20%` is not a number as in training, plain"),
    "currency": ("size", "$20", "column `size`: `$20` is not a number as in training, plain"),
    "order": ("day", "03/05/2024", "column `day`: `03/05/2024` is not a date as in training, year-month-day"),
    "words": ("size", "many", "column `size`: `many` is not a number as in training, plain"),
}


@pytest.mark.parametrize("name", UNITS)
def test_another_unit_than_in_training_is_refused(name: str, predict: Callable, tiny_runs: TinyRuns) -> None:
    """By `evaluate` as by `predict`."""
    column, cell, message = UNITS[name]
    rows = [row | {column: cell} for row in rows_of(tiny_runs.cwd / "table.csv")[:3]]
    write_rows("new.csv", rows)
    result = predict("table", "new.csv")
    assert result.code == 4
    command = ["evaluate", str(tiny_runs("table")), "--data", "new.csv"]
    evaluated = CliRunner().invoke(app, command)
    assert evaluated.exit_code == 4
    assert message in evaluated.stderr
    write_rows("new.csv", [*rows, rows[0] | {column: "2024-03-05" if column == "day" else "20"}])
    evaluated = CliRunner().invoke(app, command)
    assert (evaluated.exit_code, f"data: 3 value(s) of `{column}` such as `{cell}`" in evaluated.stderr) == (0, True)


def test_pixels_in_lines(predict: Callable, tiny_runs: TinyRuns) -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 14] = 255
    np.save("one.npy", pixels[None])
    known = predict("mnist", "one.npy", "--json").rows[0]
    lines = [{"input": pixels.tolist()}, {"input": pixels[1:].tolist()}, {"input": (pixels + 0.5).tolist()}]
    result = predict("mnist", "-", stdin="\n".join(map(json.dumps, lines)))
    assert result.code == 4
    first, *others = result.documents
    assert (first["prediction"], first["probability"]) == (known["prediction"], pytest.approx(known["probability"]))
    assert [row["error"] for row in others] == ["`input` is not uint8[28, 28, 1]"] * 2
    assert "image files become" not in result.err


# As a process


def test_lines_are_answered_as_they_come_and_ctrl_c_leaves_no_file(shell: Any, tiny_runs: TinyRuns) -> None:
    folder = tiny_runs("text")
    process = subprocess.Popen(
        shell.command("predict", folder, "-", "--quiet"), cwd=tiny_runs.cwd, env=shell.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    for text, label in (("cold sea", "blue"), ("warm rose", "red")):
        process.stdin.write(json.dumps({"text": text}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["prediction"] == label
    process.send_signal(signal.SIGINT)
    assert (process.wait(20), process.stderr.read() if process.stderr else "") == (130, "")
    process.communicate()


def test_checkpoint_behind_a_broken_link_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has removed it meanwhile: it is not tried again."""
    from tfloop_cli.commands.opening import use_checkpoint

    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000005").symlink_to("nowhere")
    once = iter([Checkpoint.open])
    monkeypatch.setattr(Checkpoint, "open", lambda path: next(once)(path))
    with pytest.raises(TfloopError, match="No such file"):
        use_checkpoint(tmp_path, "5", lambda checkpoint: None)


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_checkpoint_that_training_removes_meanwhile(
    command: str, tiny_runs: TinyRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process trains the run: between opening a checkpoint and reading it, it is replaced."""
    from tfloop_cli.commands import opening

    run = tmp_path / "run"
    shutil.copytree(tiny_runs("table"), run)
    (first,) = (run / "checkpoints").iterdir()
    right, calls = opening.set_up, []

    def set_up(*arguments: Any) -> Any:
        if not calls:
            first.rename(first.with_name(f"{first.name}-2"))
        calls.append(arguments)
        return right(*arguments)

    monkeypatch.setattr(f"tfloop_cli.commands.{'opening' if command == 'predict' else 'evaluate'}.set_up", set_up)
    data = ["--data", str(tiny_runs.cwd / "table.csv")][command == "predict" :]
    result = CliRunner().invoke(app, [command, str(run), *data, "--json"])
    assert (result.exit_code, len(calls)) == (0, 2), result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["checkpoint"].endswith(f"{first.name}-2")


def test_signal_while_a_file_is_written(
    predict: Callable, tiny_runs: TinyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfloop_cli.commands import prediction_file

    def write(self: prediction_file.PredictionFile, table: object) -> None:
        assert len(list(Path().glob(".out.csv.*.tmp"))) == 1
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(prediction_file.PredictionFile, "write", write)
    result = predict("table", tiny_runs.cwd / "table.csv", "--output", "out.csv")
    assert (result.code, result.err.splitlines()[-1]) == (143, "stopped")
    assert not list(Path().iterdir())
