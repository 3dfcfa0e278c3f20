"""The training step is traced once, and later traces are reported."""

import json

import pytest

from tfloop_cli.config.loading import load, to_mapping
from tfloop_cli.config.precedence import shipped_names
from tfloop_cli.engine import loop
from tfloop_cli.engine.training.executor import InnerLoop
from tfloop_cli.events import EpochDone, RunStarted
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display

# A small synthetic dataset in the place of each dataset of the shipped configs.
SMALL_DATASETS = {
    "mnist": {"name": "synthetic", "shape": [28, 28, 1]},
    "synthetic": {},
    "synthetic_text": {"name": "synthetic_text", "classes": 4, "longest": 20},
    "images": {"name": "synthetic", "shape": [32, 32, 3], "classes": 3},
}


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_config_does_not_retrace(trainer, name: str) -> None:
    config = to_mapping(load([name]).config)
    dataset = config["dataset"] | SMALL_DATASETS[config["dataset"]["name"]]
    known = ("name", "shape", "classes", "longest", "noise", "words")
    config["dataset"] = {key: dataset[key] for key in known if key in dataset}
    config["dataset"] |= {"train_examples": 37, "test_examples": 8}  # the last of the batches is smaller
    changes = {"epochs": 2, "batch_size": 8, "validation": 0, "device": "cpu", "threads": 1, "early_stopping": None}
    run = trainer(**config | changes)
    epochs = [event for event in run.events() if isinstance(event, EpochDone)]
    assert [epoch.retraces for epoch in epochs] == [0, 0]


class RetracedSteps:
    """An inner loop that reports a second trace from its third epoch on."""

    def __init__(self, inner_loop: InnerLoop, steps_per_epoch: int) -> None:
        self._inner_loop, self._steps_per_epoch, self._steps = inner_loop, steps_per_epoch, 0
        self.get_concrete_function = inner_loop.get_concrete_function

    def __call__(self, batches, count):
        self._steps += int(count)
        return self._inner_loop(batches, count)

    def experimental_get_tracing_count(self) -> int:
        return 1 + (self._steps > 2 * self._steps_per_epoch)


def test_retrace_is_counted_from_its_epoch_on(trainer, monkeypatch) -> None:
    run, compile_steps = trainer(epochs=4), loop.compile_steps
    steps = run.data.steps_per_epoch
    monkeypatch.setattr(loop, "compile_steps", lambda *arguments, **_: RetracedSteps(compile_steps(*arguments), steps))
    assert [epoch.retraces for epoch in run.fit()] == [0, 0, 1, 1]


def test_resume_at_end_of_epoch_is_no_retrace(trainer) -> None:
    """The step is then traced in the second epoch: the first one has no steps left."""
    run = trainer(epochs=2)
    run.fit_until(run.data.steps_per_epoch)
    assert int(run.state.epoch) == 0
    assert [epoch.retraces for epoch in run.fit()] == [0, 0]


@pytest.mark.parametrize("retraces", [0, 2])
def test_retraces_are_displayed(capsys: pytest.CaptureFixture[str], retraces: int) -> None:
    run_started = RunStarted("runs/a", 0, {}, 1, 1, 1, ("loss",))
    epoch_done = EpochDone(1, 1, {"loss": 1.0}, None, 1.0, 0.0, 1.0, retraces=retraces)
    for console in (Console(), Console(json=True)):
        with make_display(console) as display:
            display.handle(run_started)
            display.handle(epoch_done)
    out, err = capsys.readouterr()
    assert ("warning: the training step was retraced (2)" in err) == (retraces == 2)
    assert json.loads(out.splitlines()[-1]).get("retraces", 0) == retraces
