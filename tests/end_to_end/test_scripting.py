"""The promise to scripts: what goes where, in which shape, and which exit code says what.

Every process here is a real one. TensorFlow takes seconds to load, so most tests look at what a few processes left.
"""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ESCAPE = "\x1b"
LONG = ("--epochs", "100000", "--set", "steps_per_execution=1")


# A run, as a person sees it through pipes


def test_results_go_to_stdout(finished) -> None:
    score, folder = finished.process.lines
    assert re.fullmatch(r"test  loss \d\.\d{4}  accuracy [01]\.\d{4}  \(50 examples\)", score)
    assert finished.cwd / folder == finished.folder


def test_progress_goes_to_stderr_a_line_an_epoch(finished) -> None:
    lines = finished.process.err.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    for line in epochs:
        for word in ("loss", "accuracy", "val_loss", "val_accuracy", "examples/s"):
            assert word in line
    assert any(line.endswith("best") for line in epochs)
    assert lines[-1] == f"next: tfloop evaluate runs/{finished.folder.name}"
    assert any(line.startswith("model") and "conv_net" in line for line in lines)


def test_tensorflow_says_nothing(finished, rerun) -> None:
    """What is on stderr is ours to the last line."""
    known = r"(run|dataset|model|optimizer|device|epoch|completed|next|note)\b"
    strange = [line for line in finished.process.err.splitlines() if line and not re.match(known, line)]
    assert strange == []


def test_pipes_carry_no_control_codes(finished, rerun) -> None:
    for process in (finished.process, rerun.process):
        assert ESCAPE not in process.out + process.err
        assert "\r" not in process.out + process.err


def test_the_run_folder_holds_what_was_promised(finished) -> None:
    names = {path.name for path in finished.folder.iterdir() if not path.name.startswith(".")}
    assert {"config.yaml", "meta.json", "metrics.jsonl", "summary.json", "checkpoints"} <= names
    assert re.fullmatch(r"small-\d{8}-\d{6}-[0-9a-f]{4}", finished.folder.name)
    summary, meta = finished.read("summary.json"), finished.read("meta.json")
    assert summary["reason"] == "completed"
    assert summary["evaluations"]["test"]["examples"] == 50
    assert meta["command"][1:] == ["train", "--config", "small.yaml", "--fail-over", "loss=100"]
    assert meta["versions"]["tensorflow"]
    (checkpoint, *_) = (finished.folder / "checkpoints").glob("step-*")
    assert {path.name for path in checkpoint.iterdir()} == {"state.safetensors", "manifest.json"}


