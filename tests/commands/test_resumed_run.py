"""What is printed about a resumed run, and the config and length that it continues with."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tfloop_cli.commands.finished_run import show_result
from tfloop_cli.commands.resumed_run import announce_resume
from tfloop_cli.config.loading import dump, from_mapping, load, to_mapping
from tfloop_cli.config.on_resume import Difference, differences
from tfloop_cli.config.schema import Config
from tfloop_cli.files import write_json
from tfloop_cli.runs import checkpoints
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.metadata import trained_config
from tfloop_cli.runs.resume import last_epoch
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display

MORE = "warning: run has trained {} steps, more than `epochs: 3` asks for"


@pytest.mark.parametrize(
    ("step", "epoch", "finished", "message"),
    [
        (15, 1, False, "resuming run from step"),
        (30, 2, False, "resuming run from step"),  # before the validation of the last epoch
        (30, 3, True, "run is finished already; `--epochs N` trains more epochs"),
        (20, 2, True, "run is finished already: early stopping has ended it after 2 epochs"),
        (35, 3, True, MORE.format(35)),
        (40, 4, True, MORE.format(40)),
    ],
)
def test_one_line_says_what_happens_to_the_run(
    capsys: pytest.CaptureFixture[str], step: int, epoch: int, finished: bool, message: str
) -> None:
    config = from_mapping({"dataset": "mnist", "model": "mlp", "epochs": 3}, "a test")
    checkpoint = Checkpoint(Path("step"), {"step": step, "epoch": epoch, "epoch_start": 10 * epoch})
    announce_resume(RunFolder(Path("run")), config, checkpoint, [], [], finished, Console())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)


def test_change_of_a_finished_run_has_no_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was said to hold for the rest of the run, and "completed after 0.0s" of the run."""
    base = {"model": "mlp", "dataset": {"name": "images", "path": "/before"}, "max_steps": 60}
    changed = from_mapping(base | {"ema_decay": 0.5, "dataset": {"name": "images", "path": "/moved"}}, "a test")
    before, run = from_mapping(base, "a test"), RunFolder(tmp_path)
    changes = differences(to_mapping(before), to_mapping(changed))
    checkpoint = Checkpoint(Path("step"), {"step": 50, "epoch": 5, "epoch_start": 50})
    announce_resume(run, changed, checkpoint, changes[1:], ["it starts anew"], False, Console())
    assert capsys.readouterr().err.splitlines() == [
        "note: `ema_decay` changes from null to 0.5: it holds for the rest of the run",
        "warning: it starts anew",
        f"resuming {run} from step",
    ]
    run.config.write_text(dump(before))
    write_json(run.summary, {"reason": "completed", "checkpoint": "c", "weights_sha256": "ab", "evaluations": {}})
    show(run, changed, checkpoint, changes)
    assert capsys.readouterr().err.splitlines() == [
        'note: `dataset.path` changes from "/before" to "/moved": evaluations of the run use it',
        "note: `ema_decay` changes from null to 0.5: it has no effect, since nothing is left to train",
        f"{run} is finished already; `--epochs N` and `--set max_steps=N` train more epochs",
    ]


def show(run: RunFolder, config: Config, checkpoint: Checkpoint, changes: Sequence[Difference] = ()) -> None:
    console = Console()
    options = TrainOptions("run", resume=run, changes=changes)
    assert show_result(run, config, checkpoint, options, "ab", make_display(console), console)


def test_finished_run_keeps_where_its_data_is_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`tfloop evaluate` reads the data from there, and has no option for it."""
    base = {"model": "mlp", "dataset": {"name": "images", "path": "/before"}, "epochs": 3}
    run, moved = RunFolder(tmp_path), {"dataset": {"name": "images", "path": "/moved"}, "epochs": 2}
    run.config.write_text(dump(from_mapping(base, "a test")))
    write_json(run.summary, {"reason": "completed", "checkpoint": "c", "weights_sha256": "ab", "evaluations": {}})
    show(run, from_mapping(base | moved, "a test"), Checkpoint(Path("c"), {"step": 9, "epoch": 2, "epoch_start": 9}))
    config = load([str(run.config)]).config
    assert (config.dataset.arguments["path"], config.epochs) == ("/moved", 3)
    run.checkpoints.mkdir()
    saved = Checkpoint(run.checkpoints / "step", {"config": base | {"epochs": 1}})
    for content, path, epochs in ((run.config.read_text(), "/moved", 1), ("dataset: [", "/before", 1)):
        run.config.write_text(content)
        found = trained_config(saved)
        assert (found["dataset"]["path"], found["epochs"]) == (path, epochs)


def test_last_epoch_is_that_of_the_newest_good_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert last_epoch(None) == last_epoch(run) == (0, 0)
    for step, content in ((107, None), (120, b"damaged")):
        folder = run.checkpoints / checkpoints.folder_name(step)
        folder.mkdir(parents=True)
        manifest = {key: kind() for key, kind in checkpoints._REQUIRED.items()}
        manifest |= {"schema": checkpoints.SCHEMA, "step": step, "epoch": 5, "epoch_start": 100}
        (folder / checkpoints.MANIFEST).write_bytes(content or checkpoints.manifest_bytes(manifest))
    assert last_epoch(run) == (5, 100)
