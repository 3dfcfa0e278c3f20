"""Promise: a run that was stopped and resumed ends as one that never stopped, and says what it does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.config.loading import from_mapping, to_mapping
from tfloop_cli.errors import ExitCode

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 96, "test_examples": 16},
    "model": {"name": "mlp", "hidden": [8], "dropout": 0.3},
    "epochs": 2,
    "batch_size": 16,
    "validation": 32,
    "schedule": "cosine",
    "steps_per_execution": 1,
    "checkpoint": {"every_steps": 1, "keep": 99},
    "device": "cpu",
    "threads": 1,
}  # four steps an epoch


def test_from_every_step_with_every_feature(tmp_path: Path) -> None:
    """The registries are walked: what is new is tried too."""
    command = [sys.executable, "-m", "benchmarks.durability", "resume", "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_component_is_among_those_features_and_has_data_that_fits(machine: None) -> None:
    from benchmarks.durability.resumes import features, fitting
    from tfloop_cli.registry import augmentations, models, optimizers, schedules, tasks

    tried = {word for name, _, _ in fitting(features()) for word in name.split()}
    for registry in (models, tasks, optimizers, schedules, augmentations):
        assert tried.issuperset(registry.names())


# The command


@pytest.fixture(scope="session")
def finished(shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a finished run of it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "net.yaml").write_text(json.dumps(CONFIG))
    done = shell.run("train", "-c", "net.yaml", "-o", "run", cwd=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy to go on with."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def history(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("train_seconds", "validation_seconds", "examples_per_second", "seconds")
    return [{key: value for key, value in line.items() if key not in timed} for line in lines]


def steps(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def forget(run: Path, after: int) -> None:
    """As if the run had been killed after a step; what it had written since is where a kill would leave it."""
    for path in (run / "checkpoints").iterdir():
        if int(path.name.split("-")[1]) > after:
            shutil.rmtree(path)
    (run / "summary.json").unlink()


@pytest.mark.parametrize("after", [1, 4, 6])
def test_weights_metrics_and_score_are_those_of_the_unbroken_run(
    shell, finished: Path, folder: Path, after: int
) -> None:
    """Killed mid-epoch, at an epoch's end and later; metrics.jsonl has neither holes nor doubles."""
    forget(folder / "run", after)
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", cwd=folder)
    assert done.code == 0, done.err
    assert f"step-{after:08d}" in done.err
    assert history(folder / "run") == history(finished / "run")


def test_a_finished_run_is_a_no_op_and_its_bars_are_judged(shell, folder: Path) -> None:
    before = {
        path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file() and path.name != ".lock"
    }
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", "--json", "--fail-over", "loss=99", cwd=folder)
    assert done.code == 0
    assert [told["event"] for told in done.documents] == ["evaluation", "end"]
    assert "nothing to do" in done.err
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", "--fail-under", "accuracy=1.1", cwd=folder)
    assert done.code == ExitCode.THRESHOLD_FAILED
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("summary", ["", "[]", '{"reason": "completed"}', '{"reason": "completed", "evaluations": 3}'])
def test_a_summary_that_is_none_is_made_again(shell, finished: Path, folder: Path, summary: str) -> None:
    (folder / "run" / "summary.json").write_text(summary)
    done = shell.run("train", "-o", "run", "--resume", "--fail-over", "loss=99", cwd=folder)
    assert done.code == 0, done.err
    assert history(folder / "run") == history(finished / "run")


def test_more_epochs_keep_the_horizon_and_say_so(shell, finished: Path, folder: Path) -> None:
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", "--epochs", "3", cwd=folder)
    assert done.code == 0, done.err
    assert "the schedule ends at step 8, as the run began; `--set schedule.steps=12` stretches it" in done.err
    assert history(folder / "run")[:2] == history(finished / "run")[:2]
    assert json.loads((folder / "run" / "meta.json").read_text())["total_steps"] == 8
    # At the end of the cosine nothing is learned any more.
    told = [json.loads(path.read_text()) for path in sorted((folder / "run").glob("checkpoints/*8/manifest.json"))]
    assert json.loads((folder / "run" / "summary.json").read_text())["weights_sha256"] == told[-1]["weights_sha256"]


def test_a_new_horizon_by_the_command_line(shell, folder: Path) -> None:
    arguments = "-o", "run", "--resume", "--epochs", "3", "--set", "schedule.steps=12"
    done = shell.run("train", "-c", "net.yaml", *arguments, cwd=folder)
    assert done.code == 0, done.err
    assert "`schedule` is" in done.err
    assert "the result is not that of one unbroken run" in done.err
    assert "the schedule ends" not in done.err


def test_from_best_leaves_the_later_ones_aside(shell, folder: Path) -> None:
    """The abandoned branch stays on disk; neither a later resume nor a save mistakes it for its own."""
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", "--from", "3", "--max-time", "0s", cwd=folder)
    assert done.code == 0, done.err
    assert "aside-" in done.err
    there = steps(folder / "run")
    assert "aside-step-00000008" in there
    assert [name for name in there if name.startswith("step-")][-1] in ("step-00000003", "step-00000004")
    assert [told["event"] for told in history(folder / "run")] == ["end"]
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", cwd=folder)
    assert "from step-0000000" in done.err
    assert "step-00000008" not in done.err.partition("going on")[0]
    assert [told["event"] for told in history(folder / "run")] == ["epoch", "epoch", "evaluation", "end"]
    done = shell.run("train", "-o", "run", "--resume", "--from", "aside-step-00000008", cwd=folder)
    assert done.code == 0, done.err  # by name it can be had


