"""Results for CI systems, and comparison with a baseline; without TensorFlow."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from tfloop_cli.ci import CiReport, report_for
from tfloop_cli.cli import app
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import Evaluated, RunEnded
from tfloop_cli.runs.baseline import compare_examples, tolerances
from tfloop_cli.thresholds import parse_thresholds, require_passed

EVALUATED = Evaluated("test", 1000, {"loss": 0.25, "accuracy": 0.9}, "run/checkpoints/step-1")
LIMITS = parse_thresholds(["accuracy=0.95"], ["loss=0.5"])


def finish(report: CiReport, error: BaseException | None = None, evaluated: Evaluated | None = EVALUATED) -> None:
    """Runs a command that evaluates and then ends with `error`, or with the thresholds."""
    with report:
        if evaluated:
            report.handle(evaluated)
        if error:
            raise error
        require_passed(LIMITS, "test", evaluated.metrics if evaluated else {})


def finish_with(report: CiReport, error: TfloopError | None) -> None:
    report.__exit__(type(error) if error else None, error, None)
    if error:
        raise error


def suite(path: Path) -> ElementTree.Element:
    root = ElementTree.parse(path).getroot()
    (found,) = root
    cases = found.findall("testcase")
    assert (root.tag, found.tag) == ("testsuites", "testsuite")
    assert set(root.attrib) == {"tests", "failures", "errors", "time"}  # what the schema of Jenkins allows
    assert int(found.get("tests", 0)) == len(cases)
    for kind, name in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(found.get(kind, 0)) == sum(case.find(name) is not None for case in cases)
    return found


def outcomes(path: Path) -> dict[str | None, list[str]]:
    return {case.get("name"): [inner.tag for inner in case] for case in suite(path).findall("testcase")}


def test_junit_has_a_case_for_each_threshold(tmp_path: Path) -> None:
    junit = tmp_path / "results" / "junit.xml"
    with pytest.raises(TfloopError) as caught:
        finish(CiReport("tfloop train", LIMITS, junit))
    assert caught.value.code == ExitCode.THRESHOLD_FAILED
    assert outcomes(junit) == {"tfloop train": [], "accuracy >= 0.95": ["failure"], "loss <= 0.5": []}
    failure = suite(junit).find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "accuracy 0.9 is under 0.95, by 0.05"
    properties = {one.get("name"): one.get("value") for one in suite(junit).iter("property")}
    assert properties["test/accuracy"] == "0.9"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TfloopError("bad \x00 data <&>", code=ExitCode.DATA), "bad ? data <&>"),
        (typer.Exit(ExitCode.INTERRUPTED), "stopped: exit code 130"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_command_that_fails_is_an_error_and_its_thresholds_are_skipped(
    tmp_path: Path, error: BaseException, message: str
) -> None:
    junit = tmp_path / "junit.xml"
    with pytest.raises(type(error)):
        finish(CiReport("tfloop train", LIMITS, junit), error, evaluated=None)
    assert outcomes(junit) == {
        "tfloop train": ["error"], "accuracy >= 0.95": ["skipped"], "loss <= 0.5": ["skipped"],
    }  # fmt: skip
    found = suite(junit).find("testcase/error")
    assert found is not None
    assert found.get("message") == message


def test_threshold_that_was_not_evaluated_fails(tmp_path: Path) -> None:
    with pytest.raises(TfloopError):
        finish(CiReport("tfloop train", LIMITS, tmp_path / "junit.xml"), evaluated=None)
    assert outcomes(tmp_path / "junit.xml")["loss <= 0.5"] == ["failure"]


def test_process_that_is_killed_leaves_an_error(tmp_path: Path) -> None:
    CiReport("tfloop train", LIMITS, tmp_path / "junit.xml").__enter__()
    assert outcomes(tmp_path / "junit.xml")["tfloop train"] == ["error"]


def test_summary_is_appended_as_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, github = tmp_path / "summary.md", tmp_path / "github.md"
    mine.write_text("# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(github))
    report = report_for("tfloop train", LIMITS, None, mine, github=True)
    report.handle(RunEnded("completed", "runs/mine", "", "", 1.0))
    with pytest.raises(TfloopError):
        finish(report)
    assert mine.read_text() == "# Before\n" + github.read_text()
    assert (
        github.read_text()
        == """\
