"""Which run `--resume` and `tfloop resume` continue, without TensorFlow: a stub stands for the training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.run_folders import write_run
from tfloop_cli.cli import app
from tfloop_cli.config.loading import dump, load
from tfloop_cli.config.schema import Config
from tfloop_cli.errors import ExitCode
from tfloop_cli.files import write_json
from tfloop_cli.hardware import all_cores
from tfloop_cli.runs import checkpoints
from tfloop_cli.runs.checkpoints import manifest_bytes
from tfloop_cli.runs.code_copies import copy_code
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.lookup import choose_run, resume_run
from tfloop_cli.runs.metadata import load_metadata
from tfloop_cli.runs.start import TrainOptions, open_run
from tfloop_cli.terminal.console import Console

STEPS_PER_EPOCH = 10
DECISIONS = {"device": "cpu", "threads": 2, "compile": "none", "kernels": "tensorflow", "precision": "float32"}
SMALL = "dataset: synthetic\nmodel: linear\nepochs: 2\n"


@dataclass
class Training:
    """Stands for `commands.train`: opens the run folder, and writes config, metadata and a checkpoint.

    Attributes:
        data: the fingerprint of the data that it finds.
        threads: what `threads: auto` is on this machine.
        saves: whether it gets as far as the first checkpoint.
        epochs: stops after them, if the config has more.
        decisions: what the data decides.
    """

    data: str = "data"
    threads: int = 2
    saves: bool = True
    epochs: int = 99
    decisions: dict[str, Any] = field(default_factory=lambda: {"test": 20, "validation": 0, "scale_uint8": ["image"]})
    config: Config = field(init=False)
    options: TrainOptions = field(init=False)

    def train(self, config: Config, options: TrainOptions, console: Console) -> ExitCode:
        decided = {**DECISIONS, "threads": self.threads}
        config = config.model_copy(update={key: one for key, one in decided.items() if getattr(config, key) == "auto"})
        data = {"data": self.data, "decisions": self.decisions}
        options = choose_run(config, options, data, console.warn)
        run = open_run(config, options)
        facts: dict[str, Any] = {**data, "run_id": load_metadata(options.resume).get("run_id", str(run))}
        facts["code"], facts["code_modules"] = copy_code(options.code, run.code)
        run.config.write_text(dump(config))
        write_json(run.metadata, {"started": run.started(), "name_prefix": options.name_prefix, **facts})
        if self.saves:
            epoch = min(config.epochs, self.epochs)
            checkpoint = run.checkpoints / checkpoints.folder_name(epoch * STEPS_PER_EPOCH)
            checkpoint.mkdir(parents=True, exist_ok=True)
            empty = {key: kind() for key, kind in checkpoints._REQUIRED.items()}
            step = epoch * STEPS_PER_EPOCH
            place = {"step": step, "epoch": epoch, "epoch_start": step}
            manifest = {**empty, "schema": checkpoints.SCHEMA, **place, **facts}
            (checkpoint / checkpoints.MANIFEST).write_bytes(checkpoints.manifest_bytes(manifest))
        self.config, self.options = config, options
        console.result(str(run))
        return ExitCode.DONE


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Training:
    stub = Training()
    monkeypatch.setattr("tfloop_cli.commands.train", stub, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("exp.yaml").write_text(SMALL)
    return stub


@pytest.fixture
def tfloop(training: Training) -> Callable[..., Any]:
    """Returns a function that runs a command; its result has the run as `stdout`."""

    def run(command: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == code, (result.stderr, result.exception)
        assert "Traceback" not in result.stderr
        return result

    return run


def run_of(result: Any) -> str:
    return str(result.stdout.strip())


def test_each_seed_has_its_own_run(tfloop, training: Training) -> None:
    """The loop of a user: `for s in 1 2 3; do tfloop train exp.yaml --seed $s --resume -q; done`, twice."""
    first = [tfloop(f"train exp.yaml --seed {seed} --resume -q") for seed in (1, 2, 3)]
    assert len({run_of(one) for one in first}) == 3
    assert first[0].stderr == ""
    line = f"the newest run of `exp`, {run_of(first[1])}, differs in `seed` (2, now 3)"
    assert f"warning: no run with this config to resume: starting a new one; {line}" in first[2].stderr
    for seed, one in zip((1, 2, 3), first, strict=True):
        again = tfloop(f"train exp.yaml --seed {seed} --resume -q")
        assert (run_of(again), again.stderr, training.config.seed) == (run_of(one), "", seed)


def test_two_configs_of_one_name_have_two_runs(tfloop) -> None:
    runs = []
    for model in ("linear", "mlp"):
        Path(model).mkdir()
        Path(model, "config.yaml").write_text(f"dataset: synthetic\nmodel: {model}\n")
        runs.append(run_of(tfloop(f"train {model}/config.yaml --resume")))
    assert len(set(runs)) == 2
    assert run_of(tfloop("train linear/config.yaml --resume")) == runs[0]
    assert "linear" in Path(runs[0], "config.yaml").read_text()


def test_copy_of_a_config_continues_its_run_and_own_name_comes_first(tfloop, training: Training) -> None:
    old = run_of(tfloop("train exp.yaml"))
    Path("copy.yaml").write_text(SMALL)
    assert run_of(tfloop("train copy.yaml --resume")) == old
    assert training.options.name_prefix == "exp"
    new = run_of(tfloop("train copy.yaml"))
    assert run_of(tfloop("train copy.yaml --resume")) == new
    assert run_of(tfloop("train exp.yaml --resume")) == old


def test_other_data_starts_a_new_run(tfloop, training: Training) -> None:
    """An interrupted run, and other data at the same path. With the first data again, the first run continues."""
    first = run_of(tfloop("train exp.yaml --resume"))
    training.data = "other"
    other = tfloop("train exp.yaml --resume -q")
    assert f"no run with this config and data to resume: starting a new one; {first} was trained on" in other.stderr
    assert run_of(other) != first
    training.data = "data"
    again = tfloop("train exp.yaml --resume -q")
    assert (run_of(again), again.stderr) == (first, "")
    assert load_metadata(RunFolder(Path(first)))["data"] == "data"


@pytest.mark.parametrize("options", ["--epochs 9", "--set checkpoint.keep=2", "--set steps_per_execution=3"])
def test_keys_that_do_not_affect_completed_steps_may_change(tfloop, training: Training, options: str) -> None:
    run = run_of(tfloop("train exp.yaml"))
    assert run_of(tfloop(f"train exp.yaml --resume {options}")) == run
    assert training.options.resume == RunFolder(Path(run))


def test_more_threads_than_cores_are_those_of_the_run(training: Training, tfloop: Callable[..., Any]) -> None:
    """`engine.runtime` limits them, and config.yaml has what the run uses."""
    training.threads = all_cores()
    run = run_of(tfloop("train exp.yaml"))
    assert run_of(tfloop("train exp.yaml --resume --set threads=4096")) == run


@pytest.mark.parametrize("key", ["optimizer.learning_rate=0.5", "batch_size=7", "threads=1", "drop_remainder=true"])
def test_any_other_key_starts_a_new_run(tfloop, key: str) -> None:
    run = run_of(tfloop("train exp.yaml"))
    result = tfloop(f"train exp.yaml --resume -q --set {key}")
    assert run_of(result) != run
    assert f"{run}, differs in `{key.split('=')[0].split('.')[0]}" in result.stderr


def test_auto_is_what_the_run_has_decided(tfloop, training: Training) -> None:
    run = run_of(tfloop("train exp.yaml"))
    training.threads = 64
    assert run_of(tfloop("train exp.yaml --resume")) == run
    assert training.config.threads == 2
    assert run_of(tfloop("train exp.yaml --resume --set threads=2 --device cpu")) == run


def test_run_beyond_the_requested_epochs_is_another_run(tfloop) -> None:
    """`for e in 5 3; do tfloop train exp.yaml --epochs $e --resume -q; done` prints two results."""
    run = run_of(tfloop("train exp.yaml --epochs 5"))
    result = tfloop("train exp.yaml --epochs 3 --resume -q")
    assert run_of(result) != run
    assert f"{run} has trained 50 steps, more than `epochs: 3` asks for" in result.stderr


def test_name_in_config_means_runs_of_that_name(tfloop) -> None:
    """A loop with one name for all seeds; the second time, each seed finds its run."""
    tfloop("train exp.yaml")
    names = [run_of(tfloop(f"train exp.yaml --name a --seed {seed} --resume")) for seed in (0, 1, 0, 1)]
    assert names == ["runs/a", "runs/a-2"] * 2


def test_run_without_checkpoint_is_continued(tfloop, training: Training) -> None:
    """It crashed before its first checkpoint; also with a damaged meta.json."""
    training.saves = False
    run = run_of(tfloop("train exp.yaml"))
    assert run_of(tfloop("train exp.yaml --resume")) == run
    assert run_of(tfloop("resume last")) == run
    Path(run, "meta.json").write_text("{")
    assert run_of(tfloop("train exp.yaml --resume")) == run


def test_damaged_config_of_another_run_does_not_stop_the_lookup(tfloop) -> None:
    run, damaged = (Path(run_of(tfloop("train exp.yaml"))) for _ in range(2))
    (damaged / "config.yaml").write_text("model: [\n")
    assert run_of(tfloop("train exp.yaml --resume")) == str(run)
    (run / "config.yaml").write_text("model: unknown\n")
    result = tfloop("train exp.yaml --resume -q")
    assert "has a config that cannot be read (" in result.stderr
    assert run_of(result) not in (str(run), str(damaged))


def test_config_of_a_run_means_that_run(tfloop) -> None:
    """Also if a newer run is equal, if the run was moved, and for the name of a new run."""
    run = run_of(tfloop("train exp.yaml"))
    tfloop("train exp.yaml")
    assert run_of(tfloop(f"train -c {run}/config.yaml --resume")) == run
    Path("archive").mkdir()
    Path(run).rename("archive/moved")
    assert run_of(tfloop("train archive/moved/config.yaml --resume")) == "archive/moved"
    new = tfloop("train archive/moved/config.yaml --resume --seed 5")
    assert "the newest run of `exp`, archive/moved, differs in `seed` (0, now 5)" in new.stderr
    assert Path(run_of(new)).name.startswith("exp-")


def test_resume_finds_path_name_and_last(tfloop, training: Training) -> None:
    training.epochs = 1
    runs = [run_of(tfloop(f"train exp.yaml --seed {seed}")) for seed in (1, 2)]
    Path("exp.yaml").unlink()
    for name, run in ((runs[0], runs[0]), (Path(runs[0]).name, runs[0]), ("last", runs[1])):
        assert run_of(tfloop(f"resume {name} --epochs 4 --max-time 5s")) == run
        assert (training.config.epochs, training.options.max_seconds) == (4, 5)
    assert training.config.seed == 2
    assert run_of(tfloop(f"resume {Path(runs[0]).name} --runs-dir runs")) == runs[0]


def test_resume_of_something_else_exits_with_2(tfloop) -> None:
    assert "there are no runs in runs" in tfloop("resume last", code=2).stderr
    run = run_of(tfloop("train exp.yaml --name a"))
    assert "did you mean `a`?" in tfloop("resume b", code=2).stderr
    checkpoint = f"{run}/checkpoints/step-00000020"
    result = tfloop(f"resume {checkpoint}", code=2)
    assert "is a checkpoint and not a run folder" in result.stderr
    assert f"tfloop resume {run} --from step-00000020" in result.stderr
    Path("folder").mkdir()
    Path("folder/config.yaml").write_text(SMALL)
    assert "neither a run folder nor a checkpoint folder" in tfloop("resume folder", code=2).stderr


def test_resume_uses_the_code_that_is_allowed(tfloop, training: Training) -> None:
    Path("mine.py").write_text("x = 1\n")
    run = run_of(tfloop("train exp.yaml --code mine.py"))
    result = tfloop("resume last", code=2)
    assert "this run was trained with custom code: mine.py\n  use `--trust-code`" in result.stderr
    assert run_of(tfloop("resume last --trust-code")) == run
    assert training.options.code == [Path(run, "code", "mine.py")]
    assert run_of(tfloop("resume last --code mine.py")) == run


@pytest.mark.parametrize("command", ["train exp.yaml --resume", "train exp.yaml --resume -o runs/a", "resume a"])
def test_checkpoint_of_another_run_is_named(tfloop, command: str) -> None:
    tfloop("train exp.yaml --name a")
    tfloop("train exp.yaml --name b --seed 1")
    checkpoint = "runs/b/checkpoints/step-00000020"
    result = tfloop(f"{command} --from {checkpoint}", code=6)
    assert "damaged" not in result.stderr
    assert f"tfloop resume runs/b --from {Path(checkpoint).name}" in result.stderr
    assert "--checkpoint" not in result.stderr


def test_checkpoint_means_its_run(tfloop, training: Training) -> None:
    """Not the newest one with the same config; and never a new run."""
    run = run_of(tfloop("train exp.yaml"))
    tfloop("train exp.yaml")
    assert run_of(tfloop(f"train exp.yaml --resume --from {run}/checkpoints/step-00000020")) == run
    training.data = "other"
    assert "was trained on other data" in tfloop("train exp.yaml --resume --from 20", code=6).stderr
    assert "there is no run" in tfloop("train exp.yaml --resume --set runs_dir=x --from best", code=6).stderr
    assert "there is no run in new" in tfloop("train exp.yaml --resume -o new --from best", code=6).stderr
    assert not Path("new").exists()
    assert "there is no checkpoint `7`" in tfloop("resume last --from 7", code=6).stderr


def test_from_without_resume_names_the_command(tfloop) -> None:
    run = run_of(tfloop("train exp.yaml"))
    result = tfloop(f"train exp.yaml --from {run}/checkpoints/step-00000020", code=2)
    assert f"tfloop resume {run} --from step-00000020" in result.stderr


def test_output_that_is_no_run(tfloop) -> None:
    """A folder that is new or empty starts a run; one that is neither empty nor a run is not changed."""
    assert "no run in new yet: starting a new one" in tfloop("train exp.yaml --resume -o new").stderr
    result = tfloop("train exp.yaml -o new", code=2)
    assert "or continue the run in it: `tfloop resume new`" in result.stderr
    Path("mine").mkdir()
    Path("mine/config.yaml").write_text(SMALL)  # not of a run
    for command in ("train -o mine --resume", "train exp.yaml -o mine --resume", "train exp.yaml -o mine"):
        result = tfloop(command, code=2)
        assert "mine is not an empty folder" in result.stderr
        assert "resume" not in result.stderr
    assert [path.name for path in Path("mine").iterdir()] == ["config.yaml"]


def test_run_in_progress_is_still_the_run_that_is_meant(tfloop) -> None:
    """The lock of its folder then ends the second process with exit code 2."""
    run = run_of(tfloop("train exp.yaml"))
    with RunFolder(Path(run)).lock():
        assert run_of(tfloop("train exp.yaml --resume")) == run


def test_last_warns_about_a_newer_run_without_checkpoint(tfloop, training: Training) -> None:
    from tfloop_cli.runs import folder

    run = run_of(tfloop("train exp.yaml"))
    training.saves = False
    newer = run_of(tfloop("train exp.yaml"))
    lines: list[str] = []
    assert folder.find("last", Path("runs"), lines.append) == Path(run)
    assert lines == [f"{newer} has no checkpoint yet: `last` is {run}"]


def test_free_keys_are_known_when_the_run_is_chosen(tfloop, training: Training) -> None:
    tfloop("train exp.yaml")
    tfloop("train exp.yaml --resume --epochs 7")
    assert [(one.key, one.before, one.now) for one in training.options.changes] == [("epochs", 2, 7)]


@pytest.mark.parametrize("change", ["scale_uint8=true", "test=0.1", "validation=0"])
def test_equal_value_in_place_of_auto_is_the_same_run(tfloop, training: Training, change: str) -> None:
    run, key = run_of(tfloop("train exp.yaml")), change.partition("=")[0]
    assert run_of(tfloop(f"train exp.yaml --resume --set {change}")) == run
    assert run_of(tfloop(f"train exp.yaml --resume -o {run}")) == run
    assert run_of(tfloop(f"train exp.yaml --resume -o {run} --set {change}")) == run
    training.decisions = training.decisions | {key: "another"}
    assert f"`{key}` is " in tfloop(f"resume {run} --set {key}=auto", ExitCode.USAGE).stderr
    result = tfloop("train exp.yaml --resume")
    assert run_of(result) != run
    assert f"differs in `{key}` (" in result.stderr


def test_run_folder_is_looked_at_once(tfloop, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfloop_cli.runs import lookup

    calls: list[Path] = []
    require = lookup.require_run_or_free
    monkeypatch.setattr(lookup, "require_run_or_free", lambda path, resume: calls.append(path) or require(path, resume))
    for _ in range(2):
        tfloop("train exp.yaml -o here --resume")
    assert calls == [Path("here")] * 2


def test_checkpoint_of_a_copy_of_the_run_is_recorded(tmp_path: Path) -> None:
    run, copy = (RunFolder(write_run(tmp_path / name, meta={"run_id": "one"})) for name in ("run", "copy"))
    checkpoint = copy.checkpoints / "step-00000010"
    checkpoint.mkdir(parents=True)
    manifest = {
        "schema": 3, "step": 10, "epoch": 1, "best_step": 10, "size": 0, "sha256": "", "weights_sha256": "",
        "config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 30, "epoch_start": 10,
        "train_examples": 100,
    }  # fmt: skip
    (checkpoint / "manifest.json").write_bytes(manifest_bytes(manifest))
    options = TrainOptions("run", checkpoint=str(checkpoint))
    _, chosen = resume_run(run, load([str(run.config)]).config, options)
    assert chosen.started_from == {"run": str(copy.path), "run_id": "one", "checkpoint": "step-00000010"}