def test_what_differs_is_named_and_what_breaks_exactness(shell, folder: Path) -> None:
    arguments = (
        "-o",
        "run",
        "--resume",
        "--epochs",
        "3",
        "--seed",
        "5",
        "--set",
        "checkpoint.keep=2",
        "--set",
        "threads=2",
    )
    done = shell.run("train", "-c", "net.yaml", *arguments, cwd=folder)
    assert done.code == 0, done.err
    for key, free in (("epochs", True), ("checkpoint", True), ("seed", False), ("threads", False)):
        (line,) = [line for line in done.err.splitlines() if f"`{key}` is" in line]
        assert ("changes no step" in line) is free
        assert ("not that of one unbroken run" in line) is not free


def test_another_model_is_refused_and_the_run_stays_what_it_was(shell, folder: Path) -> None:
    before = (folder / "run" / "config.yaml").read_text()
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", "--set", "model.hidden=[9]", cwd=folder)
    assert done.code == ExitCode.CHECKPOINT
    assert "of another model" in done.err
    assert (folder / "run" / "config.yaml").read_text() == before
    assert "step-00000008" in steps(folder / "run")


def test_nothing_to_resume_starts_fresh_and_says_so(shell, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(json.dumps(CONFIG | {"epochs": 1}))
    done = shell.run("train", "-c", "net.yaml", "--resume", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "no run of `net` to resume yet" in done.err
    done = shell.run("train", "-c", "net.yaml", "--resume", cwd=tmp_path)
    assert "nothing to do" in done.err
    (run,) = (tmp_path / "runs").iterdir()
    shutil.rmtree(run / "checkpoints")
    (run / "meta.json").write_bytes(b"{")  # the folder's name still tells whose run it is
    done = shell.run("train", "-c", "net.yaml", "--resume", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "no checkpoint in" in done.err
    assert list((tmp_path / "runs").iterdir()) == [run]
    done = shell.run("train", "-c", "net.yaml", "-o", "new", "--resume", "--from", "best", cwd=tmp_path)
    assert done.code == ExitCode.CHECKPOINT
    assert not (tmp_path / "new").exists()


def test_a_damaged_meta_is_made_good_by_the_checkpoints(shell, finished: Path, folder: Path) -> None:
    forget(folder / "run", 6)
    (folder / "run" / "meta.json").write_bytes(b"\0" * 100)
    done = shell.run("train", "-o", "run", "--resume", cwd=folder)
    assert done.code == 0, done.err
    assert history(folder / "run") == history(finished / "run")


def test_a_damaged_config_is_an_error_with_its_line(shell, folder: Path) -> None:
    config = folder / "run" / "config.yaml"
    config.write_text(config.read_text()[:40] + "\nmodel: [\n")
    done = shell.run("train", "-c", "net.yaml", "-o", "run", "--resume", cwd=folder)
    assert done.code == ExitCode.USAGE
    assert "config.yaml:" in done.err
    assert "Traceback" not in done.err


# Without a process

MANIFEST = {"versions": {"tensorflow": "2.0"}, "cpu": "6502", "cpu_flags": ["bcd"], "code": {"mine.py": "ab"}}


def test_what_auto_was_decided_to_be_stays(tmp_path: Path) -> None:
    from tfloop_cli.config.loading import from_mapping
    from tfloop_cli.runs.folder import RunFolder
    from tfloop_cli.runs.resume import reconcile

    decided = {"device": "cpu", "threads": 3, "compile": "xla", "kernels": "native", "precision": "bfloat16"}
    run = RunFolder(tmp_path)
    run.config.write_text(json.dumps(CONFIG | decided))
    config, notes = reconcile(run, from_mapping(CONFIG | dict.fromkeys(decided, "auto"), "a test"))
    assert {key: getattr(config, key) for key in decided} == decided
    assert notes == []
    config, notes = reconcile(run, from_mapping(CONFIG | decided | {"kernels": "tensorflow"}, "a test"))
    assert config.kernels == "tensorflow"
    assert notes == ['`kernels` is "tensorflow", and was "native": the result is not that of one unbroken run']


def test_another_machine_and_other_code_are_named(tmp_path: Path) -> None:
    from tfloop_cli.runs import metadata
    from tfloop_cli.runs.code_copies import changed_code
    from tfloop_cli.runs.resume import changed_environment

    changes = " ".join(changed_environment(MANIFEST))
    assert "tensorflow 2.0 -> 2." in changes
    assert "instruction set (6502 ->" in changes
    assert changed_environment(metadata.gather({})) == []
    assert changed_environment({"versions": 3}) != []  # a manifest of strangers
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert changed_code(MANIFEST, [tmp_path / "mine.py"]) == [f"the code in {tmp_path / 'mine.py'}"]


def test_early_stopping_counts_on(trainer, tmp_path: Path) -> None:
    """Stopped after its second epoch without an improvement, it has one left of three."""
    from tfloop_cli.engine.checkpoints.format import Snapshot, restore, write_checkpoint
    from tfloop_cli.runs.checkpoints import Checkpoint

    changes = {"validation": 10, "epochs": 50, "early_stopping": {"patience_epochs": 3, "min_delta": 100.0}}
    unbroken = trainer(**changes)
    assert len(unbroken.fit()) == 4
    first = trainer(**changes)
    first.fit_until(3 * first.data.steps_per_epoch)
    about = {
        "config": to_mapping(from_mapping(CONFIG, "a test")),
        "data": "",
        "code": {},
        "run_id": "",
        "total_steps": 1,
    }
    saved = write_checkpoint(tmp_path, Snapshot.of(first.state), about)
    second = trainer(**changes)
    restore(Checkpoint.open(saved), second.state)
    assert [epoch.epoch for epoch in second.fit()] == [3, 4]
    assert int(second.state.step) == int(unbroken.state.step)
