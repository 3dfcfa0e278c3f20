"""Guarantee: a run that was stopped and resumed ends like an uninterrupted one; what may make it differ is reported.

`python -m benchmarks.durability resume` resumes from every step with every component; test_fault_tolerance.py runs its
short form.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.config.loading import from_mapping, to_mapping
from tfloop_cli.errors import ExitCode

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
}  # 4 steps per epoch
FINISHED = "is finished already; `--epochs N` trains more epochs"
NOT_AFFECTED = "completed steps are not affected"
FROM_NOW_ON = "it holds for the rest of the run"
DIFFERS = "the result differs from an uninterrupted run"


def test_resume_benchmark_covers_every_component(machine: None) -> None:
    from benchmarks.durability.resumes import features, fitting
    from tfloop_cli.registry import augmentations, models, optimizers, schedules, tasks

    covered = {word for name, _, _ in fitting(features()) for word in name.split()}
    for registry in (models, tasks, optimizers, schedules, augmentations):
        assert covered.issuperset(registry.names())


# The command


@pytest.fixture(scope="session")
def finished_folder(shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a finished run of it; tests must not change it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "mlp.yaml").write_text(json.dumps(CONFIG))
    process = shell.run("train", "-c", "mlp.yaml", "-o", "run", cwd=folder)
    assert process.code == 0, process.err
    return folder


@pytest.fixture
def finished_history(finished_folder: Path) -> list[dict[str, Any]]:
    return history(finished_folder / "run")


@pytest.fixture
def folder(finished_folder: Path, tmp_path: Path) -> Path:
    """A copy of `finished_folder`."""
    shutil.copytree(finished_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Path:
    """The run folder in `folder`."""
    return folder / "run"


@pytest.fixture
def resume(shell, folder: Path):
    """Returns a function that resumes the run in `folder`, with or without the config file."""

    def resume(*arguments: str, code: int = ExitCode.DONE, config: bool = True):
        options = ["-c", "mlp.yaml"] if config else []
        process = shell.run("train", *options, "-o", "run", "--resume", *arguments, cwd=folder)
        assert process.code == code, process.err
        return process

    return resume


def history(run: Path) -> list[dict[str, Any]]:
    """Returns the documents of metrics.jsonl without measured times."""
    documents = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("train_seconds", "validation_seconds", "examples_per_second", "seconds")
    return [{key: value for key, value in document.items() if key not in timed} for document in documents]


def events(run: Path) -> list[str]:
    return [document["event"] for document in history(run)]


def checkpoint_names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def simulate_kill(run: Path, after_step: int) -> None:
    """Changes a finished run to the state after a kill: later checkpoints are missing, the history is ahead."""
    for path in (run / "checkpoints").iterdir():
        if int(path.name.split("-")[1]) > after_step:
            shutil.rmtree(path)
    (run / "summary.json").unlink()


@pytest.mark.parametrize("after_step", [1, 4, 6])
def test_resume_matches_uninterrupted_run(resume, run: Path, finished_history, after_step: int) -> None:
    """Resumes in the middle and at the end of an epoch; the history has each epoch exactly once."""
    simulate_kill(run, after_step)
    process = resume()
    assert f"step-{after_step:08d}" in process.err
    assert history(run) == finished_history


def test_resume_command_continues_named_run_with_its_own_config(shell, folder: Path, finished_history) -> None:
    simulate_kill(folder / "run", after_step=6)
    (folder / "mlp.yaml").unlink()
    process = shell.run("resume", "run", "--fail-over", "loss=99", cwd=folder)
    assert process.code == 0, process.err
    assert "resuming run from step-00000006" in process.err
    assert history(folder / "run") == finished_history


def test_fewer_epochs_than_completed_end_with_what_is_trained(resume, run: Path) -> None:
    """An unfinished run, stopped in its second epoch: it is evaluated as it is, and no epoch counts as `2/1`."""
    simulate_kill(run, after_step=6)
    process = resume("--epochs", "1", "-q")
    assert "warning: run has trained 6 steps, more than `epochs: 1` asks for" in process.err
    assert "test  loss" in process.out
    assert [(one["event"], one.get("epoch")) for one in history(run)[:2]] == [("epoch", 1), ("evaluation", None)]
    assert history(run)[-1]["reason"] == "completed"


def test_same_config_with_other_data_starts_a_new_run(shell, folder: Path) -> None:
    first = folder / "runs" / "mlp-1"
    shutil.copytree(folder / "run", first)
    metadata = json.loads((first / "meta.json").read_text())
    (first / "meta.json").write_text(json.dumps(metadata | {"data": "other"}))
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    process = shell.run("train", "mlp.yaml", "--resume", "-q", "--max-time", "0s", cwd=folder)
    assert process.code == 0, process.err
    assert "no run with this config and data to resume: starting a new one; runs/mlp-1 was trained on" in process.err
    assert process.lines[-1] != "runs/mlp-1"
    assert before == {path: path.read_bytes() for path in before}


def test_resume_of_finished_run_changes_nothing_and_checks_thresholds(resume, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    process = resume("--json", "--fail-over", "loss=99")
    assert [document["event"] for document in process.documents] == ["evaluation", "end"]
    assert FINISHED in process.err
    assert "resuming" not in process.err
    resume("--fail-under", "accuracy=1.1", code=ExitCode.THRESHOLD_FAILED)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("summary", ["", "[]", '{"reason": "completed"}', '{"reason": "completed", "evaluations": 3}'])
def test_resume_replaces_damaged_summary(resume, run: Path, finished_history, summary: str) -> None:
    (run / "summary.json").write_text(summary)
    resume("--fail-over", "loss=99", config=False)
    assert history(run) == finished_history


def test_more_epochs_keep_the_length_of_the_schedule(resume, run: Path, finished_history) -> None:
    process = resume("--epochs", "3")
    message = "the schedule ends at step 8, as at the start; `--set schedule.decay_steps=12` extends it"
    assert message in process.err
    assert history(run)[:2] == finished_history[:2]
    assert json.loads((run / "meta.json").read_text())["total_steps"] == 8
    # At the end of the cosine schedule the learning rate is 0.
    *_, manifest = sorted(run.glob("checkpoints/*8/manifest.json"))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["weights_sha256"] == json.loads(manifest.read_text())["weights_sha256"]


def test_changed_schedule_length_is_reported(resume) -> None:
    process = resume("--epochs", "3", "--set", "schedule.decay_steps=12")
    assert "`schedule.decay_steps` changes from null to 12: it holds for the rest of the run" in process.err
    assert "the schedule ends" not in process.err


def test_resume_from_earlier_step_backs_up_later_checkpoints(resume, run: Path) -> None:
    """Neither a later resume nor a save uses the backups, unless one is named."""
    process = resume("--from", "3", "--max-time", "0s")
    assert "aside-" in process.err
    names = checkpoint_names(run)
    assert "aside-step-00000008" in names
    assert [name for name in names if name.startswith("step-")][-1] in ("step-00000003", "step-00000004")
    assert events(run) == ["end"]
    process = resume()
    assert "from step-0000000" in process.err
    assert "step-00000008" not in process.err
    assert events(run) == ["epoch", "epoch", "evaluation", "end"]
    resume("--from", "aside-step-00000008", config=False)


def test_changed_keys_are_reported_with_their_effect(resume, run: Path) -> None:
    changes = ["epochs=3", "checkpoint.keep=2", "optimizer.learning_rate=0.1", "threads=2"]
    lines = resume(*(word for change in changes for word in ("--set", change))).err.splitlines()
    effects = {"epochs": NOT_AFFECTED, "checkpoint.keep": NOT_AFFECTED} | dict.fromkeys(
        ("optimizer.learning_rate", "threads"), FROM_NOW_ON
    )
    for key, effect in effects.items():
        (line,) = [line for line in lines if f"`{key}` changes" in line]
        assert effect in line
    (resumed,) = json.loads((run / "meta.json").read_text())["resumed"]
    assert resumed["step"] == 8
    assert {one["key"]: (one["before"], one["now"]) for one in resumed["changes"]} == {
        "epochs": (2, 3),
        "checkpoint.keep": (99, 2),
        "optimizer.learning_rate": (0.001, 0.1),
        "threads": (1, 2),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("batch_size=40", "`batch_size` is 16 in run and 40 here: a run cannot change it"),
        ("model.hidden=[9]", "`model.hidden` is [8] in run and [9] here"),
        ("optimizer=sgd", '`optimizer` is {"name": "adam", '),
    ],
)
def test_refused_change_names_the_key_and_changes_nothing(resume, run: Path, change: str, message: str) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    process = resume("--set", change, code=ExitCode.USAGE)
    assert message in process.err
    assert "start a new run: without `--resume`, or with another `-o`" in process.err
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_resume_without_a_run_starts_a_new_one(shell, tmp_path: Path) -> None:
    def resume(*arguments: str, code: int = ExitCode.DONE):
        process = shell.run("train", "-c", "mlp.yaml", "--resume", *arguments, cwd=tmp_path)
        assert process.code == code, process.err
        return process

    (tmp_path / "mlp.yaml").write_text(json.dumps(CONFIG | {"epochs": 1}))
    assert "no run of `mlp` to resume yet" in resume().err
    assert FINISHED in resume().err
    (run,) = (tmp_path / "runs").iterdir()
    shutil.rmtree(run / "checkpoints")
    (run / "meta.json").write_bytes(b"{")  # the name of the folder still contains the name of the config
    assert "has a result, but no checkpoints any more" in resume(code=ExitCode.CHECKPOINT).err
    (run / "summary.json").unlink()  # as of a run that was killed before its first checkpoint
    assert "no checkpoint in" in resume().err
    assert list((tmp_path / "runs").iterdir()) == [run]
    resume("-o", "new", "--from", "best", code=ExitCode.CHECKPOINT)
    assert not (tmp_path / "new").exists()


def test_damaged_metadata_is_restored_from_checkpoints(resume, run: Path, finished_history) -> None:
    simulate_kill(run, after_step=6)
    (run / "meta.json").write_bytes(b"\0" * 100)
    resume(config=False)
    assert history(run) == finished_history


def test_damaged_config_is_an_error_with_its_line(resume, run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text()[:40] + "\nmodel: [\n")
    process = resume(code=ExitCode.USAGE)
    assert "config.yaml:" in process.err
    assert "Traceback" not in process.err


# In this process

MANIFEST = {
    "versions": {"tensorflow": "2.0"}, "cpu": "6502", "cpu_flags": ["bcd"], "code": {"mine.py": "ab"}, "data": "before",
}  # fmt: skip


def test_resume_keeps_what_auto_was_resolved_to(tmp_path: Path) -> None:
    from tfloop_cli.runs.folder import RunFolder
    from tfloop_cli.runs.resume import reconcile

    resolved = {"device": "cpu", "threads": 3, "compile": "xla", "kernels": "native", "precision": "bfloat16"}
    run = RunFolder(tmp_path)
    run.config.write_text(json.dumps(CONFIG | resolved))
    (run.checkpoints / "step-00000001").mkdir(parents=True)
    config, notes = reconcile(run, from_mapping(CONFIG | dict.fromkeys(resolved, "auto"), "a test"))
    assert {key: getattr(config, key) for key in resolved} == resolved
    assert notes == []
    config, changes = reconcile(run, from_mapping(CONFIG | resolved | {"kernels": "tensorflow"}, "a test"))
    assert config.kernels == "tensorflow"
    assert [(one.key, one.before, one.now) for one in changes] == [("kernels", "native", "tensorflow")]


def test_run_without_a_checkpoint_may_change_anything(tmp_path: Path) -> None:
    from tfloop_cli.runs.folder import RunFolder
    from tfloop_cli.runs.resume import reconcile

    run = RunFolder(tmp_path)
    run.config.write_text(json.dumps(CONFIG))
    config, notes = reconcile(run, from_mapping(CONFIG | {"batch_size": 4, "seed": 3}, "a test"))
    assert (config.batch_size, config.seed, notes) == (4, 3, [])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("cosine", 40), ({"name": "cosine", "alpha": 0.1}, 40), ("exponential", 60), ("constant", 60)],
)
def test_another_schedule_has_the_length_of_the_run(schedule: object, expected: int) -> None:
    from tfloop_cli.runs.resume import total_steps

    config = from_mapping(CONFIG | {"epochs": 6, "schedule": schedule}, "a test")
    assert total_steps(config, 60, {"total_steps": 40, "schedule": "cosine"}, [].append) == expected
    assert total_steps(config, 60, {"total_steps": 40, "schedule": "constant"}, [].append) == 60


def test_changed_machine_code_and_data_are_reported(tmp_path: Path) -> None:
    from tfloop_cli.runs import metadata
    from tfloop_cli.runs.resume import changed_environment, resume_warnings

    changes = " ".join(changed_environment(MANIFEST))
    assert "tensorflow 2.0 -> 2." in changes
    assert "instruction set (6502 ->" in changes
    same = metadata.gather({})
    assert changed_environment(same) == []
    assert changed_environment({"versions": 3}) != []  # not a manifest of tfloop
    code = tmp_path / "mine.py"
    code.write_text("x = 1\n")
    rounding = "results may differ in rounding from an uninterrupted run"
    data = f"the data has changed since the run started: {DIFFERS}"
    assert resume_warnings(MANIFEST | same, [code], "after") == [f"{rounding}: the code in {code}", data]
    assert resume_warnings(MANIFEST | same, [], "before") == []


def test_early_stopping_continues_counting_after_resume(trainer, tmp_path: Path) -> None:
    """The run is stopped after its second epoch without an improvement; its patience is three epochs."""
    from tfloop_cli.engine.checkpoints.storage import restore, write_checkpoint
    from tfloop_cli.runs.checkpoints import Checkpoint

    changes = {"validation": 10, "epochs": 50, "early_stopping": {"patience_epochs": 3, "min_delta": 100.0}}
    uninterrupted = trainer(**changes)
    assert len(uninterrupted.fit()) == 4
    stopped = trainer(**changes)
    stopped.fit_until(3 * stopped.data.steps_per_epoch)
    config = to_mapping(from_mapping(CONFIG, "a test"))
    facts = {"config": config, "data": "", "code": {}, "run_id": "", "total_steps": 1, "train_examples": 1}
    saved = write_checkpoint(tmp_path, stopped.state.snapshot(), facts)
    resumed = trainer(**changes)
    restore(Checkpoint.open(saved), resumed.state)
    assert [epoch.epoch for epoch in resumed.fit()] == [3, 4]
    assert int(resumed.state.step) == int(uninterrupted.state.step)
