"""The interface for scripts: stdout and stderr, JSON documents, exit codes and the files of a run.

All tests use real processes. TensorFlow takes seconds to load, so most tests share the results of a few processes.
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ESCAPE = "\x1b"
LONG_RUN = ("--epochs", "100000", "--set", "steps_per_execution=1")


# A run whose output is piped


def test_results_go_to_stdout(finished) -> None:
    metrics, folder = finished.process.lines
    assert re.fullmatch(r"test  loss \d\.\d{4}  accuracy [01]\.\d{4}  \(50 examples\)", metrics)
    assert finished.cwd / folder == finished.folder


def test_progress_goes_to_stderr_with_one_line_per_epoch(finished) -> None:
    lines = finished.process.err.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    for line in epochs:
        for word in ("loss", "accuracy", "val_loss", "val_accuracy", "examples/s"):
            assert word in line
    assert any(line.endswith("best") for line in epochs)
    assert lines[-1] == f"next: tfloop evaluate runs/{finished.folder.name}"
    assert any(line.startswith("model") and "conv_net" in line for line in lines)


def test_header_shows_dataset_model_optimizer_and_batches(finished) -> None:
    header = dict(re.split(r" {2,}", line, maxsplit=1) for line in finished.process.err.splitlines() if "  " in line)
    assert header["run"] == f"runs/{finished.folder.name}"
    assert header["dataset"] == "synthetic (180 train, 20 validation, 50 test)"
    assert re.fullmatch(r"conv_net \([\d,]+ parameters\)", header["model"])
    assert header["optimizer"] == "adam, learning rate 0.001, constant schedule"
    assert header["batches"] == "32 examples per batch, 6 steps per epoch"
    assert header["device"].startswith("cpu, 1 thread")


def test_start_event_describes_schedule_warm_up_and_splits(trainer, tmp_path: Path) -> None:
    from tfloop_cli.engine.start_event import start_event
    from tfloop_cli.runs.folder import RunFolder

    run = trainer(
        dataset={"name": "synthetic", "shape": [8, 8, 1], "train_examples": 2200, "test_examples": 23},
        optimizer={"name": "sgd", "learning_rate": 0.05}, schedule="cosine", warmup_steps=1200, batch_size=8,
        validation=200,
    )  # fmt: skip
    config = run.config.model_copy(update={"batch_size": "auto"})  # as the config of a run has it
    facts = start_event(RunFolder(tmp_path), config, run.data, run.state, []).facts
    assert list(facts) == ["dataset", "model", "optimizer", "batches", "device"]
    assert facts["dataset"] == "synthetic (2,000 train, 200 validation, 23 test)"
    assert facts["optimizer"] == "sgd, learning rate 0.05, cosine schedule after 1,200 warm-up steps"
    assert facts["batches"] == "8 examples per batch, 250 steps per epoch"


@pytest.mark.parametrize(
    ("shape", "fact"),
    [
        ((8, 8, 1), "uint8 8x8x1, images: divided by 255 (key `scale_uint8`)"),
        ((5,), "uint8 5, no images: not divided by 255 (key `scale_uint8`)"),
    ],
)
def test_start_event_shows_use_of_uint8(trainer, tmp_path: Path, shape: tuple, fact: str) -> None:
    from tfloop_cli.engine.data import from_arrays
    from tfloop_cli.engine.start_event import start_event
    from tfloop_cli.runs.folder import RunFolder

    run = trainer(from_arrays({"train": (np.zeros((60, *shape), np.uint8), np.arange(60) % 3)}))
    assert start_event(RunFolder(tmp_path), run.config, run.data, run.state, []).facts["inputs"] == fact


def test_start_event_has_the_options_that_load_code_again(trainer, tmp_path: Path) -> None:
    """After `--trust-code`, the path of the copy was shown."""
    from tfloop_cli.engine.start_event import start_event
    from tfloop_cli.runs.folder import RunFolder

    run, folder = trainer(), RunFolder(tmp_path)
    for files, options in (
        ([folder.code / "a.py", folder.code / "folder-2" / "b.py"], ("--trust-code",)),
        ([Path("a.py"), Path("b.py")], ("--code", "a.py", "--code", "b.py")),
        ([], ()),
    ):
        assert start_event(folder, run.config, run.data, run.state, files).code_options == options


def test_stderr_has_no_lines_of_tensorflow(finished) -> None:
    known = r"(loading TensorFlow|run|dataset|model|optimizer|batches|device|epoch|completed|next|note|the weights)\b"
    assert [line for line in finished.process.err.splitlines() if line and not re.match(known, line)] == []


def test_piped_output_has_no_control_codes(finished, rerun) -> None:
    for process in (finished.process, rerun.process):
        assert ESCAPE not in process.out + process.err
        assert "\r" not in process.out + process.err


def test_run_folder_has_documented_files(finished) -> None:
    names = {path.name for path in finished.folder.iterdir() if not path.name.startswith(".")}
    assert {"config.yaml", "meta.json", "metrics.jsonl", "summary.json", "checkpoints"} <= names
    assert re.fullmatch(r"small-\d{8}-\d{6}-[0-9a-f]{4}", finished.folder.name)
    summary, metadata = finished.read("summary.json"), finished.read("meta.json")
    assert summary["reason"] == "completed"
    assert summary["evaluations"]["test"]["examples"] == 50
    assert metadata["command"][1:] == ["train", "--config", "small.yaml", "--fail-over", "loss=100"]
    assert metadata["versions"]["tensorflow"]
    (checkpoint, *_) = (finished.folder / "checkpoints").glob("step-*")
    assert {path.name for path in checkpoint.iterdir()} == {"state.safetensors", "manifest.json"}


def test_history_equals_printed_epochs(finished) -> None:
    documents = [json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    assert [one["event"] for one in documents] == ["epoch", "epoch", "evaluation", "end"]
    printed = [line for line in finished.process.err.splitlines() if line.startswith("epoch ")]
    for one, line in zip(documents, printed, strict=False):
        assert f"  loss {one['train']['loss']:.4f}  " in line
        assert f"  val_accuracy {one['validation']['accuracy']:.4f}  " in line


# --json, --quiet, --fail-under


def test_json_documents_have_documented_keys(rerun) -> None:
    documents = rerun.process.documents
    assert [one["event"] for one in documents] == ["start", "epoch", "epoch", "evaluation", "end", "error"]
    start, epoch, _, evaluation, end, _ = documents
    assert {"schema": 1, "run": "again", "step": 0}.items() <= start.items()
    assert start["config"]["model"] == {
        "name": "conv_net", "filters": [4], "kernel_size": 3, "pool_every": 0, "batch_norm": False,
        "batch_norm_momentum": 0.9, "hidden": [], "dropout": 0.3,
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


def test_json_numbers_have_full_precision(finished, rerun) -> None:
    evaluation = rerun.process.documents[3]
    assert evaluation["metrics"]["loss"] == finished.read("summary.json")["evaluations"]["test"]["loss"]
    assert len(str(evaluation["metrics"]["loss"])) > 10


def test_failed_threshold_exits_with_3_and_distance(rerun) -> None:
    assert rerun.process.code == 3
    accuracy = rerun.process.documents[3]["metrics"]["accuracy"]
    message = f"test accuracy {accuracy:.6g} is under 1.01, by {1.01 - accuracy:.6g}"
    assert message in rerun.process.err
    error = rerun.process.documents[-1]
    assert error["code"] == 3
    assert error["errors"][0]["message"] == message


def test_quiet_prints_only_errors_to_stderr(rerun) -> None:
    assert len(rerun.process.err.splitlines()) == 1


def test_passed_threshold_exits_with_0(finished) -> None:
    assert finished.process.code == 0  # --fail-over loss=100


# evaluate


def test_evaluate_prints_same_metrics_as_train(shell, finished) -> None:
    process = shell.run("evaluate", finished.folder.name, "--fail-under", "accuracy=1.01", cwd=finished.cwd)
    assert process.code == 3
    assert process.lines[0] == finished.process.lines[0]
    header = next(line for line in process.lines if line.startswith("class"))
    assert header.split() == ["class", "precision", "recall", "f1", "support"]
    rows = process.lines[process.lines.index(header) + 1 :][:3]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert sum(int(row.split()[-1]) for row in rows) == 50
    checkpoint = json.loads((finished.folder / "summary.json").read_text())["checkpoint"]
    loading, evaluating, error = process.err.splitlines()
    assert loading == "loading TensorFlow ..."
    assert evaluating == f"evaluating {checkpoint} (step 12, epoch 2)"
    assert error.startswith("error: test accuracy")
    assert any(line.split()[:2] == ["true", "predicted"] for line in process.lines)
    assert ESCAPE not in process.out + process.err


@pytest.fixture
def evaluate_json(machine: None, capsys: pytest.CaptureFixture[str]):
    """Returns a function that returns the document of `tfloop evaluate FOLDER --json`, run in this process."""

    def evaluate(folder: Path, **options) -> dict:
        from tfloop_cli.commands.evaluate import Options, evaluate
        from tfloop_cli.terminal.console import Console

        capsys.readouterr()
        assert evaluate(folder, Options(**options), Console(json=True)) == 0
        return json.loads(capsys.readouterr().out)

    return evaluate


def test_evaluate_json_of_moved_checkpoint(finished, evaluate_json, tmp_path: Path) -> None:
    (best,) = (finished.folder / "checkpoints").glob("step-00000012")
    shutil.copytree(best, tmp_path / "moved")
    document = evaluate_json(tmp_path / "moved", split="validation")
    assert {"event": "evaluation", "split": "validation", "examples": 20}.items() <= document.items()
    facts = {"run": None, "checkpoint": str(tmp_path / "moved"), "step": 12, "epoch": 2}
    assert facts.items() <= document.items()
    in_run = evaluate_json(finished.folder, split="validation")
    assert (in_run["run"], in_run["checkpoint"]) == (str(finished.folder), str(best))
    assert document["metrics"] == finished.read("summary.json")["final"]["validation"]
    assert sum(row["support"] for row in document["classes"]) == 20
    confused = sum(row["count"] for row in document["confused"])
    assert confused == round(20 * (1 - document["metrics"]["accuracy"]))


def test_damaged_checkpoint_exits_with_6_and_file_name(shell, finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run", symlinks=True)
    for state in (tmp_path / "run").glob("checkpoints/*/state.safetensors"):
        content = bytearray(state.read_bytes())
        content[-5] ^= 4
        state.write_bytes(bytes(content))
    process = shell.run("evaluate", "run", "--json", cwd=tmp_path)
    assert process.code == 6
    assert "state.safetensors" in process.err
    assert "Traceback" not in process.err
    (document,) = process.documents
    assert (document["event"], document["code"]) == ("error", 6)


# Exit code 2, without TensorFlow


INVALID = [
    (("train", "-c", "small.yaml", "--set", "model.filter=[3]"), "did you mean `filters`?"),
    (("train", "-c", "small.yaml", "--output", "full"), "full is not an empty folder"),
    (("train", "-c", "small.yaml", "--fail-under", "accuracy=high"), "METRIC=NUMBER"),
    (("train", "-c", "small.yaml", "--from", "best"), "`--from` requires `--resume`"),
    (("evaluate", "missing"), "missing"),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID, ids=lambda one: one[-1] if isinstance(one, tuple) else "")
def test_invalid_command_line_exits_with_2(
    shell, finished, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    shutil.copy(finished.cwd / "small.yaml", tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    process = shell.run(*arguments, "--json", cwd=tmp_path)
    assert process.code == 2
    assert message in process.err
    assert "Traceback" not in process.err
    (document,) = process.documents
    assert (document["event"], document["code"]) == ("error", 2)
    assert set(document["errors"][0]) == {"message", "file", "line", "column", "hint"}
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("environ", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"CI": "true"}, False)])
def test_terminal_output_is_colored_unless_disabled(shell, tmp_path: Path, environ: dict, colored: bool) -> None:
    controller, terminal = pty.openpty()
    try:
        process = subprocess.run(
            shell.command("train", "-c", "missing.yaml"), cwd=tmp_path, env=shell.environment(**environ),
            stdin=terminal, stdout=terminal, stderr=terminal, timeout=60,
        )  # fmt: skip
        output = os.read(controller, 100_000).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert process.returncode == 2
    assert "missing.yaml" in output
    assert (ESCAPE in output) == colored


# Runs that end early


def test_diverged_run_exits_with_5_and_saves_no_checkpoint(shell, finished, tmp_path: Path) -> None:
    shutil.copy(finished.cwd / "small.yaml", tmp_path)
    optimizer = "optimizer={name: sgd, learning_rate: 1e30}"
    process = shell.run("train", "-c", "small.yaml", "-o", "run", "--set", optimizer, "--json", cwd=tmp_path)
    assert process.code == 5
    assert "diverged" in process.err
    assert "learning_rate" in process.err
    assert "no checkpoint was saved before" in process.err
    assert " good" not in process.err
    assert "Traceback" not in process.err
    assert [document["event"] for document in process.documents] == ["start", "error"]
    assert process.documents[-1]["code"] == 5
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reason"] == "diverged"
    assert list((tmp_path / "run").glob("checkpoints/step-*")) == []


@pytest.fixture
def long_run(shell, finished, tmp_path: Path) -> Iterator:
    """Returns a function that starts a very long run; the process is killed after the test."""
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        shutil.copy(finished.cwd / "small.yaml", tmp_path)
        process = shell.start("train", "-c", "small.yaml", "-o", "run", *LONG_RUN, *arguments, cwd=tmp_path)
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        started.append((process, watchdog))
        return process

    yield start
    for process, watchdog in started:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_ctrl_c_saves_and_prints_resume_command(long_run, evaluate_json, tmp_path: Path) -> None:
    process = long_run()
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            break
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "tfloop resume run" in stderr
    assert stdout.splitlines() == ["run"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reason"] == "SIGINT"
    assert evaluate_json(tmp_path / "run")["examples"] == 50


def test_run_without_a_reader_ends_with_its_own_exit_code(shell, finished, tmp_path: Path) -> None:
    """`tfloop train --json 2> /dev/full | head -1`, with user code that prints too."""
    shutil.copy(finished.cwd / "small.yaml", tmp_path)
    (tmp_path / "prints.py").write_text("for _ in range(100):\n    print('x' * 1000, flush=True)\n")
    arguments = ("-c", "small.yaml", "-o", "run", "--code", "prints.py", "--json", "--fail-under", "accuracy=1.01")
    with open("/dev/full", "w") as full, subprocess.Popen(
        shell.command("train", *arguments), cwd=tmp_path, env=shell.environment(), stdout=subprocess.PIPE, stderr=full
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.wait(timeout=60) == 3
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reason"] == "completed"
    assert sorted((tmp_path / "run" / "checkpoints").glob("step-*/manifest.json"))


def test_vanished_terminal_saves_and_exits_with_129(shell, finished, tmp_path: Path) -> None:
    """The system sends SIGHUP, and every write to the terminal fails from then on."""
    shutil.copy(finished.cwd / "small.yaml", tmp_path)
    pid, controller = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = shell.command("train", "-c", "small.yaml", "-o", "run", *LONG_RUN)
        os.execve(command[0], command, shell.environment())
    deadline, metrics = time.monotonic() + 60, tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert time.monotonic() < deadline
        if select.select([controller], [], [], 0.02)[0]:  # a full terminal would block the process
            os.read(controller, 10_000)
    os.close(controller)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reason"] == "SIGHUP"
    assert sorted((tmp_path / "run" / "checkpoints").glob("step-*/manifest.json"))
