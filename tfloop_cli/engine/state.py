"""Everything that a training step may change, by name."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.config import Config
from tfloop_cli.engine.data.spec import DataSpec
from tfloop_cli.engine.optimizers import build_optimizer
from tfloop_cli.engine.updates import RunOptimizer
from tfloop_cli.errors import TfloopError

if TYPE_CHECKING:
    from tfloop_cli.engine.tasks import Task

NEVER = -1  # in place of a step: there has been none


class TrainState:
    """Models, optimizers and counters of a run, at rest between two calls of the inner loop.

    Attributes:
        models: by name; a task of one model finds it as `state.model` too.
        optimizers: one for each model, by the same names.
        seed: of the run.
        step: training steps done, int64 [].
        epoch: epochs done, their validation included, int64 [].
        totals: sums of the running epoch's metrics and, last, its examples, float64 [metrics + 1].
        best: the best value of the monitored metric so far, float64 []; NaN before the first.
        best_step: the steps done then, int64 []; -1 before.
        patience: for early stopping: the best value it has seen and the epochs since, float64 [2].
        bad: steps that were left out because a number was not finite, and the first of them; int64 [2].
        watch: the sum of all losses, float []: not finite if one of them was not. It is not saved.
    """

    def __init__(self, models: Mapping[str, keras.Model], metrics: Sequence[str], seed: int) -> None:
        self.models = dict(models)
        self.optimizers: dict[str, RunOptimizer] = {}
        self.metrics = tuple(metrics)
        self.seed = seed
        with tf.device("CPU"):
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
            self.totals = tf.Variable(tf.zeros(len(metrics) + 1, tf.float64), trainable=False, name="totals")
            self.best = tf.Variable(np.nan, dtype=tf.float64, trainable=False, name="best")
            self.best_step = tf.Variable(NEVER, dtype=tf.int64, trainable=False, name="best_step")
            self.patience = tf.Variable([np.nan, 0.0], dtype=tf.float64, trainable=False, name="patience")
            self.bad = tf.Variable([0, NEVER], dtype=tf.int64, trainable=False, name="bad")
        self.watch = tf.Variable(0.0, dtype=keras.config.floatx(), trainable=False, name="watch")

    @classmethod
    def create(
        cls,
        models: keras.Model | Mapping[str, keras.Model],
        task: "Task",
        spec: DataSpec,
        config: Config,
        total_steps: int,
    ) -> "TrainState":
        """A state at step 0, with a new optimizer for each model.

        Args:
            models: one model, or several by name.
            task: says which models it trains, and what it measures.
            spec: shape of the data.
            config: optimizer, schedule, seed, ema_decay, precision.
            total_steps: training steps in the whole run: the schedule's horizon.

        Raises:
            TfloopError: the models are not those that the task trains, or put out something else (exit code 2).
        """
        by_name = {"model": models} if isinstance(models, keras.Model) else dict(models)
        if set(by_name) != set(task.models):
            raise TfloopError(
                f"task `{config.task.name}` trains {_list(task.models)}, and `{config.model.name}` is {_list(by_name)}",
                hint="`task: gan` goes with `model: dcgan`; the other models with `classification` or `regression`",
            )
        if isinstance(models, keras.Model) and not models.built:  # a subclass makes its weights when it first sees data
            shape = [1, *(1 if length is None else length for length in spec.input_shape)]
            models(tf.zeros(shape, tf.int32 if spec.vocabulary else tf.float32), training=False)
        if require := getattr(task, "require_outputs", None):  # a task of one's own need not have it
            require(by_name["model"], spec, config.model.name)
        if config.in_parts:
            _require_divisible(config, task, by_name)
        state = cls(by_name, task.metrics, config.seed)
        for name, model in by_name.items():
            state.optimizers[name] = RunOptimizer(
                build_optimizer(config, total_steps),
                model.trainable_variables,
                state.watch,
                ema_decay=config.ema_decay,
                scaled=config.precision == "float16",
                summed=config.in_parts,
            )
        return state

    @property
    def model(self) -> keras.Model:
        """The model of a task that has one."""
        return self.models["model"]

    @property
    def optimizer(self) -> RunOptimizer:
        """The optimizer of a task that has one model."""
        return self.optimizers["model"]

    def variables(self) -> dict[str, tf.Variable]:
        """Every variable that a step may change, by a name that the structure gives, not the order of building.

        Keras numbers its own names by what was built before in the process; `model.variables` (which, unlike
        `weights`, holds the seeds of Dropout too) comes in the model's own order.
        """
        named = dict(self.model_variables())
        for name, optimizer in self.optimizers.items():
            for number, variable in enumerate(optimizer.keras.variables):
                named[f"optimizers/{name}/{number:04d}"] = variable.value
            for number, average in enumerate(optimizer.averages):
                named[f"averages/{name}/{number:04d}"] = average
            if optimizer.scale is not None:
                named[f"optimizers/{name}/scale"] = optimizer.scale
        counters = (
            self.step,
            self.epoch,
            self.totals,
            self.best,
            self.best_step,
            self.patience,
            self.bad,
        )
        return named | {f"loop/{variable.name.split(':')[0]}": variable for variable in counters}

    def model_variables(self) -> Iterator[tuple[str, tf.Variable]]:
        """The models' part of `variables`."""
        for name, model in self.models.items():
            for number, variable in enumerate(model.variables):
                yield f"models/{name}/{number:04d}", variable.value

    def trainable_variables(self) -> list[keras.Variable]:
        """What the optimizers change, of all models."""
        return [variable for model in self.models.values() for variable in model.trainable_variables]

    def weights_sha256(self) -> str:
        """sha256 over the models' weights in order: two runs with equal ones ended with equal bits."""
        digest, variables = hashlib.sha256(), self.variables()
        for name in self.weight_names():
            digest.update(np.ascontiguousarray(variables[name].numpy()))
        return digest.hexdigest()

    def weight_names(self) -> list[str]:
        """Names of the models' weights in order: all of their variables but the seeds of random layers."""
        weights = {id(variable.value) for model in self.models.values() for variable in model.weights}
        return [name for name, variable in self.model_variables() if id(variable) in weights]

    def is_finite(self) -> tf.Tensor:
        """Whether all losses so far, and every number in models and optimizers, are finite: bool []."""
        watched = (variable for name, variable in self.variables().items() if not name.startswith("loop/"))
        floats = [self.watch, *(variable for variable in watched if variable.dtype.is_floating)]
        # A sum is one pass over the memory, and no mask of it.
        return tf.reduce_all([tf.math.is_finite(tf.reduce_sum(variable)) for variable in floats])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the models have their averaged weights, where the run keeps an average."""
        pairs = [
            (variable, average)
            for name, optimizer in self.optimizers.items()
            for variable, average in zip(self.models[name].trainable_variables, optimizer.averages, strict=False)
        ]
        kept = [variable.value.numpy() for variable, _ in pairs]
        for variable, average in pairs:
            variable.assign(average)
        try:
            yield
        finally:
            for (variable, _), value in zip(pairs, kept, strict=True):
                variable.assign(value)


def _require_divisible(config: Config, task: "Task", models: Mapping[str, keras.Model]) -> None:
    """Raises TfloopError where the examples of a batch meet, so that its parts would not add up to it."""
    averaging = any(model.non_trainable_weights for model in models.values())
    if averaging or getattr(task, "whole_batches", False):
        what = f"model `{config.model.name}` keeps averages of them" if averaging else f"task `{config.task.name}`"
        raise TfloopError(
            f"`micro_batch_size: {config.micro_batch_size}` takes batches apart whose examples belong together: {what}",
            hint="lower `batch_size` instead, or take batch norm out of the model",
        )


def _list(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
