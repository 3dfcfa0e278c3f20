"""Random changes of the config of a run that is resumed: each one takes effect exactly, or is refused.

    python -m benchmarks.resume_property [--pairs 200] [--seed 0]

A case is a config, some changed keys and a step to stop at. The run is trained, stopped at the step, and resumed by the
functions of `tfloop train --resume` with the changes. It has to end bitwise equal to a reference, or to be refused with
exit code 2 and the name of the key. The reference trains the same two phases in memory: its second phase gets the
variables of the first one object by object, without any code of checkpoints.
"""

import argparse
import contextlib
import copy
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli import Dataset, OnResume, PositiveInt, from_arrays
from tfloop_cli.commands.train import train
from tfloop_cli.config.loading import from_mapping, to_mapping
from tfloop_cli.config.on_resume import DECIDED_BY_DATA
from tfloop_cli.config.schema import Config
from tfloop_cli.engine import runtime
from tfloop_cli.engine.checkpoints.storage import read_arrays
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.loop import fit
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import build_task
from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
from tfloop_cli.engine.training.setup import build_state
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Event, Progress
from tfloop_cli.registry import datasets
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints, step_of
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.resume import reconcile, total_steps
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.console import Console

EXAMPLES, BATCH_SIZE, STEPS = 36, 8, 5  # steps per epoch
CASES_PER_CONFIG = 4
DATASET = "growing"
COSINE, CONSTANT = {"name": "cosine"}, {"name": "constant"}
# Dotted key -> values that a resumed run may change to.
ALLOWED: dict[str, list[Any]] = {
    "epochs": [3, 4],
    "steps_per_execution": [1, 2, 7],
    "on_nonfinite": ["skip"],
    "on_bad_example": ["skip"],
    "checkpoint.every_steps": [2, None],
    "checkpoint.keep": [1, 3],
    "checkpoint.best": [None, {}],
    "checkpoint.best.metric": ["loss", "accuracy"],
    "early_stopping": [None, {"patience_epochs": 1}],
    "early_stopping.metric": ["loss", "accuracy"],
    "early_stopping.patience_epochs": [1, 2, 9],
    "optimizer.learning_rate": [0.1, 0.003],
    "optimizer.weight_decay": [0.1],
    "schedule": [CONSTANT, COSINE, {"name": "exponential", "decay_steps": 3}],
    "schedule.alpha": [0.3],
    "schedule.decay_steps": [12],
    "warmup_steps": [0, 3, 9],
    "clip_norm": [None, 0.01],
    "ema_decay": [None, 0.5, 0.9],
    "precision": ["float32", "bfloat16", "float16"],
    "micro_batch_size": ["auto", 3],
    "kernels": ["tensorflow"],
    "augment": [[], [{"name": "flip"}], [{"name": "shift", "pixels": 1}]],
    "scale_uint8": [True, False],  # the dataset has none
    "dataset.examples": [29, 50],  # between two epochs
}
REFUSED: dict[str, list[Any]] = {
    "batch_size": [3, 20],
    "drop_remainder": [True],
    "validation": [4, 0],
    "seed": [3],
    "precision": ["float64"],
    "dataset.classes": [4],
    "model": [{"name": "conv_net"}],
    "model.dropout": [0.6],
    "model.hidden": [[9]],
    "optimizer": [{"name": "rmsprop"}],
    "optimizer.epsilon": [1e-3],
    "task.label_smoothing": [0.1],
    "task.loss": ["focal"],
}


def growing(
    *,
    examples: Annotated[PositiveInt, OnResume.CHANGES_REST] = EXAMPLES,
    classes: PositiveInt = 3,
    test: bool = True,
) -> Dataset:
    """Images whose class is the brightest column; more examples begin with the same ones."""
    random = np.random.default_rng(0)
    inputs = random.standard_normal((100, 8, 8, 1), np.float32)
    labels = inputs.mean(axis=(1, 3))[:, :classes].argmax(axis=1)
    rows = {"train": slice(0, examples), "validation": slice(60, 80)} | ({"test": slice(80, 100)} if test else {})
    names = [str(label) for label in range(classes)]
    return from_arrays({name: (inputs[rows], labels[rows]) for name, rows in rows.items()}, class_names=names)


