"""`tfloop report`: one self-contained page of a run, or of several, without TensorFlow where none is needed."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.engine.evaluation_files import (
    Examples,
    TestOutputs,
    positions_to_keep,
    write_examples,
    write_outputs,
)  # fmt: skip
from tfloop_cli.report.comparison import best_values
from tfloop_cli.report.images import png
from tfloop_cli.report.importance import weights_of
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.report.statistics import (
    bootstrap,
    calibration_error,
    mean_interval,
    regression_metrics,
    reliability,
    roc,
    wilson,
)  # fmt: skip
from tfloop_cli.runs.records import find_record

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A parsed page: its sections, its texts, and what it refers to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.bytes = path.read_bytes()
        self.sections: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.bytes.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes) -> None:
        values = dict(attributes)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self.sections.append(values["id"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.references += [values[name] for name in ("src", "href", "xlink:href", "data") if name in values]
        self.labels += [values["aria-label"]] if "aria-label" in values else []

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        assert "script" not in self._open
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if "style" not in self._open:
            self.text += data

    def row(self, *first: str) -> list[str]:
        return next(row for row in self.rows if row[: len(first)] == list(first))


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Returns a function that calls the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["report", *map(str, arguments)])
        return result.exit_code, result.stdout, result.stderr

    return call


def epoch(number: int, **metrics: object) -> dict[str, object]:
    values = {"loss": 1 / number, "accuracy": 1 - 0.5 / number} | metrics
    return {
        "event": "epoch", "epoch": number, "step": number * 10, "train": values, "validation": values,
        "train_seconds": 1.0, "validation_seconds": 0.1, "examples_per_second": 100.0, "best": True,
    }  # fmt: skip


def write_run(
    folder: Path, epochs=(epoch(1), epoch(2)), reason="completed", test=None, names=("a", "b"), config="", spec=True
) -> Path:
    """Writes a run folder by hand, as training writes it."""
    folder.mkdir(parents=True)
    default = "dataset: {name: mnist}\nmodel: {name: mlp}\ntask: {name: classification}\nseed: 0\n"
    (folder / "config.yaml").write_text(config or default)
    target = {"shape": [], "class_names": list(names), "one_hot": False}
    meta = {
        "started": "2026-11-26T10:00:00+00:00",
        "run_id": "1",
        "command": ["tfloop", "train", "x.yaml"],
        "data": "f",
    }
    meta |= {"spec": {"inputs": {"shape": [2], "dtype": "float32"}, "targets": target, "columns": []}} if spec else {}
    (folder / "meta.json").write_text(json.dumps(meta))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in epochs))
    final = {key: epochs[-1][key] for key in ("epoch", "step", "train", "validation")} if epochs else None
    if reason:
        summary = {"schema": 1, "reason": reason, "seconds": 2.0, "final": final, "best": final}
        summary |= {"evaluations": {"test": test} if test else {}}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def with_outputs(folder: Path, targets, scores, inputs=None, descriptions=()) -> Path:
    targets, scores = np.asarray(targets), np.asarray(scores)
    if scores.dtype == np.float32:
        loss = -np.log(np.maximum(scores[np.arange(len(targets)), targets], 1e-9))
    else:
        loss = np.square(scores - targets.reshape(scores.shape)).mean(axis=1)
    write_outputs(folder / "evaluation", TestOutputs({"": targets}, scores, loss))
    inputs = np.zeros((len(targets), 2), np.float32) if inputs is None else inputs
    positions = np.arange(len(targets))
    write_examples(folder / "evaluation", Examples(positions, {"": inputs}, {"": targets}, descriptions))
    return folder


def test_report_of_a_trained_run(finished, report, tmp_path) -> None:
    folder = tmp_path / "elsewhere"
    subprocess.run(["cp", "-r", finished.folder, folder], check=True)
    code, out, err = report(folder)
    assert (code, out) == (0, f"{folder}/report.html\n"), err
    page = Page(folder / "report.html")
    assert page.sections == [
        "result", "curves", "classes", "confusion", "calibration", "mistakes", "data", "config", "environment", "again",
        "omitted",
    ]  # fmt: skip
    test = finished.read("summary.json")["evaluations"]["test"]
    assert page.row("test")[1:] == [f"{test['loss']:.4f}", f"{test['accuracy']:.4f}", "50"]
    assert "95%: " in page.text  # both metrics agree with the kept outputs
    assert [one for one in page.references if not one.startswith(("#", "data:image/png;base64,"))] == []
    assert not re.search(rb"https?://|url\(|@import|javascript:|<script", page.bytes)
    assert len(page.bytes) < 500_000
    first = page.bytes
    assert report(folder, "--output", "again.html")[0] == 0
    assert (tmp_path / "again.html").read_bytes() == first


def test_report_loads_no_tensorflow(finished, tmp_path) -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from tfloop_cli.cli import app\n"
        f"result = CliRunner().invoke(app, ['report', {str(finished.folder)!r}, '-o', {str(tmp_path / 'r.html')!r}])\n"
        "assert result.exit_code == 0, result.output\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_json_document(finished, report, tmp_path) -> None:
    code, out, _ = report(finished.folder, "--output", "page.html", "--json", "--quiet")
    (document,) = map(json.loads, out.splitlines())
    assert code == 0
    assert document["bytes"] == (tmp_path / "page.html").stat().st_size
    assert document["omitted"] == [{"part": "Importance of columns", "why": "the data is no table"}]
    assert {"event", "schema", "file", "runs", "images"} <= set(document)


# Known values


def test_scores_of_classes(report, tmp_path) -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]], np.float32)
    run = with_outputs(write_run(tmp_path / "run", test={"examples": 4, "accuracy": 0.75}), [0, 1, 1, 1], scores)
    assert report(run)[0] == 0
    page = Page(run / "report.html")
    assert page.row("a") == ["a", "0.5000", "1.0000", "0.6667", "1"]
    assert page.row("b") == ["b", "1.0000", "0.6667", "0.8000", "3"]
    assert "Area under the curve (AUC) of class b: 1.0000" in page.text
    assert "roc" in page.sections
    low, high = wilson(3, 4)
    assert f"95%: {low:.4f} to {high:.4f}" in page.text


def test_wilson_interval() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(50, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)


@pytest.mark.parametrize("size", [2_000, 200_000])  # of the second, fewer examples are drawn
def test_bootstrap_of_a_mean_is_its_interval(size) -> None:
    values = np.random.default_rng(1).normal(size=size)
    low, high = bootstrap(size, lambda drawn: np.array([values[drawn].mean()]))
    assert (low[0], high[0]) == pytest.approx(mean_interval(values), abs=0.3 * 1.96 / np.sqrt(size))


def test_area_under_the_curve_with_ties() -> None:
    scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])
    assert roc(scores, positive)[2] == 0.875  # one of the four pairs is a tie
    assert np.isnan(roc(scores, np.ones(4, bool))[2])


def test_calibration_error() -> None:
    scores = np.array([[0.95, 0.05]] * 4 + [[0.35, 0.65]] * 4, np.float32)
    bins = reliability(scores, np.array([0, 0, 0, 1, 1, 1, 0, 0]))
    assert [(one.count, one.accuracy) for one in bins] == [(4, 0.5), (4, 0.75)]
    assert calibration_error(bins) == pytest.approx((0.15 + 0.2) / 2, abs=1e-6)


def test_residuals(report, tmp_path) -> None:
    targets = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    predictions = np.array([[1.5], [2.0], [3.0], [3.0]])
    rmse = float(np.sqrt(1.25 / 4))
    run = write_run(tmp_path / "run", test={"examples": 4, "rmse": rmse, "loss": 9.9}, names=())
    assert report(with_outputs(run, targets, predictions))[0] == 0
    page = Page(run / "report.html")
    assert "residuals" in page.sections
    assert "Half of the absolute errors are below 0.25" in page.text
    assert page.text.count("95%: ") == 1  # the loss differs from that of the kept outputs: it may be weighted


# Text from data is text


def test_data_is_escaped(report, tmp_path) -> None:
    evil = "<script>alert(1)</script>\"'&</style>"
    scores = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    config = f"dataset: {{name: table, train: {json.dumps(evil)}}}\nmodel: {{name: mlp}}\n"
    run = write_run(tmp_path / "run<b>", names=(evil, "b"), config=config, test={"examples": 2, evil: 0.5})
    with_outputs(run, [0, 1], scores, descriptions=[{"text": evil}, {"row": {evil: evil}}])
    assert report(run)[0] == 0
    page = Page(run / "report.html")  # fails at a script, and at an element that is not closed
    assert page.text.count("alert(1)") > 4


# Runs that lack something


@pytest.mark.parametrize("reason", ["SIGINT", "diverged", "failed", None])
def test_interrupted_run(report, tmp_path, reason) -> None:
    run = write_run(tmp_path / "run", reason=reason)
    code, _, err = report(run)
    assert (code, "omitted: Test split: it was not evaluated" in err) == (0, True)
    page = Page(run / "report.html")
    assert "The run" in page.text
    assert page.sections[:2] == ["result", "curves"]


def test_run_without_epochs(report, tmp_path) -> None:
    run = write_run(tmp_path / "run", epochs=(), reason="failed")
    assert report(run)[0] == 0
    assert "The run has no epoch yet." in Page(run / "report.html").text


def test_values_that_are_not_finite_and_one_epoch_without_validation(report, tmp_path) -> None:
    first = epoch(1, loss=None) | {"validation": None}
    run = write_run(tmp_path / "run", epochs=(first,), test={"examples": 3, "loss": None, "accuracy": 1.0})
    scores = np.array([[np.nan, np.nan]] * 3, np.float32)
    with_outputs(run, [0, 1, 1], scores)
    assert report(run)[0] == 0
    page = Page(run / "report.html")
    assert page.row("train (epoch 1)") == ["train (epoch 1)", "-", "0.5000", "-"]
    assert "nan" not in page.text.lower()
    assert "(not finite)" in page.text


@pytest.mark.parametrize("classes", [1, 2, 200])
def test_number_of_classes(report, tmp_path, classes) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(classes, size=400)
    scores = (
        generator.dirichlet(np.ones(classes), size=400).astype(np.float32)
        if classes > 1
        else np.ones((400, 1), np.float32)
    )
    names = [f"a class with a long name {number}" for number in range(classes)]
    run = with_outputs(write_run(tmp_path / "run", names=names), labels, scores)
    assert report(run)[0] == 0
    page = Page(run / "report.html")
    assert f"confusion matrix of {min(classes, 30)} classes" in page.labels
    assert len(page.bytes) < 500_000


def test_large_images_fit(report, tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 224, 224, 3)).astype(np.uint8)
    labels = np.arange(30) % 2
    scores = np.stack([np.linspace(0, 1, 30), 1 - np.linspace(0, 1, 30)], axis=1).astype(np.float32)
    run = with_outputs(write_run(tmp_path / "run"), labels, scores, images, [{"name": f"{n}.png"} for n in range(30)])
    assert report(run)[0] == 0
    page = Page(run / "report.html")
    assert sum(one.startswith("data:image/png") for one in page.references) == 24
    assert len(page.bytes) < 500_000


def test_samples_of_a_generative_task(report, tmp_path) -> None:
    run = write_run(tmp_path / "run")
    (run / "samples").mkdir()
    for number in (1, 2):
        (run / "samples" / f"epoch-000{number}.png").write_bytes(png(np.full((4, 4, 1), number, np.uint8)))
    assert report(run)[0] == 0
    page = Page(run / "report.html")
    assert "samples" in page.sections
    assert "epoch-0002.png" in page.text
    assert "mistakes" not in page.sections


def test_damaged_files_are_omitted(report, tmp_path) -> None:
    run = with_outputs(write_run(tmp_path / "run"), [0, 1], np.eye(2, dtype=np.float32))
    (run / "evaluation" / "test.npz").write_bytes(b"PK")
    (run / "summary.json").write_text("{")
    (run / "config.yaml").write_text("a: [")
    code, _, err = report(run)
    assert code == 0, err
    assert "damaged" in Page(run / "report.html").text


def test_run_of_a_version_without_spec_and_of_a_newer_schema(report, tmp_path) -> None:
    old = with_outputs(write_run(tmp_path / "old", spec=False), [0, 1], np.eye(2, dtype=np.float32))
    assert report(old)[0] == 0
    newer = write_run(tmp_path / "newer")
    (newer / "summary.json").write_text('{"schema": 99}')
    code, _, err = report(newer)
    assert (code, "schema 99" in err) == (2, True)


# Several runs


def test_runs_beside_each_other(report, tmp_path) -> None:
    first = write_run(tmp_path / "first", test={"examples": 9, "accuracy": 0.5, "loss": 0.2})
    second = write_run(
        tmp_path / "second", test={"examples": 9, "accuracy": 0.75, "loss": 0.3},
        config="dataset: {name: mnist}\nmodel: {name: mlp}\ntask: {name: classification}\nseed: 1\n",
    )  # fmt: skip
    assert report(first, second) == (0, "report.html\n", "")
    page = Page(tmp_path / "report.html")
    assert page.row("test/accuracy") == ["test/accuracy", "0.5000", "0.7500"]
    assert b'class="number best">0.7500' in page.bytes
    assert b'class="number best">0.2000' in page.bytes
    assert page.row("config") == ["config", "seed", "0", "1"]
    assert "seeds 0, 1" in page.text
    assert page.sections == ["result", "seeds", "curves", "differences"]


def test_best_value_is_marked_only_on_the_same_test_data(report, tmp_path) -> None:
    test = {"examples": 2, "accuracy": 0.5}
    runs = [write_run(tmp_path / "a", test=test), write_run(tmp_path / "b", test=test | {"accuracy": 1.0})]
    scores = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    for run in runs:
        with_outputs(run, [0, 1], scores)
    lines = {"nothing": "", "targets": "different test data", "data": "different test and validation data"}
    for change, line in lines.items():
        if change == "targets":
            with_outputs(runs[1], [1, 1], scores)
        elif change == "data":
            with_outputs(runs[1], [0, 1], scores)
            (runs[1] / "meta.json").write_text((runs[1] / "meta.json").read_text().replace('"f"', '"other"'))
        assert report(*runs)[0] == 0
        page = Page(tmp_path / "report.html")
        assert b'class="number best">1.0000' in page.bytes if change == "nothing" else line in page.text
        assert (b'class="number best"' in page.bytes) == (change == "nothing")


def test_the_same_rows_read_with_other_keys_are_the_same_data(report, tmp_path) -> None:
    runs, keys = [], ("", ", ignore: [x]")
    for name, key in zip("ab", keys, strict=True):
        config = f"dataset: {{name: table, train: a.csv, target: y{key}}}\n"
        run = write_run(tmp_path / name, test={"examples": 2, "accuracy": 0.5 + 0.5 * (name == "b")}, config=config)
        meta = json.loads((run / "meta.json").read_text()) | {"data": name, "decisions": {"test": 2, "validation": 1}}
        (run / "meta.json").write_text(json.dumps(meta))
        with_outputs(run, [0, 1], np.array([[0.9, 0.1], [0.6, 0.4]], np.float32))
        runs.append(run)
    assert report(*runs)[0] == 0
    assert b'class="number best">1.0000' in Page(tmp_path / "report.html").bytes


def test_r2_of_a_constant_target_is_that_of_the_evaluation(report, tmp_path) -> None:
    """It was minus infinity in reports, and 1 - residual in exports."""
    from tfloop_cli.engine.determination import r2, r2_of_sums

    targets, predictions = np.full((4, 1), 2024.1), np.array([[2024.0], [2024.1], [2024.2], [2024.1]])
    for guess, expected in ((predictions, 0.0), (targets, 1.0), (predictions * np.nan, np.nan)):
        sums = np.stack([(guess - targets) ** 2, targets, targets**2]).sum(axis=1)
        assert np.array_equal([regression_metrics(targets, guess)["r2"], r2(targets, guess)], [expected] * 2, True)
        assert np.array_equal(r2_of_sums(sums, 4), expected, equal_nan=True)
    run = write_run(tmp_path / "run", test={"examples": 4, "r2": 0.0}, names=())
    assert report(with_outputs(run, targets[:, 0], predictions))[0] == 0
    assert "inf" not in Page(run / "report.html").text


# Output


@pytest.mark.parametrize(("metric", "best"), [("accuracy", [0]), ("loss", [1]), ("perplexity", [])])
def test_best_value_is_marked_where_the_name_shows_it(metric, best) -> None:
    assert best_values(metric, [0.9, 0.8, None]) == best


def test_file_of_the_user_is_not_written_over(report, tmp_path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "mine.html").write_text("<!doctype html>")
    assert report(run, "--output", "mine.html")[0] == 2
    assert report(run, "--output", tmp_path)[0] == 2
    assert (tmp_path / "mine.html").read_text() == "<!doctype html>"
    assert report(run) == report(run)


def test_errors(report, tmp_path) -> None:
    run = write_run(tmp_path / "run")
    assert report(tmp_path / "nothing")[0] == 2
    code, out, _ = report(run, "--output", "no/such/folder.html", "--json")
    assert code in (2, 75)
    assert json.loads(out)["event"] == "error"


def test_png_files(report, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    run = with_outputs(write_run(tmp_path / "run", names=("a", "$b_$")), [0, 1], np.eye(2, dtype=np.float32))
    assert report(run, "--png")[1].splitlines() == [
        f"{run}/report-curves.png", f"{run}/report-confusion-matrix.png", f"{run}/report.html"
    ]  # fmt: skip
    before = [(run / f"report-{name}.png").read_bytes() for name in ("curves", "confusion-matrix")]
    report(run, "--png")
    assert before == [(run / f"report-{name}.png").read_bytes() for name in ("curves", "confusion-matrix")]


def test_curves_of_several_runs_in_one_png(report, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    runs = [write_run(tmp_path / name) for name in ("_a", "$b_$")]
    assert report(*runs, "--png")[1].splitlines() == ["report-curves.png", "report.html"]
    first = (tmp_path / "report-curves.png").read_bytes()
    report(*runs, "--png")
    assert (tmp_path / "report-curves.png").read_bytes() == first


# With the model


def test_table_with_importance_at_the_end_of_training(machine, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    rows = [f"{x:.4f},{y:.4f},{'yes' if x > 0.5 else 'no'}" for x, y in generator.random((200, 2))]
    Path("data.csv").write_text("\n".join(["useful,useless,label", *rows]) + "\n")
    arguments = ["train", "data.csv", "--target", "label", "--output", "run", "--report", "--quiet"]
    changes = ["model=linear", "epochs=30", "max_steps=null", "optimizer={name: adam, learning_rate: 0.1}", "threads=1"]
    result = CliRunner().invoke(app, [*arguments, *(part for one in changes for part in ("--set", one))])
    assert result.exit_code == 0, result.output
    page = Page(tmp_path / "run" / "report.html")
    assert "importance" in page.sections
    assert page.row("column")[1] == "increase of the log loss (20 kept examples)"
    assert float(page.row("useful")[2]) > 0
    titles = re.findall(r"(useful|useless): (-?[\d.e+-]+) ± ", page.text)
    assert [name for name, _ in titles] == ["useful", "useless"]
    assert float(titles[0][1]) > 10 * abs(float(titles[1][1]))
    described = [json.loads(line) for line in Path("run/evaluation/examples.jsonl").read_text().splitlines()]
    assert set(described[0]["row"]) == {"useful", "useless", "label"}
    lines = [line.split(",") for line in rows]
    assert all(
        [one["row"]["useful"], one["row"]["label"]] in [[f"{float(a):.10g}", c] for a, _, c in lines]
        for one in described
    )
    assert "useless" in page.row("example", "true", "predicted", "loss")


def test_kept_examples_stand_for_all(tmp_path) -> None:
    """Those with extreme losses were chosen by it, and would count ten times with equal weights."""
    loss = np.random.default_rng(0).exponential(size=1000) ** 3
    scores = np.stack([np.exp(-loss), 1 - np.exp(-loss)], axis=1).astype(np.float32)
    run = write_run(tmp_path / "run")
    write_outputs(run / "evaluation", TestOutputs({"": np.zeros(1000, int)}, scores, loss))
    kept = positions_to_keep(1000, loss, 200)
    write_examples(run / "evaluation", Examples(kept, {"": np.zeros((len(kept), 2))}, {"": np.zeros(len(kept), int)}))
    weights = weights_of(ReportedRun.read(find_record(str(run), tmp_path)))
    assert weights.sum() == pytest.approx(1)
    assert sorted(set(weights.round(6))) == pytest.approx([0.001, 0.9 / (len(kept) - 100)], abs=1e-6)
    assert weights @ loss[kept] == pytest.approx(loss.mean(), rel=0.1)
    assert loss[kept].mean() > 3 * loss.mean()


# Other data


@pytest.fixture
def table_run(tiny_runs, tmp_path) -> Path:
    """A run that keeps nothing of its test split; `new.csv` has some of its rows."""
    folder = Path(shutil.copytree(tiny_runs("table"), tmp_path / "run"))
    shutil.rmtree(folder / "evaluation")
    lines = (tiny_runs.cwd / "table.csv").read_text().splitlines(keepends=True)
    (tmp_path / "new.csv").write_text("".join(lines[:80]))
    return folder


def test_other_data_is_shown_in_place_of_the_test_split(table_run, report, tmp_path) -> None:
    code, out, err = report(table_run, "--data", "new.csv", "--json", "--quiet")
    assert code == 0, err
    (document,) = map(json.loads, out.splitlines())
    file = table_run / "report-new.html"
    assert (document["data"], document["file"], document["omitted"]) == ("new.csv", str(file), [])
    page = Page(file)
    assert {"classes", "confusion", "calibration", "roc", "mistakes", "importance"} <= set(page.sections)
    assert "those of new.csv (79 examples, fingerprint " in page.text
    evaluated = CliRunner().invoke(app, ["evaluate", str(table_run), "--data", "new.csv", "--json"]).stdout
    metrics = json.loads(evaluated.splitlines()[-1])["metrics"]
    assert page.row("new.csv (data)")[1:] == [f"{metrics['loss']:.4f}", f"{metrics['accuracy']:.4f}", "79"]
    assert page.text.count("95%: ") == 2
    assert not (table_run / "evaluation").exists()
    (tmp_path / "new.csv").rename(tmp_path / "moved.csv")
    assert report(table_run, "--data", "moved.csv", "-o", "again.html")[0] == 0
    assert (tmp_path / "again.html").read_bytes() == page.bytes.replace(b"new.csv", b"moved.csv")


def test_wrong_other_data_is_one_error(table_run, report, tmp_path) -> None:
    (tmp_path / "other.csv").write_text("size,label\n1,blue\n")
    for data, code, message in (
        ("nothing.csv", 4, "nothing.csv: this file does not exist"),
        ("other.csv", 4, "other.csv: split `data`: there is no column `kind`"),
    ):
        found, _, err = report(table_run, "--data", data)
        assert (found, message in err, "Traceback" in err) == (code, True, False), err
    assert report(table_run, table_run, "--data", "new.csv")[0] == 2
    assert not list(table_run.glob("*.html"))
