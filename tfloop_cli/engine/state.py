"""The training state: models, optimizers and counters of a run, by name."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.arrays import as_bytes, is_all_finite, view_of
from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
from tfloop_cli.engine.snapshot import Snapshot
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.checkpoints import NO_STEP

OTHERS = "other/"  # names of variables that neither a model nor an optimizer holds
CHECKED = ("models/", "optimizers/", "ema/")  # names of variables that have to be finite


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
        epoch_start: the step at which the current epoch began, int64 [].
        metric_sums: sums of the current epoch's metrics and, last, its examples, float64 [metrics + 1]; a `SumMetric`
            has as many numbers as its size.
        best: the monitored metric of the best epoch so far, float64 []; NaN before the first, or to start anew: then
            `best_loss` is not used.
        best_loss: the validation loss of that epoch, float64 []; NaN if there is none.
        best_step: the step of that epoch, int64 []; -1 before the first.
        early_stopping: best value and epochs without improvement, float64 [2]; initially, and to start anew, [NaN, 0].
        early_stopping_loss: the validation loss of that best value, float64 []; NaN if there is none.
        skipped_steps: number of steps skipped because of non-finite values, and the index, counted from 0, of the first
            (-1: none), int64 [2]; messages count from 1.
        loss_sum: sum of the losses since it was last reset, float64 []: a sum of finite float32 losses cannot overflow.
            Reset at a rollback, not saved.
        norm_sum: the same for the norms of the gradients; not finite after a fault of the gradients that the state may
            not show.
        others: variables that neither a model nor an optimizer holds and that the traced training step uses: those of a
            layer outside of the models, a task's own, Keras' global seed generator. See `add_others`.
        task_variables: the task's `saved_variables`, by name.
        latest_snapshot: the last copy of the state; None if there is none, or the state was restored since then.
    """

    def __init__(self, models: Mapping[str, keras.Model], metrics: Sequence[str], seed: int) -> None:
        self.models = dict(models)
        self.optimizers: dict[str, RunOptimizer] = {}
        self.seed = seed
        self.notes: list[str] = []
        with tf.device("CPU"):
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
            self.epoch_start = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch_start")
            self.best = tf.Variable(np.nan, dtype=tf.float64, trainable=False, name="best")
            self.best_loss = tf.Variable(np.nan, dtype=tf.float64, trainable=False, name="best_loss")
            self.best_step = tf.Variable(NO_STEP, dtype=tf.int64, trainable=False, name="best_step")
            self.early_stopping = tf.Variable([np.nan, 0.0], dtype=tf.float64, trainable=False, name="early_stopping")
            self.early_stopping_loss = tf.Variable(
                np.nan, dtype=tf.float64, trainable=False, name="early_stopping_loss"
            )
            self.skipped_steps = tf.Variable([0, NO_STEP], dtype=tf.int64, trainable=False, name="skipped_steps")
        self.loss_sum = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="loss_sum")
        self.norm_sum = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="norm_sum")
        self.others: list[tf.Variable] = []
        self.task_variables: Mapping[str, tf.Variable] = {}
        self.latest_snapshot: Snapshot | None = None
        self._infinite: set[str] = set()  # names of variables that were infinite before the first step
        self.name_metrics(metrics)

    def name_metrics(self, metrics: Sequence[str], sizes: Mapping[str, int] | None = None) -> None:
        """Sets the names of the metrics, and the sizes of those with several numbers, before the first step."""
        self.metrics = tuple(metrics)
        numbers = sum((sizes or {}).get(name, 1) for name in metrics)
        with tf.device("CPU"):
            self.metric_sums = tf.Variable(tf.zeros(numbers + 1, tf.float64), trainable=False, name="metric_sums")

    @property
    def model(self) -> keras.Model:
        """The model of a task with one model."""
        return self.models["model"]

    @property
    def optimizer(self) -> RunOptimizer:
        """The optimizer of a task with one model."""
        return self.optimizers["model"]

    def learning_rate(self) -> float | None:
        """Returns the learning rate of the next update, with warm-up and schedule; None for several optimizers."""
        rates = [optimizer.inner.learning_rate for optimizer in self.optimizers.values()]
        # Through text: as a float, the float32 of 0.001 would be 0.0010000000474974513.
        return float(str(tf.convert_to_tensor(rates[0]).numpy())) if len(rates) == 1 else None

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables that a checkpoint contains, by their names in it.

        The names are `models/<model>/0003`, `optimizers/<model>/0000`, `ema/<model>/0000`, `loop/step` and so on.
        Keras' variable names contain counters that depend on what the process built before. `model.variables` has a
        fixed order and, unlike `model.weights`, includes the seed states of Dropout.
        """
        named = dict(self.model_variables())
        for name, optimizer in self.optimizers.items():
            named |= {f"optimizers/{name}/{part}": variable for part, variable in optimizer.variables().items()}
            named |= {f"ema/{name}/{index:04d}": average for index, average in enumerate(optimizer.ema)}
        named |= {f"{OTHERS}{index:04d}": variable for index, variable in enumerate(self.others)}
        named |= {f"task/{name}": variable for name, variable in self.task_variables.items()}
        counters = (
            self.step, self.epoch, self.epoch_start, self.metric_sums, self.best, self.best_loss, self.best_step,
            self.early_stopping, self.early_stopping_loss, self.skipped_steps,
        )  # fmt: skip
        return named | {f"loop/{variable.name.split(':')[0]}": variable for variable in counters}

    def model_variables(self) -> Iterator[tuple[str, tf.Variable]]:
        """Yields the models' part of `variables`."""
        for name, model in self.models.items():
            for index, variable in enumerate(model.variables):
                yield f"models/{name}/{index:04d}", variable.value

    def add_others(self, used: Iterable[tf.Variable], temporary: Iterable[tf.Variable]) -> None:
        """Adds the variables in `used` that the state does not hold yet, in order, without those in `temporary`.

        Raises:
            TfloopError: the state was restored from a checkpoint that does not contain them (exit code 6).
        """
        optimizers = self.optimizers.values()
        known = [*self.variables().values(), self.loss_sum, self.norm_sum, *temporary]
        known += [variable for optimizer in optimizers for variable in optimizer.temporary]
        handles = {id(variable.handle) for variable in known}
        new = [variable for variable in used if id(variable.handle) not in handles]
        if new and int(self.step):
            raise TfloopError(
                f"the checkpoint does not contain {len(new)} variables that the training step uses: "
                f"{', '.join(variable.name for variable in new[:3])}{', ...' if len(new) > 3 else ''}",
                hint="use the same code as for training",
                code=ExitCode.CHECKPOINT,
            )
        self.others += new

    @contextmanager
    def keep_random_state(self) -> Iterator[None]:
        """A context after which the state of random generators is as before: that is all integers outside the loop."""
        variables = self.variables().items()
        kept = [v for name, v in variables if v.dtype.is_integer and not name.startswith("loop/")]
        values = [variable.numpy() for variable in kept]
        try:
            yield
        finally:
            for variable, value in zip(kept, values, strict=True):
                variable.assign(value)

    def snapshot(self) -> Snapshot:
        """Copies the state into the memory of the latest copy, unless that is in use: one copy is enough."""
        latest, self.latest_snapshot = self.latest_snapshot, None
        memory = latest.arrays if latest and not latest.in_use else {}
        del latest  # otherwise its memory is released only after the new copy is made
        facts = {
            "step": int(self.step),
            "epoch": int(self.epoch),
            "epoch_start": int(self.epoch_start),
            "best_step": int(self.best_step),
            "other_variables": len(self.others),
        }
        self.latest_snapshot = Snapshot.of(
            self.variables(), facts, self.weight_names(), self.checked_names(), memory=memory
        )
        return self.latest_snapshot

    def trainable_variables(self) -> list[keras.Variable]:
        """Returns the trainable variables of all models."""
        return [variable for model in self.models.values() for variable in model.trainable_variables]

    def weights_sha256(self) -> str:
        """Returns the sha256 over the models' weights in order; equal for two runs with bitwise equal weights."""
        digest, variables = hashlib.sha256(), self.variables()
        for name in self.weight_names():
            digest.update(as_bytes(view_of(variables[name])))
        return digest.hexdigest()

    def weight_names(self) -> list[str]:
        """Returns the names of the models' weights in order: all their variables except seeds of random layers."""
        weights = {id(variable.value) for model in self.models.values() for variable in model.weights}
        return [name for name, variable in self.model_variables() if id(variable) in weights]

    def is_finite(self) -> tf.Tensor:
        """Returns whether all losses so far and all values in models and optimizers are finite: bool [].

        It may be False for finite values, if their sum overflows; `non_finite` is exact.
        """
        # A sum reads the memory once and needs no mask of the same size. A sum of 70,000 ones in float16 is infinite.
        sums = [
            tf.reduce_sum(tf.cast(variable, tf.float32) if variable.dtype.size < 4 else variable)
            for variable in (self.loss_sum, self.norm_sum, *self._checked().values())
        ]
        return tf.reduce_all([tf.math.is_finite(total) for total in sums])

    def non_finite(self) -> list[str]:
        """Returns the names of the variables in models and optimizers that have a value that is not finite."""
        return [name for name, variable in self._checked().items() if not is_all_finite(view_of(variable))]

    def require_finite(self) -> None:
        """Checks the state before the first step.

        Infinities in weights that are not trained are allowed: a constant mask has them.

        Raises:
            TfloopError: another value in a model or an optimizer is not finite (exit code 5).
        """
        trained = {id(variable.value) for variable in self.trainable_variables()}
        for name in self.non_finite():
            variable = self.variables()[name]
            constant = name.startswith("models/") and id(variable) not in trained
            if not constant or np.isnan(view_of(variable)).any():
                raise TfloopError(
                    f"{self.describe(name)} is not finite before the first step",
                    hint="check how the model initializes or loads its weights",
                    code=ExitCode.DIVERGED,
                )
            self._infinite.add(name)

    def describe(self, name: str) -> str:
        """Returns what a variable is, for a message: a weight, a moving statistic, or state of the optimizer of one."""
        kind, _, rest = name.partition("/")
        owner, _, index = rest.partition("/")
        if not index.isdecimal() or kind not in ("models", "optimizers", "ema"):
            return f"`{name}`"
        if kind == "optimizers":
            return f"the optimizer state `{self.optimizers[owner].inner.variables[int(index)].path}`"
        if kind == "ema":
            return f"the EMA of the weight `{self.models[owner].trainable_variables[int(index)].path}`"
        variable = self.models[owner].variables[int(index)]
        return f"the {'weight' if variable.trainable else 'non-trainable weight'} `{variable.path}`"

    def checked_names(self) -> list[str]:
        """Returns the names of the variables that have to be finite."""
        return list(self._checked())

    def _checked(self) -> dict[str, tf.Variable]:
        return {
            name: variable
            for name, variable in self.variables().items()
            if name.startswith(CHECKED) and variable.dtype.is_floating and name not in self._infinite
        }

    def end_epoch(self, epoch: int) -> None:
        """Counts the epoch as completed, and resets the metric sums."""
        self.metric_sums.assign(tf.zeros_like(self.metric_sums))
        self.epoch.assign(epoch)
        self.epoch_start.assign(self.step)

    def keep_ema_weights(self) -> None:
        """Makes the EMA weights, if the run has an EMA, the weights of the models. Training cannot go on from there."""
        for name, optimizer in self.optimizers.items():
            for variable, average in zip(self.models[name].trainable_variables, optimizer.ema, strict=False):
                variable.assign(average)

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
