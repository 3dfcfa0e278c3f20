"""Completes a user's task: defaults for what it does not have, and checks of what its steps return."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.structures import Structure
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks.task import Batch, MetricValues, SumMetric, Task
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, tasks


def build_task(component: Component, spec: DataSpec) -> Task:
    """Builds the task of a config.

    Args:
        component: its name and arguments.
        spec: shape of the data.

    Raises:
        TfloopError: a user's task has no `train_step`, or its attributes do not fit together (exit code 7).
    """
    task = tasks.build(component, spec)
    return task if type(task).__module__.startswith("tfloop_cli.") else CompleteTask(task, component.name)


class CompleteTask:
    """A user's task with a default for everything but `train_step`; see `Task`.

    Args:
        task: the user's object.
        name: of the task, for messages.

    Attributes:
        metrics: empty until `train_step` is traced, if the task does not declare them.
        eval_step: None if the task has none.
    """

    def __init__(self, task: Any, name: str) -> None:
        self._task, self._name = task, name
        if not callable(getattr(task, "train_step", None)):
            raise self._error("it has no `train_step`", "define `def train_step(self, state, batch)`")
        self.models: tuple[str, ...] = _names(getattr(task, "models", ()))
        self.metrics: tuple[str, ...] = _names(getattr(task, "metrics", ()))
        self.eval_step = self._evaluate if callable(getattr(task, "eval_step", None)) else None
        monitor = getattr(task, "monitor", None)
        if monitor is not None and not (len(monitor) == 2 and monitor[1] in ("min", "max")):
            raise self._error(
                f"its `monitor` is {monitor!r}", 'write `monitor = ("loss", "min")` or `("accuracy", "max")`'
            )
        if monitor is not None and self.eval_step is None:
            raise self._error("it has a `monitor` and no `eval_step`", "define `def eval_step(self, state, batch)`")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    @property
    def monitor(self) -> tuple[str, str] | None:
        default = ("loss", "min") if self.eval_step and "loss" in self.metrics else None
        return getattr(self._task, "monitor", default)

    def train_step(self, state: TrainState, batch: Batch) -> MetricValues:
        return self._checked(self._task.train_step(state, batch), batch, "train_step")

    def _evaluate(self, state: TrainState, batch: Batch) -> MetricValues:
        return self._checked(self._task.eval_step(state, batch), batch, "eval_step")

    def predict(self, state: TrainState, inputs: tf.Tensor) -> tf.Tensor | None:
        return self._task.predict(state, inputs) if hasattr(self._task, "predict") else None

    def probabilities(self, state: TrainState, inputs: tf.Tensor) -> tf.Tensor | None:
        return self._task.probabilities(state, inputs) if hasattr(self._task, "probabilities") else None

    def samples(self, state: TrainState) -> np.ndarray | None:
        return self._task.samples(state) if hasattr(self._task, "samples") else None

    @tf.autograph.experimental.do_not_convert
    def _checked(self, values: Any, batch: Batch, step: str) -> MetricValues:
        """Returns the value of each declared metric for each example, [batch], or [batch, size] of a `SumMetric`."""
        if not isinstance(values, Mapping) or not values:
            found = "an empty dict" if isinstance(values, Mapping) else type(values).__name__
            raise self._error(f"its `{step}` returns {found}, not its metrics", 'write `return {"loss": loss}`')
        if not self.metrics and step == "train_step":
            self.metrics = tuple(values)
        if missing := [name for name in self.metrics if name not in values]:
            returned, absent = (", ".join(f"`{name}`" for name in names) for names in (values, missing))
            raise self._error(
                f"its `{step}` returns {returned}, and not its metric {absent}",
                "both steps return all of its `metrics`",
            )
        return {name: self._per_example(name, values[name], batch, step) for name in self.metrics}

    def _per_example(self, name: str, value: Any, batch: Batch, step: str) -> tf.Tensor:
        value, one_input = tf.convert_to_tensor(value), tf.nest.flatten(batch)[0]
        examples, size = tf.shape(one_input)[0], one_input.shape[0]
        if value.dtype.is_complex or value.dtype == tf.string:
            raise self._error(f"its `{step}` returns the metric `{name}` as {value.dtype.name}", "return numbers")
        if name in (vectors := sum_metrics_of(self._task)):
            return self._vectors(name, value, vectors[name].size, step)
        if value.shape.rank == 0:
            return tf.fill([examples], value)
        if value.shape.rank == 1 and size is not None and value.shape[0] == size:
            return value
        if value.shape.rank in (None, 1) and (size is None or None in (value.shape.rank, value.shape[0])):
            # Not `tf.debugging.assert_equal`, which needs a conditional in the graph.
            text = f"the metric `{name}` does not have one value per example"
            with tf.control_dependencies([tf.raw_ops.Assert(condition=tf.size(value) == examples, data=[text])]):
                return tf.reshape(value, [-1])
        raise self._error(
            f"its `{step}` returns the metric `{name}` with shape {_shape(value)}, and the batch has "
            f"{'any number of' if size is None else size} examples",
            "return one value per example, such as `tf.reduce_mean(error, axis=[1, 2])`, "
            "or a scalar, the mean over the batch: `tf.reduce_mean(error)`",
        )

    def _vectors(self, name: str, value: tf.Tensor, size: int, step: str) -> tf.Tensor:
        if value.shape.rank != 2 or value.shape[1] != size:
            raise self._error(
                f"its `{step}` returns the metric `{name}` with shape {_shape(value)}",
                f"return [batch, {size}], as `sum_metrics` declares it",
            )
        return value

    def _error(self, problem: str, hint: str) -> TfloopError:
        return TfloopError(f"task `{self._name}`: {problem}", hint=hint, code=ExitCode.USER_CODE)


def evaluated_metrics(task: Task) -> tuple[str, ...]:
    """Returns the names of the metrics that an evaluation has; none if the task has no `eval_step`."""
    return task.metrics if task.eval_step else ()


def scores_of(task: Task, state: TrainState, inputs: Structure) -> tf.Tensor | None:
    """Returns the probability of each class, [batch, classes], or numbers in the targets' own units, [batch, numbers].

    None if the task predicts neither.
    """
    found = task.probabilities(state, inputs) if hasattr(task, "probabilities") else None
    found = task.predict(state, inputs) if found is None else found
    return None if found is None or found.dtype.is_integer else found


def sum_metrics_of(task: Task) -> Mapping[str, SumMetric]:
    """Returns the metrics of a task that are no means over examples."""
    return getattr(task, "sum_metrics", {})


def uses_autograph(task: Task) -> bool:
    """Whether AutoGraph converts the task's code before it is traced.

    A user's task may use Python's `if` on a tensor. The built-in tasks do not, and converting them takes longer than
    tracing them.
    """
    return isinstance(task, CompleteTask) or not type(task).__module__.startswith("tfloop_cli.")


def _names(declared: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (declared,) if isinstance(declared, str) else tuple(declared)


def _shape(value: tf.Tensor) -> str:
    return f"[{', '.join('?' if length is None else str(length) for length in value.shape)}]"