### tfloop train: failed

Run `runs/mine`

1,000 examples of `test`

| metric | value | required | baseline | result |
| --- | --- | --- | --- | --- |
| loss | 0.25 | <= 0.5 |  | passed |
| accuracy | 0.9 | >= 0.95 |  | **failed** |

"""
    )
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    with pytest.raises(TfloopError, match="needs the environment variable GITHUB_STEP_SUMMARY"):
        report_for("tfloop train", LIMITS, None, None, github=True)


def test_unwritable_file_is_an_error_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for options in ({"junit": tmp_path / "file" / "x.xml"}, {"summaries": [tmp_path]}, {"junit": tmp_path}):
        with pytest.raises(TfloopError) as caught, CiReport("tfloop train", (), **options):
            pytest.fail("the command was started")
        assert caught.value.code == ExitCode.USAGE
        assert ".tmp" not in str(caught.value)


def test_file_that_becomes_unwritable_does_not_hide_the_result(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    for error, code in ((None, ExitCode.USAGE), (TfloopError("x", code=ExitCode.DATA), ExitCode.DATA)):
        report = CiReport("tfloop train", (), folder / "x.xml").__enter__()
        (folder / "x.xml").unlink()
        folder.rmdir()
        folder.touch()
        with pytest.raises(TfloopError) as caught:
            finish_with(report, error)
        assert caught.value.code == code
        assert f"{folder}" in str(caught.value)
        folder.unlink()


# The baseline


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """What `tfloop evaluate --json` printed, after other documents."""
    path = tmp_path / "baseline.json"
    document = {"event": "evaluation", "split": "test", "metrics": {"accuracy": 0.9, "loss": 0.3, "mine": 1.0}}
    path.write_text('{"event": "start"}\nnot JSON\n' + json.dumps(document) + "\n")
    return path


def failed(
    baseline: Path | str, *texts: str, split: str = "test", runs_dir: Path = Path("runs"), **metrics: float
) -> list[str]:
    found = tolerances(str(baseline), texts, split, runs_dir)
    return [one.metric for one in found if one.failure(metrics)]


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"accuracy": 0.9, "loss": 0.3}, []),
        ({"accuracy": 0.89, "loss": 0.4}, []),  # exactly the tolerance
        ({"accuracy": 0.8899, "loss": 0.4}, ["accuracy"]),
        ({"accuracy": 0.99, "loss": 0.4001}, ["loss"]),
        ({"accuracy": float("nan"), "loss": 0.0}, ["accuracy"]),
        ({"loss": 0.0}, ["accuracy"]),
    ],
)
def test_tolerance_follows_the_direction_of_the_metric(
    baseline: Path, metrics: dict[str, float], expected: list[str]
) -> None:
    assert failed(baseline, "accuracy=0.01", "loss=0.1", **metrics) == expected


def test_failure_names_the_baseline(baseline: Path) -> None:
    (one,) = tolerances(str(baseline), ["accuracy=0.01"], "test", Path("runs"))
    assert one.rule == "accuracy >= 0.89"
    assert one.failure({"accuracy": 0.5}) == (
        f"accuracy 0.5 is under 0.89, by 0.39; the baseline {baseline} has 0.9, and the tolerance is 0.01"
    )


def test_unusable_value_of_a_baseline_is_an_error(tmp_path: Path) -> None:
    """What is not a number in JSON, or of another schema: never a limit that passes."""
    path = tmp_path / "summary.json"
    for value in ("null", "NaN", "true", '"0.1"', "[]", "1e999"):
        path.write_text(f'{{"evaluations": {{"test": {{"accuracy": {value}, "loss": 0.5}}}}}}')
        with pytest.raises(TfloopError, match=r"accuracy` of the baseline .* is no finite number\n  it has `loss`"):
            tolerances(str(path), ["accuracy=0.1"], "test", tmp_path)
    path.write_text(f'{{"evaluations": {{"test": {{"accuracy": 1{"0" * 400}}}}}}}')
    with pytest.raises(TfloopError, match="has no metrics of the split `test`"):
        tolerances(str(path), ["accuracy=0.1"], "test", tmp_path)
    path.write_text('{"schema": 9, "evaluations": {"test": {"accuracy": 0.1}}}')
    with pytest.raises(TfloopError, match="has schema 9, and this version of tfloop reads 1"):
        tolerances(str(path), ["accuracy=0.1"], "test", tmp_path)


def test_baseline_on_another_number_of_examples_is_a_warning(baseline: Path, tmp_path: Path) -> None:
    path, warnings = tmp_path / "other.json", list[str]()
    document = {"event": "evaluation", "split": "test", "examples": 30, "metrics": {"accuracy": 0.9, "loss": 0.1}}
    path.write_text(json.dumps(document))
    limits = tolerances(str(path), ["accuracy=0.1", "loss=0.1"], "test", tmp_path)
    compare_examples([*LIMITS, *limits, *tolerances(str(baseline), ["accuracy=0.1"], "test", tmp_path)], 30, fail)
    compare_examples(limits, 1000, warnings.append)
    assert warnings == [f"the baseline {path} was evaluated on 30 examples, not 1,000: is it the same data?"]


def fail(warning: str) -> None:
    pytest.fail(warning)


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "last", "--tolerance", "loss=1", "--baseline", "nothing"), ("evaluate", "nothing"),
        ("train", "nothing.yaml"), ("resume", "nothing"),
    ],
)  # fmt: skip
def test_usage_error_is_an_error_in_the_report(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Not a file of the last job, which has passed."""
    junit = tmp_path / "junit.xml"
    junit.write_text("passed")
    result = CliRunner().invoke(app, [*command, "--junit", str(junit), "--fail-under", "accuracy=0.5"])
    assert result.exit_code == 2
    assert outcomes(junit) == {f"tfloop {command[0]}": ["error"], "accuracy >= 0.5": ["skipped"]}