def test_the_history_is_the_table(finished) -> None:
    told = [json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    assert [one["event"] for one in told] == ["epoch", "epoch", "evaluation", "end"]
    shown = [line for line in finished.process.err.splitlines() if line.startswith("epoch ")]
    for one, line in zip(told, shown, strict=False):
        assert f"  loss {one['train']['loss']:.4f}  " in line
        assert f"  val_accuracy {one['validation']['accuracy']:.4f}  " in line


# --json, --quiet, --fail-under


def test_json_documents(rerun) -> None:
    documents = rerun.process.documents
    assert [one["event"] for one in documents] == ["start", "epoch", "epoch", "evaluation", "end", "error"]
    start, epoch, _, evaluation, end, _ = documents
    assert {"schema": 1, "run": "again", "step": 0}.items() <= start.items()
    assert start["config"]["model"] == {
        "name": "conv_net", "filters": [4], "kernel_size": 3, "pool_every": 0, "batch_norm": False, "hidden": [],
        "dropout": 0.3,
    }  # fmt: skip
    assert {"epoch": 1, "step": 6}.items() <= epoch.items()
    for part in ("train", "validation"):
        assert set(epoch[part]) == {"loss", "accuracy"}
        assert all(isinstance(value, float) for value in epoch[part].values())
    for key in ("train_seconds", "validation_seconds", "examples_per_second"):
        assert epoch[key] > 0
    assert {"split": "test", "examples": 50}.items() <= evaluation.items()
    assert set(evaluation["metrics"]) == {"loss", "accuracy"}
    assert {"reason": "completed", "run": "again"}.items() <= end.items()
    assert re.fullmatch(r"[0-9a-f]{64}", end["weights_sha256"])
    assert (rerun.cwd / end["checkpoint"] / "manifest.json").is_file()
    assert end["seconds"] > 0


def test_json_numbers_are_not_rounded(finished, rerun) -> None:
    evaluation = rerun.process.documents[3]
    assert evaluation["metrics"]["loss"] == finished.read("summary.json")["evaluations"]["test"]["loss"]
    assert len(str(evaluation["metrics"]["loss"])) > 10


def test_a_bar_that_was_missed_is_exit_3_and_says_by_how_much(rerun) -> None:
    assert rerun.process.code == 3
    accuracy = rerun.process.documents[3]["metrics"]["accuracy"]
    said = f"test accuracy {accuracy:.6g} is under 1.01, by {1.01 - accuracy:.6g}"
    assert said in rerun.process.err
    error = rerun.process.documents[-1]
    assert error["code"] == 3
    assert error["errors"][0]["message"] == said


def test_quiet_leaves_errors_alone_on_stderr(rerun) -> None:
    assert len(rerun.process.err.splitlines()) == 1


def test_a_bar_that_was_cleared_is_exit_0(finished) -> None:
    assert finished.process.code == 0  # --fail-over loss=100


# evaluate


def test_evaluate_says_what_train_said(shell, finished) -> None:
    done = shell.run("evaluate", finished.folder.name, "--fail-under", "accuracy=1.01", cwd=finished.cwd)
    assert done.code == 3
    assert "accuracy" in done.err
    assert done.lines[0] == finished.process.lines[0]
    header = next(line for line in done.lines if line.startswith("class"))
    assert header.split() == ["class", "precision", "recall", "f1", "support"]
    rows = done.lines[done.lines.index(header) + 1 :][:3]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert sum(int(row.split()[-1]) for row in rows) == 50
    assert "most" not in done.err
    assert any(line.split()[:2] == ["true", "predicted"] for line in done.lines)
    assert ESCAPE not in done.out + done.err


@pytest.fixture
def score(machine: None, capsys: pytest.CaptureFixture[str]):
    """`tfloop evaluate FOLDER --json` in this process, which spares the seconds that TensorFlow takes to load."""

    def evaluate(folder: Path, **options) -> dict:
        from tfloop_cli.commands.evaluate import Options, evaluate
        from tfloop_cli.terminal.console import Console

        capsys.readouterr()
        assert evaluate(folder, Options(**options), Console(json=True)) == 0
        return json.loads(capsys.readouterr().out)

    return evaluate


def test_evaluate_as_json(finished, score, tmp_path: Path) -> None:
    """On a checkpoint's folder that was moved away from its run."""
    (best,) = (finished.folder / "checkpoints").glob("step-00000012")
    shutil.copytree(best, tmp_path / "moved")
    document = score(tmp_path / "moved", split="validation")
    assert {"event": "evaluation", "split": "validation", "examples": 20}.items() <= document.items()
    assert document["metrics"] == finished.read("summary.json")["final"]["validation"]
    assert sum(row["support"] for row in document["classes"]) == 20
    wrong = sum(row["count"] for row in document["confused"])
    assert wrong == round(20 * (1 - document["metrics"]["accuracy"]))


def test_a_damaged_checkpoint_is_exit_6_and_named(shell, finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run", symlinks=True)
    for state in (tmp_path / "run").glob("checkpoints/*/state.safetensors"):
        content = bytearray(state.read_bytes())
        content[-5] ^= 4
        state.write_bytes(bytes(content))
    done = shell.run("evaluate", "run", "--json", cwd=tmp_path)
    assert done.code == 6
    assert "state.safetensors" in done.err
    assert "Traceback" not in done.err
    (document,) = done.documents
    assert (document["event"], document["code"]) == ("error", 6)


# Exit code 2, which needs no TensorFlow


WRONG = [
    (("train", "-c", "small.yaml", "--set", "model.filter=[3]"), "did you mean `filters`?"),
    (("train", "-c", "small.yaml", "--output", "full"), "full is not an empty folder"),
    (("train", "-c", "small.yaml", "--fail-under", "accuracy=high"), "METRIC=NUMBER"),
    (("train", "-c", "small.yaml", "--from", "best"), "--resume"),
    (("evaluate", "nowhere"), "nowhere"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=lambda one: one[-1] if isinstance(one, tuple) else "")
def test_a_wrong_command_line_is_exit_2(shell, finished, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    shutil.copy(finished.cwd / "small.yaml", tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = shell.run(*arguments, "--json", cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    (document,) = done.documents
    assert (document["event"], document["code"]) == ("error", 2)
    assert set(document["errors"][0]) == {"message", "file", "line", "column", "hint"}
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("environ", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"CI": "true"}, False)])
def test_a_terminal_gets_colors_unless_told_otherwise(shell, tmp_path: Path, environ: dict, colored: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            shell.command("train", "-c", "absent.yaml"), cwd=tmp_path, env=shell.environment(**environ),
            stdin=theirs, stdout=theirs, stderr=theirs, timeout=60,
        )  # fmt: skip
        said = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert "absent.yaml" in said
    assert (ESCAPE in said) == colored


# Runs that end early


def test_a_run_that_diverges_is_exit_5_and_keeps_nothing_spoiled(shell, finished, tmp_path: Path) -> None:
    shutil.copy(finished.cwd / "small.yaml", tmp_path)
    optimizer = "optimizer={name: sgd, learning_rate: 1e30}"
    done = shell.run("train", "-c", "small.yaml", "-o", "run", "--set", optimizer, "--json", cwd=tmp_path)
    assert done.code == 5
    assert "diverged" in done.err
    assert "learning_rate" in done.err
    assert "Traceback" not in done.err
    assert [document["event"] for document in done.documents] == ["start", "error"]
    assert done.documents[-1]["code"] == 5
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reason"] == "diverged"
    assert list((tmp_path / "run").glob("checkpoints/step-*")) == []


@pytest.fixture
def long_run(shell, finished, tmp_path: Path) -> Iterator:
    """Starts a run that would take very long; whatever happens in the test, it ends."""
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        shutil.copy(finished.cwd / "small.yaml", tmp_path)
        process = shell.start("train", "-c", "small.yaml", "-o", "run", *LONG, *arguments, cwd=tmp_path)
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        started.append((process, watchdog))
        return process

    yield start
    for process, watchdog in started:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_ctrl_c_saves_and_says_how_to_go_on(long_run, score, tmp_path: Path) -> None:
    process = long_run()
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "tfloop train --resume --output run" in err
    assert out.splitlines() == ["run"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reason"] == "SIGINT"
    assert score(tmp_path / "run")["examples"] == 50


def test_a_closed_pipe_ends_quietly(long_run) -> None:
    """`tfloop train --json | head -1`."""
    process = long_run("--json", "--quiet")
    assert json.loads(process.stdout.readline())["event"] == "start"
    process.stdout.close()
    assert process.wait(timeout=60) == 141  # as a shell sees SIGPIPE
    assert process.stderr.read() == ""
