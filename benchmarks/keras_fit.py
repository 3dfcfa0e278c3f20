"""Keras' `model.fit` on a workload: what tfloop is measured against. Prints JSON documents, as `tfloop train --json`.

    python benchmarks/keras_fit.py mnist.yaml --epochs 3 [--seed 0] [--set KEY=VALUE ...] [--tutorial]
    python benchmarks/keras_fit.py mnist.yaml --search 1 --epochs 3

Its pipeline is what an expert makes of tf.data for that kind of data; with `--tutorial` it is the tutorial's.
`--search` keeps nothing: it tries how many steps a call should take, and whether XLA helps, for so many seconds each.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import exported_workload
import keras_workload  # first: it says what Keras runs on

import keras  # isort: skip
import tensorflow as tf  # isort: skip

STEPS = (1, 8, 16, 32, 64)  # of one call
LONGEST = 4  # times the seconds of a trial: calls that take longer have nothing left to save


class Told(keras.callbacks.Callback):
    """Tells of each epoch."""

    def __init__(self, examples: int) -> None:
        super().__init__()
        self._epochs = exported_workload.Epochs(examples)

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._epochs.begin()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self._epochs.done()


class Paced(keras.callbacks.Callback):
    """Seconds of each epoch's training."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = tf.timestamp()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(float(tf.timestamp() - self._started))


@dataclass(frozen=True)
class Choice:
    """How `fit` is run.

    Attributes:
        steps: of one call.
        jit: whether XLA compiles them.
    """

    steps: int = 1
    jit: bool = False


def compiled(workload: keras_workload.Workload, epochs: int, choice: Choice) -> keras.Model:
    """The workload's model, ready to be fit."""
    model = workload.model()
    model.compile(
        optimizer=workload.optimizer(epochs),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=choice.steps,
        jit_compile=choice.jit,
    )
    return model


def search(workload: keras_workload.Workload, budget: float) -> Choice:
    """The fastest of all choices, each tried for about `budget` seconds, twice, once it is compiled."""
    best, fastest = Choice(), math.inf
    for jit in (False, True) if workload.fixed_shape else (False,):
        for steps in STEPS:
            if math.isfinite(fastest) and steps * fastest > LONGEST * budget:
                break
            choice = Choice(steps, jit)
            try:
                seconds = seconds_a_step(workload, choice, budget, fastest)
            except tf.errors.OpError as error:  # what XLA cannot compile
                exported_workload.tell("trial", steps_per_execution=steps, jit=jit, failed=error.message[:200])
                break
            exported_workload.tell("trial", steps_per_execution=steps, jit=jit, milliseconds_a_step=seconds * 1e3)
            if seconds < fastest:
                best, fastest = choice, seconds
            elif jit and seconds > 1.5 * fastest:
                break  # more steps a call cannot win that back
    return best


def seconds_a_step(workload: keras_workload.Workload, choice: Choice, budget: float, guess: float) -> float:
    """Of training, warm: the better of two trials."""
    keras.backend.clear_session()
    calls = max(1, round(budget / (guess * choice.steps))) if math.isfinite(guess) else 8
    steps, paced = calls * choice.steps, Paced()
    data = keras_workload.tuned_pipeline(workload, "train").repeat()
    compiled(workload, 1, choice).fit(data, epochs=3, steps_per_epoch=steps, verbose=0, callbacks=[paced])
    return min(paced.seconds[1:]) / steps


def main() -> None:
    """Trains and tests, or searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tutorial", action="store_true")
    parser.add_argument("--steps-per-execution", type=int, default=1)
    parser.add_argument("--jit", action="store_true")
    parser.add_argument("--search", type=float, metavar="SECONDS")
    options = parser.parse_args()

    workload = keras_workload.open_workload(options.config, options.set, options.seed)
    if options.search:
        best = search(workload, options.search)
        exported_workload.tell("choice", steps_per_execution=best.steps, jit=best.jit)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.tutorial:
            train, test = (keras_workload.tutorial_pipeline(workload, split) for split in ("train", "test"))
        else:
            train = keras_workload.tuned_pipeline(workload, "train", Path(folder) / "decoded")
            test = keras_workload.tuned_pipeline(workload, "test")
        model = compiled(workload, options.epochs, Choice(options.steps_per_execution, options.jit))
        model.fit(train, epochs=options.epochs, verbose=0, callbacks=[Told(len(workload.splits["train"]))])
        loss, accuracy = model.evaluate(test, verbose=0)
    exported_workload.tell("evaluation", split="test", metrics={"loss": loss, "accuracy": accuracy})


if __name__ == "__main__":
    main()
