"""Fixtures for all tests: small configs, a training run in this process, and tfloop in a separate process.

TensorFlow is imported by the fixtures that need it and not by this file, so that tests without it start fast.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_runs import TinyRuns

from tfloop_cli.events import EpochDone, Event

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tfloop_cli.config.schema import Config
    from tfloop_cli.engine.data import Data, Dataset
    from tfloop_cli.engine.state import TrainState
    from tfloop_cli.engine.tasks import Task

# Tests run short forms of benchmarks/. The folder comes last, so that the installed tfloop is the one under test.
sys.path.append(str(Path(__file__).parents[1]))

SMALL: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 60, "test_examples": 23},
    "model": "linear",
    "epochs": 2,
    "batch_size": 16,
    "validation": 0,
    "device": "cpu",
    "threads": 1,  # TensorFlow reads the number once per process, so all tests use the same one
}


@dataclass
class Trainer:
    """A run in this process: the arguments of `fit`."""

    config: "Config"
    data: "Data"
    task: "Task"
    state: "TrainState"

    def events(self) -> Iterator[Event]:
        from tfloop_cli.engine.loop import fit
        from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping

        best_metric, early_stopping = BestMetric(self.task, self.config), EarlyStopping(self.task, self.config)
        return fit(self.state, self.data, self.task, self.config, best_metric, early_stopping)

    def fit(self) -> list[EpochDone]:
        """Trains to the end; returns one event per epoch."""
        return [event for event in self.events() if isinstance(event, EpochDone)]

    def fit_until(self, step: int) -> None:
        """Trains until `step` steps are completed, and keeps that state."""
        for _ in self.events():
            if int(self.state.step) >= step:
                return

    def weights(self) -> "list[np.ndarray]":
        return [weight for model in self.state.models.values() for weight in model.get_weights()]

    def everything(self) -> "dict[str, np.ndarray]":
        """Returns a copy of each variable that a step may change."""
        return {name: variable.numpy().copy() for name, variable in self.state.variables().items()}


@pytest.fixture(scope="session")
def machine() -> None:
    """Starts TensorFlow with one thread, before the first computation of this process."""
    import tensorflow as tf

    from tfloop_cli.engine import runtime

    runtime.limit_threads(1)
    tf.config.list_logical_devices()  # starts it: a config with `threads: auto` would set another number before


@pytest.fixture(autouse=True)
def reset_keras_dtype() -> Iterator[None]:
    """Resets the dtypes that a test's config has set for the process."""
    yield
    if "keras" in sys.modules:
        import keras

        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def configure(machine: None) -> "Callable[..., Config]":
    """Returns a function that validates `SMALL` with changes, and sets up the process for the config."""

    def make(**changes: Any) -> "Config":
        from tfloop_cli.config.loading import from_mapping
        from tfloop_cli.engine import runtime

        return runtime.setup(from_mapping(SMALL | changes, "a test"))

    return make


@pytest.fixture(scope="session")
def trainer(configure: "Callable[..., Config]") -> Callable[..., Trainer]:
    """Returns a function that creates a run at step 0.

    Its arguments are the changes to `SMALL`, and optionally a dataset (`own`) and a model (`net`) of the test.
    `test: auto` holds out nothing of a dataset of the test.
    """

    def make(own: "Dataset | None" = None, net: "keras.Model | None" = None, **changes: Any) -> Trainer:
        from tfloop_cli.engine.data import Data, build_data
        from tfloop_cli.engine.tasks import build_task, decide_task
        from tfloop_cli.engine.training.setup import complete_setup, create_state
        from tfloop_cli.registry import models

        if own is not None and "test" not in own.splits:
            changes = {"test": 0} | changes
        config = configure(**changes)
        data = build_data(config) if own is None else Data(own, config)
        config = config.model_copy(update={"task": decide_task(config.task, data.spec, lambda text: None)})
        task = build_task(config.task, data.spec)
        model = models.build(config.model, data.spec) if net is None else net
        state = create_state(model, task, data.spec, config, config.epochs * data.steps_per_epoch)
        complete_setup(task, state, data)
        return Trainer(config, data, task, state)

    return make


@dataclass(frozen=True)
class Process:
    """The exit code and the output of a tfloop process."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The output of `--json`; fails if a line of stdout is not a document."""
        return [json.loads(line) for line in self.lines]


class Shell:
    """Runs tfloop in a separate process, with pipes instead of a terminal."""

    def run(self, *arguments: object, cwd: Path, stdin: str = "", **environment: str) -> Process:
        """Runs tfloop to the end."""
        completed = subprocess.run(
            self.command(*arguments), cwd=cwd, input=stdin, env=self.environment(**environment),
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return Process(completed.returncode, completed.stdout, completed.stderr)

    def start(self, *arguments: object, cwd: Path) -> "subprocess.Popen[str]":
        """Starts tfloop, for a test that interacts with the running process."""
        return subprocess.Popen(
            self.command(*arguments), cwd=cwd, env=self.environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "tfloop_cli", *map(str, arguments)]

    def environment(self, **changes: str) -> dict[str, str]:
        """Returns this process's environment with the tested package, without variables that change the output."""
        ignored = {
            "CI",
            "NO_COLOR",
            "FORCE_COLOR",
            "COLUMNS",
            "KERAS_BACKEND",
            "TF_CPP_MIN_LOG_LEVEL",
            "TFLOOP_OFFLINE",
        }
        kept = {key: value for key, value in os.environ.items() if key not in ignored}
        paths = [str(Path(__file__).parent.parent), *filter(None, [kept.get("PYTHONPATH")])]
        return kept | {"PYTHONPATH": os.pathsep.join(paths), "TERM": "xterm-256color"} | changes


@pytest.fixture(scope="session")
def shell() -> Shell:
    return Shell()


SMALL_RUN = """\
# as a user would write it
dataset: {name: synthetic, shape: [8, 8, 1], classes: 3, train_examples: 200, test_examples: 50}
model: {name: conv_net, filters: [4], dropout: 0.3}
augment: [flip, {name: affine, degrees: 20.0}]
epochs: 2
batch_size: 32
validation: 20
device: cpu
threads: 1
"""


@dataclass(frozen=True)
class Finished:
    """A run that a tfloop process has completed."""

    process: Process
    cwd: Path
    folder: Path

    def read(self, name: str) -> Any:
        """Returns the content of a JSON file in the run folder."""
        return json.loads((self.folder / name).read_text())


@pytest.fixture(scope="session")
def finished(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The result of `tfloop train -c small.yaml`, shared by all tests, which must not change its files."""
    cwd = tmp_path_factory.mktemp("finished")
    (cwd / "small.yaml").write_text(SMALL_RUN)
    process = shell.run("train", "--config", "small.yaml", "--fail-over", "loss=100", cwd=cwd)
    assert process.code == 0, process.err
    (folder,) = (cwd / "runs").iterdir()
    return Finished(process, cwd, folder)


@pytest.fixture(scope="session")
def rerun(shell: Shell, finished: Finished) -> Finished:
    """The same training from the config that the first run wrote; with --json, -q and a threshold that always fails."""
    arguments = ("--config", finished.folder / "config.yaml", "--output", "again", "--json", "-q")
    process = shell.run("train", *arguments, "--fail-under", "accuracy=1.01", cwd=finished.cwd)
    return Finished(process, finished.cwd, finished.cwd / "again")


@pytest.fixture(scope="session")
def tiny_runs(machine: None, tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    """A small trained run for each kind of data: `tiny_runs("table")` is a run folder."""
    return TinyRuns(tmp_path_factory.mktemp("tiny"))