@contextlib.contextmanager
def growing_dataset() -> Iterator[None]:
    """A context in which the dataset is registered."""
    before = datasets._added, datasets._builders
    datasets._added, datasets._builders = dict(datasets._added), dict(datasets._builders)
    datasets.register(DATASET)(growing)
    try:
        yield
    finally:
        datasets._added, datasets._builders = before


@dataclass(frozen=True)
class Case:
    """A run that is stopped, and resumed with another config.

    Attributes:
        before: the config of the run.
        changes: dotted key -> value.
        stop: completed steps when the run is stopped.
    """

    before: Config
    changes: Mapping[str, Any]
    stop: int

    def __str__(self) -> str:
        changes = ", ".join(f"{key}: {json.dumps(value)}" for key, value in self.changes.items())
        return f"stop at step {self.stop}, {changes}"

    @property
    def now(self) -> Config:
        """The config of the command that resumes."""
        mapping = copy.deepcopy(to_mapping(self.before))
        for key, value in self.changes.items():
            *path, last = key.split(".")
            part = mapping
            for name in path:
                part = part[name]
            part[last] = value
        return from_mapping(mapping, "the benchmark")

    @property
    def refused(self) -> str | None:
        """The key for which the run has to be refused; None if it may be resumed."""
        known_first = sorted(self.changes.items(), key=lambda item: item[0] in DECIDED_BY_DATA)
        for key, value in known_first:
            if value in REFUSED.get(key, ()):
                return key
        held_out = isinstance(self.before.validation, int)
        if "dataset.examples" in self.changes and (self.stop % STEPS or held_out):
            return "dataset"
        return None


class Phase:
    """A training in this process.

    Args:
        config: unresolved.
        saved: metadata of the first phase; empty for the first one.
        stop: the step of the first phase at which this one begins.
    """

    def __init__(self, config: Config, saved: Mapping[str, Any], stop: int = 0) -> None:
        self.config = runtime.setup(config)
        self.data = build_data(self.config)
        self.task = build_task(self.config.task, self.data.spec)
        done = stop // STEPS  # epochs, before the data may have grown
        steps = done * STEPS + (self.config.epochs - done) * self.data.steps_per_epoch
        self.total_steps = total_steps(self.config, steps, saved, lambda line: None)
        self.state = build_state(self.task, self.data, self.config, self.total_steps)

    def events(self) -> Iterator[Event]:
        """Trains to the end."""
        best, early_stopping = BestMetric(self.task, self.config), EarlyStopping(self.task, self.config)
        return fit(self.state, self.data, self.task, self.config, best, early_stopping)


Parts = dict[str, list[np.ndarray]]


def variables_of(state: TrainState) -> dict[str, list[tf.Variable]]:
    """Returns the variables of a state by their role, from the objects themselves."""
    inner = [optimizer.inner for optimizer in state.optimizers.values()]
    rates = {id(one._learning_rate) for one in inner}
    return {
        "weights": [variable.value for model in state.models.values() for variable in model.variables],
        "optimizer": [variable.value for one in inner for variable in one.variables if id(variable) not in rates],
        "ema": [average for optimizer in state.optimizers.values() for average in optimizer.ema],
        "scale": [one.scale for one in state.optimizers.values() if one.scale is not None],
        "loop": [one for one in vars(state).values() if isinstance(one, tf.Variable) and one is not state.loss_sum],
    }