def test_run_and_summary_are_baselines(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "best"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    summary = {"evaluations": {"test": {"examples": 5, "accuracy": 0.9}}, "best": {"validation": {"accuracy": 0.7}}}
    (run / "summary.json").write_text(json.dumps(summary, indent=2))
    for source in (run, run / "summary.json", "best"):
        assert failed(source, "accuracy=0", runs_dir=run.parent, accuracy=0.8) == ["accuracy"]
        assert failed(source, "accuracy=0", split="validation", runs_dir=run.parent, accuracy=0.8) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((), "need each other"),
        (("accuracy",), "must be METRIC=NUMBER, such as accuracy=0.005"),
        (("f1=0.1",), "has no `f1`"),
        (("mine=0.1",), "does not show if higher values are better"),
        (("accuracy=-1",), "must not be negative"),
    ],
)
def test_wrong_tolerance_is_an_error(baseline: Path, texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(TfloopError, match=message) as caught:
        tolerances(str(baseline), texts, "test", Path("runs"))
    assert caught.value.code == ExitCode.USAGE


def test_wrong_baseline_is_an_error(baseline: Path, tmp_path: Path) -> None:
    for source, split, message in (
        (None, "test", "need each other"), (tmp_path / "nothing", "test", "no such run"),
        (baseline, "validation", "has no metrics of the split `validation`\n  it has metrics of test"),
    ):  # fmt: skip
        with pytest.raises(TfloopError, match=message) as caught:
            tolerances(None if source is None else str(source), ["accuracy=0.1"], split, tmp_path)
        assert caught.value.code == ExitCode.USAGE
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(TfloopError):
        tolerances(str(fifo), ["accuracy=0.1"], "test", tmp_path)
    baseline.write_bytes(b"\xff")
    with pytest.raises(TfloopError, match="--baseline"):
        tolerances(str(baseline), ["accuracy=0.1"], "test", tmp_path)
