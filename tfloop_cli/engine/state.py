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
from tfloop_cli.errors import TfloopError

if TYPE_CHECKING:
    from tfloop_cli.engine.tasks import Task

NEVER = -1  # in place of a step: there has been none
FIRST_SCALE, RAISED_AFTER = 2.0**15, 2000  # float16's loss scale; doubled after so many good steps in a row


class GuardedOptimizer:
    """A Keras optimizer that leaves the weights alone when the loss or a gradient is not finite.

    Args:
        optimizer: Keras' optimizer, built for `variables`.
        variables: what it trains.
        bad: int64 [3], shared by the optimizers of a run: see `TrainState`.
        step: the run's step counter.
        stop: whether one refused update refuses all that follow, so that the state stays as it was.
        ema_decay: of the running average of the weights; None for no average.
        scaled: whether the loss is scaled, as float16 needs: its gradients would vanish or overflow.

    Attributes:
        averages: of the weights; empty where none are kept.
        scale: the loss scale and the good steps since it changed, float32 [2]; None where the loss is not scaled.
    """

    def __init__(
        self,
        optimizer: keras.Optimizer,
        variables: Sequence[keras.Variable],
        bad: tf.Variable,
        step: tf.Variable,
        *,
        stop: bool,
        ema_decay: float | None,
        scaled: bool = False,
    ) -> None:
        self.keras = optimizer
        self._bad, self._step, self._stop, self._decay = bad, step, stop, ema_decay
        optimizer.build(variables)
        self._variables = list(variables)
        self.averages = [tf.Variable(v.value, trainable=False) for v in variables] if ema_decay else []
        self.scale = tf.Variable([FIRST_SCALE, 0.0], trainable=False) if scaled else None
        self._scaled = False  # whether the step that is being traced has asked for the scale

    @property
    def loss_scale(self) -> tf.Tensor | None:
        """What `tape.gradient` takes for the loss's own gradient: the loss scale; None, which is 1, without one."""
        self._scaled = self.scale is not None
        return self.scale[0] if self.scale is not None else None

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], loss: tf.Tensor) -> None:
        """One update: what Keras' `optimizer.apply` does, if every number is finite."""
        gradients = [_whole(gradient) for gradient in gradients]
        if self._scaled:
            gradients = [None if gradient is None else gradient / self.scale[0] for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        good = tf.math.is_finite(tf.cast(loss, norm.dtype) + norm)
        if self._stop:
            good = tf.logical_and(good, tf.equal(self._bad[0], 0))
        refuse = self._refuse
        if self._scaled:  # an overflow is no divergence while there is a smaller scale to try
            refuse = lambda: tf.cond(tf.math.is_finite(loss) & (self.scale[0] > 1), self._lower, self._refuse)  # noqa: E731
        tf.cond(good, lambda: self._update(gradients, variables), refuse)

    def _update(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> tf.Operation:
        self.keras.apply(gradients, variables)
        for average, variable in zip(self.averages, self._variables, strict=False):
            average.assign_sub((average - variable.value) * (1 - self._decay))
        if self._scaled:
            raised = self.scale[1] + 1 >= RAISED_AFTER
            self.scale.assign(tf.where(raised, [self.scale[0] * 2, 0.0], self.scale + tf.constant([0.0, 1.0])))
        return tf.no_op()

    def _lower(self) -> tf.Operation:
        self.scale.assign([self.scale[0] / 2, 0.0])
        return tf.no_op()

    def _refuse(self) -> tf.Operation:
        first = tf.where(tf.equal(self._bad[0], 0), self._step, self._bad[1])
        self._bad.assign(tf.stack([self._bad[0] + 1, first, self._bad[2]]))
        return tf.no_op()


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
        bad: updates refused because a number was not finite, the first one's step, and whether the state itself holds
            such a number; int64 [3].
    """

    def __init__(self, models: Mapping[str, keras.Model], metrics: Sequence[str], seed: int) -> None:
        self.models = dict(models)
        self.optimizers: dict[str, GuardedOptimizer] = {}
        self.metrics = tuple(metrics)
        self.seed = seed
        with tf.device("CPU"):
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
            self.totals = tf.Variable(tf.zeros(len(metrics) + 1, tf.float64), trainable=False, name="totals")
            self.best = tf.Variable(np.nan, dtype=tf.float64, trainable=False, name="best")
            self.best_step = tf.Variable(NEVER, dtype=tf.int64, trainable=False, name="best_step")
            self.patience = tf.Variable([np.nan, 0.0], dtype=tf.float64, trainable=False, name="patience")
            self.bad = tf.Variable([0, NEVER, 0], dtype=tf.int64, trainable=False, name="bad")

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
            config: optimizer, schedule, seed, ema_decay, on_nonfinite.
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
        state = cls(by_name, task.metrics, config.seed)
        for name, model in by_name.items():
            state.optimizers[name] = GuardedOptimizer(
                build_optimizer(config, total_steps),
                model.trainable_variables,
                state.bad,
                state.step,
                stop=config.on_nonfinite == "stop",
                ema_decay=config.ema_decay,
                scaled=config.precision == "float16",
            )
        return state

    @property
    def model(self) -> keras.Model:
        """The model of a task that has one."""
        return self.models["model"]

    @property
    def optimizer(self) -> GuardedOptimizer:
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

    def check_finite(self) -> None:
        """Marks the state as spoiled if a number in models or optimizers is not finite; for use in a graph."""
        good = [
            tf.math.is_finite(tf.reduce_sum(variable))  # one pass over the memory, and no mask of it
            for name, variable in self.variables().items()
            if variable.dtype.is_floating and not name.startswith("loop/")
        ]
        self.bad.assign(tf.concat([self.bad[:2], [1 - tf.cast(tf.reduce_all(good), tf.int64)]], axis=0))

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


def _whole(gradient: tf.Tensor | tf.IndexedSlices | None) -> tf.Tensor | None:
    """An embedding's gradient as one number a weight.

    It comes as rows, one for each place of a word in the batch. Keras would square and clip each row for itself, which
    is not the gradient's square or norm where a word stands twice: its Adam and RMSprop come out wrong.
    """
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def _list(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