def switch(values: Parts, first: Phase, second: Phase) -> None:
    """Gives the second phase the variables of the first one, as the policies define it."""
    state = second.state
    variables = variables_of(state)
    for role, found in values.items():
        if role in ("ema", "scale") and len(found) != len(variables[role]):
            continue  # it has just been switched on or off
        for variable, value in zip(variables[role], found, strict=True):
            variable.assign(value)
    if bool(first.config.ema_decay) != bool(second.config.ema_decay):
        for average, variable in zip(variables["ema"], state.trainable_variables(), strict=False):
            average.assign(variable.value)
    if scored_by(first, "checkpoint") != scored_by(second, "checkpoint"):
        state.best.assign(np.nan)
        state.best_step.assign(-1)
    if scored_by(first, "early_stopping") != scored_by(second, "early_stopping"):
        state.early_stopping.assign([np.nan, 0.0])


def scored_by(phase: Phase, key: str) -> tuple[Any, ...]:
    """Returns what a value of `best` or `early_stopping` is comparable with."""
    config = phase.config.checkpoint.best if key == "checkpoint" else phase.config.early_stopping
    if config is None:
        return (None,)
    metric = config.metric or "accuracy"
    return metric, config.mode or {"accuracy": "max", "loss": "min"}[metric], bool(phase.config.ema_decay)


def reference(case: Case, first: Phase, values: Mapping[int, Parts], config: Config) -> tuple[Phase, list[EpochDone]]:
    """Trains the second phase in memory, with the values of the first one at the case's step."""
    saved = {"total_steps": first.total_steps, "schedule": first.config.schedule.name}
    second = Phase(config, saved, case.stop)
    switch(values[case.stop], first, second)
    return second, [event for event in second.events() if isinstance(event, EpochDone)]


def first_phase(config: Config) -> tuple[Phase, dict[int, Parts]]:
    """Trains a run to its end in memory; returns its variables after each step."""
    phase = Phase(config, {})
    values: dict[int, Parts] = {}
    for event in phase.events():
        if isinstance(event, Progress | EpochDone):  # after an epoch, its end replaces its last step
            found = variables_of(phase.state)
            values[event.step] = {role: [one.numpy().copy() for one in part] for role, part in found.items()}
    return phase, values


def train_in(folder: Path, config: Config, resume: bool) -> None:
    """Trains or resumes the run in a folder, as `tfloop train` does."""
    run = RunFolder(folder)
    if resume:
        config, _ = reconcile(run, config)
    options = TrainOptions("property", folder, run if resume else None)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        train(config, options, Console(quiet=True, verbose=False, json=True, progress=False))


def stop_at(folder: Path, step: int) -> None:
    """Changes a finished run to the state after a kill at a step."""
    for path in list_checkpoints(RunFolder(folder).checkpoints):
        if step_of(path) > step:
            shutil.rmtree(path)
    (folder / "summary.json").unlink()


def failure(case: Case, folder: Path, first: Phase, values: Mapping[int, Parts]) -> str | None:
    """Resumes the run in a folder with the changes of a case; returns what is wrong, None if nothing is."""
    try:
        now, _ = reconcile(RunFolder(folder), case.now)
        train_in(folder, case.now, resume=True)
    except TfloopError as error:
        if error.code != ExitCode.USAGE or case.refused is None or f"`{case.refused}`" not in str(error):
            return f"it ends with {error.code!r}: {error}"
        return None
    if case.refused:
        return f"`{case.refused}` is not refused"
    second, epochs = reference(case, first, values, now)
    if not epochs and case.stop == int(first.state.step):
        second = first  # nothing is left to train, so the finished run is not changed
    arrays = read_arrays(Checkpoint.open(list_checkpoints(RunFolder(folder).checkpoints)[-1]))
    expected = {name: variable.numpy() for name, variable in second.state.variables().items()}
    if different := sorted(
        name
        for name in arrays.keys() | expected.keys()
        if name not in arrays or name not in expected or arrays[name].tobytes() != expected[name].tobytes()
    ):
        return f"{len(different)} of {len(expected)} variables differ: {', '.join(different[:6])}"
    documents = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = [(one["train"], one["validation"]) for one in documents if one["event"] == "epoch"]
    expected_scores = [(one.train, one.validation) for one in epochs]
    if scores[len(scores) - len(epochs) :] != expected_scores or "nan" in str(scores).lower():
        return f"the history is {scores}, and expected at its end is {expected_scores}"
    return None


