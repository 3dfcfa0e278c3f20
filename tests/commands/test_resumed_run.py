"""What is printed about a resumed run, and the config that it continues with."""

from pathlib import Path

import pytest

from tfloop_cli.commands.resumed_run import announce_resume
from tfloop_cli.config.loading import from_mapping
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.terminal.console import Console

MORE = "warning: run has trained {} steps, more than `epochs: 3` asks for"


@pytest.mark.parametrize(
    ("step", "epoch", "finished", "message", "epochs"),
    [
        (15, 1, False, "resuming run from step", 3),
        (30, 2, False, "resuming run from step", 3),  # before the validation of the last epoch
        (30, 3, True, "run is finished; `--epochs N` trains more epochs", 3),
        (20, 2, True, "run is finished: early stopping has ended it after 2 epochs", 3),
        (35, 3, True, MORE.format(35), 3),
        (40, 4, True, MORE.format(40), 4),
    ],
)
def test_one_line_says_what_happens_to_the_run(
    capsys: pytest.CaptureFixture[str], step: int, epoch: int, finished: bool, message: str, epochs: int
) -> None:
    config = from_mapping({"dataset": "mnist", "model": "mlp", "epochs": 3}, "a test")
    checkpoint = Checkpoint(Path("step"), {"step": step, "epoch": epoch, "epoch_start": 10 * epoch})
    found = announce_resume(RunFolder(Path("run")), config, checkpoint, finished, Console())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)
    assert found.epochs == epochs
