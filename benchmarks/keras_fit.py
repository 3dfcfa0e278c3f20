"""Trains a workload with Keras' `model.fit`, the baseline of tfloop. Prints JSON documents like `tfloop train --json`.

    python benchmarks/keras_fit.py mnist.yaml --epochs 3 [--seed 0] [--set KEY=VALUE ...] [--tutorial]
    python benchmarks/keras_fit.py mnist.yaml --search 1

The pipeline is a tuned tf.data pipeline for the kind of data; with `--tutorial` it is that of the Keras tutorial.
`--search` does not train. It finds the fastest `steps_per_execution`, with and without XLA, with the given number of
seconds per trial.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import exported_workload
import keras_workload  # before keras: it sets the backend

import keras  # isort: skip
import tensorflow as tf  # isort: skip

STEPS_PER_EXECUTION = (1, 8, 16, 32, 64)
MAX_CALL_TIME = 4  # in durations of a trial: for longer calls, the overhead per call is negligible
MAX_SLOWDOWN = 1.5  # of XLA: if it is slower by more, more steps per execution cannot compensate for it


class EpochReports(keras.callbacks.Callback):
    """Prints one JSON document per epoch."""

    def __init__(self, examples: int) -> None:
        super().__init__()
        self._timer = exported_workload.EpochTimer(examples)

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._timer.start()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self._timer.stop()


class EpochSeconds(keras.callbacks.Callback):
    """Records the seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = tf.timestamp()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(float(tf.timestamp() - self._started))


@dataclass(frozen=True)
class FitOptions:
    """The tuned arguments of `model.compile`.

    Attributes:
        steps_per_execution: training steps per call.
        jit_compile: whether XLA compiles the step.
    """

    steps_per_execution: int = 1
    jit_compile: bool = False


def compiled_model(workload: keras_workload.Workload, epochs: int, fit: FitOptions) -> keras.Model:
    """Returns the compiled model of a workload."""
    model = workload.model()
    model.compile(
        optimizer=workload.optimizer(epochs),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=fit.steps_per_execution,
        jit_compile=fit.jit_compile,
    )
    return model


def search(workload: keras_workload.Workload, budget: float) -> FitOptions:
    """Returns the fastest options. Each is tried twice for about `budget` seconds, after compilation."""
    best, fastest = FitOptions(), math.inf
    for jit_compile in (False, True) if workload.has_fixed_shape else (False,):
        for steps in STEPS_PER_EXECUTION:
            if math.isfinite(fastest) and steps * fastest > MAX_CALL_TIME * budget:
                break
            candidate = FitOptions(steps, jit_compile)
            trial = {"steps_per_execution": steps, "jit_compile": jit_compile}
            try:
                seconds = seconds_per_step(workload, candidate, budget, fastest)
            except tf.errors.OpError as error:  # XLA does not support every model
                exported_workload.emit("trial", **trial, error=error.message[:200])
                break
            exported_workload.emit("trial", **trial, milliseconds_per_step=seconds * 1e3)
            if seconds < fastest:
                best, fastest = candidate, seconds
            elif jit_compile and seconds > MAX_SLOWDOWN * fastest:
                break
    return best


def seconds_per_step(workload: keras_workload.Workload, fit: FitOptions, budget: float, estimate: float) -> float:
    """Returns the seconds per warm training step: the better of two trials."""
    keras.backend.clear_session()
    per_call = fit.steps_per_execution
    calls = max(1, round(budget / (estimate * per_call))) if math.isfinite(estimate) else 8
    steps, epochs = calls * per_call, EpochSeconds()
    data = keras_workload.tuned_pipeline(workload, "train").repeat()
    compiled_model(workload, 1, fit).fit(data, epochs=3, steps_per_epoch=steps, verbose=0, callbacks=[epochs])
    return min(epochs.seconds[1:]) / steps


def main() -> None:
    """Trains and evaluates the test split, or searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tutorial", action="store_true", help="use the pipeline of the Keras tutorial")
    parser.add_argument("--steps-per-execution", type=int, default=1)
    parser.add_argument("--jit-compile", action="store_true", help="compile the step with XLA")
    parser.add_argument("--search", type=float, metavar="SECONDS", help="find the fastest options instead of training")
    options = parser.parse_args()

    workload = keras_workload.open_workload(options.config, options.set, options.seed)
    if options.search:
        best = search(workload, options.search)
        exported_workload.emit("choice", steps_per_execution=best.steps_per_execution, jit_compile=best.jit_compile)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.tutorial:
            train, test = (keras_workload.tutorial_pipeline(workload, split) for split in ("train", "test"))
        else:
            train = keras_workload.tuned_pipeline(workload, "train", Path(folder) / "decoded")
            test = keras_workload.tuned_pipeline(workload, "test")
        model = compiled_model(workload, options.epochs, FitOptions(options.steps_per_execution, options.jit_compile))
        model.fit(train, epochs=options.epochs, verbose=0, callbacks=[EpochReports(len(workload.splits["train"]))])
        loss, accuracy = model.evaluate(test, verbose=0)
    exported_workload.emit("evaluation", split="test", metrics={"loss": loss, "accuracy": accuracy})


if __name__ == "__main__":
    main()