def random_config(chosen: random.Random) -> Config:
    """Returns the config of a run."""
    rate = {"learning_rate": chosen.choice([0.01, 0.03])}
    has_test = chosen.random() < 0.3
    config = {
        "dataset": {"name": DATASET, "test": has_test},
        "model": chosen.choice([{"name": "linear"}, {"name": "mlp", "hidden": [8], "dropout": 0.3}]),
        "epochs": chosen.choice([2, 3]),
        "batch_size": BATCH_SIZE,
        "test": "auto" if has_test else 0,  # not held out of examples that grow
        "validation": chosen.choice(["auto", "auto", 6]),
        "optimizer": chosen.choice([
            {"name": "adam", **rate},
            {"name": "sgd", "momentum": 0.9, **rate},
            {"name": "adamw", **rate},
        ]),
        "schedule": chosen.choice([CONSTANT, CONSTANT, COSINE]),
        "warmup_steps": chosen.choice([0, 0, 4]),
        "ema_decay": chosen.choice([None, 0.8]),
        "early_stopping": chosen.choice([None, {"patience_epochs": 2}]),
        "precision": chosen.choice(["float32", "float32", "bfloat16", "float16"]),
        "micro_batch_size": chosen.choice(["auto", "auto", 4]),
        "augment": chosen.choice([[], [], ["flip"]]),
        "checkpoint": {"every_steps": 1, "keep": 99},
        "steps_per_execution": 1,
        "device": "cpu",
        "threads": 1,
        "seed": chosen.randrange(100),
    }  # fmt: skip
    return from_mapping(config, "the benchmark")


def random_case(chosen: random.Random, before: Config, stops: list[int]) -> Case:
    """Returns a case with one to three changed keys."""
    while True:
        candidates = list(ALLOWED.items()) if chosen.random() < 0.8 else list(REFUSED.items())
        changes = {key: chosen.choice(values) for key, values in chosen.sample(candidates, chosen.choice([1, 2, 3, 4]))}
        if any(key.rpartition(".")[0] in changes for key in changes):
            continue  # a mapping and a key in it
        ends = [step for step in stops if step % STEPS == 0]
        stop = chosen.choice(ends if "dataset.examples" in changes and chosen.random() < 0.7 else stops)
        case = Case(before, changes, stop)
        try:
            now = to_mapping(case.now)
        except (TfloopError, TypeError, KeyError):
            continue  # a key of a mapping that the config does not have, or two that exclude each other
        if now["epochs"] >= before.epochs and now != to_mapping(before):
            return case


def run_cases(pairs: int, seed: int, folder: Path) -> Iterator[tuple[Case, str | None]]:
    """Yields each case, with what is wrong."""
    chosen = random.Random(seed)
    for number in range(-(-pairs // CASES_PER_CONFIG)):
        before = random_config(chosen)
        finished = folder / f"run-{number}"
        train_in(finished, before, resume=False)
        first, values = first_phase(before)
        for attempt in range(min(CASES_PER_CONFIG, pairs - number * CASES_PER_CONFIG)):
            case = random_case(chosen, before, list(values))
            resumed = folder / f"run-{number}-{attempt}"
            shutil.copytree(finished, resumed)
            stop_at(resumed, case.stop)
            yield case, failure(case, resumed, first, values)
            shutil.rmtree(resumed)
        shutil.rmtree(finished)
        keras.backend.clear_session()


def main() -> int:
    """Returns the exit code: 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started, failed, refused, count = time.monotonic(), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder, growing_dataset():
        for case, wrong in run_cases(options.pairs, options.seed, Path(folder)):
            count += 1
            failed += wrong is not None
            refused += wrong is None and case.refused is not None
            print(f"{count:3}  {wrong or ('refused' if case.refused else 'equal')}  ({case})", flush=True)
    seconds = time.monotonic() - started
    print(f"{count} pairs in {seconds:.0f} s: {count - failed - refused} equal, {refused} refused, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
