"""The training state: models, optimizers and counters of a run, by name."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
from tfloop_cli.runs.checkpoints import NO_STEP


class TrainState:
    """Models, optimizers and counters of a run. It does not change between two calls of the inner loop.

    Attributes:
        models: by name; a task with one model finds it as `state.model` too.
        optimizers: one per model, by the same names.
        metrics: names of the task's metrics.
        notes: lines about models and task for the user, to be printed before the first step.
        seed: the run's seed.
        step: completed training steps, int64 [].
        epoch: completed epochs, validation included, int64 [].
        metric_sums: sums of the current epoch's metrics and, last, its examples, float64 [metrics + 1].
        best: the best value of the monitored metric so far, float64 []; NaN before the first.
        best_step: the step of the best value, int64 []; -1 before the first.
        early_stopping: best value and number of epochs without improvement, float64 [2]; initially [NaN, 0].
        skipped_steps: number of steps skipped because of non-finite values, and the index, counted from 0, of the first
            (-1: none), int64 [2]; messages count from 1.
        loss_sum: sum of the losses and, for optimizers that may hide an overflow, of the global gradient norms, dtype
            keras.config.floatx(), []; only its finiteness is used. Reset at a rollback, not saved.
    """

    def __init__(self, models: Mapping[str, keras.Model], metrics: Sequence[str], seed: int) -> None:
        self.models = dict(models)
        self.optimizers: dict[str, RunOptimizer] = {}
        self.seed = seed
        self.notes: list[str] = []
        with tf.device("CPU"):
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
            self.best = tf.Variable(np.nan, dtype=tf.float64, trainable=False, name="best")
            self.best_step = tf.Variable(NO_STEP, dtype=tf.int64, trainable=False, name="best_step")
            self.early_stopping = tf.Variable([np.nan, 0.0], dtype=tf.float64, trainable=False, name="early_stopping")
            self.skipped_steps = tf.Variable([0, NO_STEP], dtype=tf.int64, trainable=False, name="skipped_steps")
        self.loss_sum = tf.Variable(0.0, dtype=keras.config.floatx(), trainable=False, name="loss_sum")
        self.name_metrics(metrics)

    def name_metrics(self, metrics: Sequence[str]) -> None:
        """Sets the names of the metrics, before the first step."""
        self.metrics = tuple(metrics)
        with tf.device("CPU"):
            self.metric_sums = tf.Variable(tf.zeros(len(metrics) + 1, tf.float64), trainable=False, name="metric_sums")

    @property
    def model(self) -> keras.Model:
        """The model of a task with one model."""
        return self.models["model"]

    @property
    def optimizer(self) -> RunOptimizer:
        """The optimizer of a task with one model."""
        return self.optimizers["model"]

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables that a checkpoint contains, by their names in it.

        The names are `models/<model>/0003`, `optimizers/<model>/0000`, `ema/<model>/0000`, `loop/step` and so on.
        Keras' variable names contain counters that depend on what the process built before. `model.variables` has a
        fixed order and, unlike `model.weights`, includes the seed states of Dropout.
        """
        named = dict(self.model_variables())
        for name, optimizer in self.optimizers.items():
            for index, variable in enumerate(optimizer.inner.variables):
                named[f"optimizers/{name}/{index:04d}"] = variable.value
            for index, average in enumerate(optimizer.ema):
                named[f"ema/{name}/{index:04d}"] = average
            if optimizer.scale is not None:
                named[f"optimizers/{name}/scale"] = optimizer.scale
        counters = (
            self.step,
            self.epoch,
            self.metric_sums,
            self.best,
            self.best_step,
            self.early_stopping,
            self.skipped_steps,
        )
        return named | {f"loop/{variable.name.split(':')[0]}": variable for variable in counters}

    def model_variables(self) -> Iterator[tuple[str, tf.Variable]]:
        """Yields the models' part of `variables`."""
        for name, model in self.models.items():
            for index, variable in enumerate(model.variables):
                yield f"models/{name}/{index:04d}", variable.value

    def trainable_variables(self) -> list[keras.Variable]:
        """Returns the trainable variables of all models."""
        return [variable for model in self.models.values() for variable in model.trainable_variables]

    def weights_sha256(self) -> str:
        """Returns the sha256 over the models' weights in order; equal for two runs with bitwise equal weights."""
        digest, variables = hashlib.sha256(), self.variables()
        for name in self.weight_names():
            digest.update(np.ascontiguousarray(variables[name].numpy()))
        return digest.hexdigest()

    def weight_names(self) -> list[str]:
        """Returns the names of the models' weights in order: all their variables except seeds of random layers."""
        weights = {id(variable.value) for model in self.models.values() for variable in model.weights}
        return [name for name, variable in self.model_variables() if id(variable) in weights]

    def is_finite(self) -> tf.Tensor:
        """Returns whether `loss_sum` and all values in models and optimizers are finite: bool []."""
        checked = (variable for name, variable in self.variables().items() if not name.startswith("loop/"))
        floats = [self.loss_sum, *(variable for variable in checked if variable.dtype.is_floating)]
        # A sum reads the memory once and needs no mask of the same size.
        return tf.reduce_all([tf.math.is_finite(tf.reduce_sum(variable)) for variable in floats])

    def end_epoch(self, epoch: int) -> None:
        """Counts the epoch as completed, and resets the metric sums."""
        self.metric_sums.assign(tf.zeros_like(self.metric_sums))
        self.epoch.assign(epoch)

    @contextmanager
    def use_ema_weights(self) -> Iterator[None]:
        """A context in which the models have the EMA weights, if the run has an EMA."""
        pairs = [
            (variable, average)
            for name, optimizer in self.optimizers.items()
            for variable, average in zip(self.models[name].trainable_variables, optimizer.ema, strict=False)
        ]
        weights = [variable.value.numpy() for variable, _ in pairs]
        for variable, average in pairs:
            variable.assign(average)
        try:
            yield
        finally:
            for (variable, _), value in zip(pairs, weights, strict=True):
                variable.assign(value)
