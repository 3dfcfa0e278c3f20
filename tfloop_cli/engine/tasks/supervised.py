"""Learning from examples with answers: classification and regression."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import keras
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks.task import Batch, Values
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import Rate
from tfloop_cli.registry import tasks

PerExample = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # targets, outputs -> float [batch]


@dataclass(frozen=True)
class Supervised:
    """A model that answers, and a loss that says how wrong the answer is.

    Attributes:
        loss: the loss of each example.
        measures: further metrics of each example, by name.
        monitor: see `Task`.
        classes: whether an answer is a class.
    """

    loss: PerExample
    measures: Mapping[str, PerExample]
    monitor: tuple[str, str] | None
    classes: bool

    models = ("model",)

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("loss", *self.measures)

    def train_step(self, state: TrainState, batch: Batch) -> Values:
        inputs, targets = batch
        with tf.GradientTape() as tape:
            outputs = state.model(inputs, training=True)  # [batch, outputs]
            values = self.measure(targets, outputs)
            loss = tf.reduce_mean(values["loss"]) + sum(state.model.losses)
        variables = state.model.trainable_variables
        gradients = tape.gradient(loss, variables, state.optimizer.loss_scale)
        state.optimizer.apply(gradients, variables, loss)
        return values

    def eval_step(self, state: TrainState, batch: Batch) -> Values:
        inputs, targets = batch
        return self.measure(targets, state.model(inputs, training=False))

    def predict(self, state: TrainState, inputs: tf.Tensor) -> tf.Tensor | None:
        return tf.argmax(state.model(inputs, training=False), axis=-1) if self.classes else None

    def samples(self, state: TrainState) -> None:
        return None

    def require_outputs(self, model: keras.Model, spec: DataSpec, name: str) -> None:
        """Refuses a model that is known to put out other numbers than the task needs (exit code 2)."""
        shape = output_shape(model, spec)
        if shape is None or (shape == (spec.outputs,) if self.classes else math.prod(shape) == spec.outputs):
            return
        found = f"{math.prod(shape)} numbers" if len(shape) == 1 else f"an array of shape {shape}"
        each = "one a class" if self.classes else "one a number of the target"
        raise TfloopError(
            f"model `{name}` puts out {found} for an example, and the task needs {spec.outputs} ({each})",
            hint="a model's last layer has `spec.outputs` units",
        )

    def measure(self, targets: tf.Tensor, outputs: tf.Tensor) -> Values:
        """Loss and metrics of each example, in float32 at least, whatever the model computes in."""
        if outputs.dtype != tf.float64:
            outputs = tf.cast(outputs, tf.float32)
        if self.classes:
            targets = tf.cast(targets, tf.int32)  # the losses know no uint8
        return {"loss": self.loss(targets, outputs)} | {
            name: measure(targets, outputs) for name, measure in self.measures.items()
        }


def output_shape(model: keras.Model, spec: DataSpec) -> tuple[int, ...] | None:
    """What a model puts out for one example; None if that cannot be known before it runs."""
    shape = getattr(model, "output_shape", None)
    if shape is None:  # a subclass: only a call can tell
        inputs = keras.KerasTensor((None, *spec.input_shape), "int32" if spec.vocabulary else "float32")
        try:
            shape = getattr(model.compute_output_spec(inputs), "shape", None)
        except Exception:  # whatever the user's code raises: the training itself will say it better
            return None
    if not isinstance(shape, tuple) or not shape or any(type(length) is not int for length in shape[1:]):
        return None
    return shape[1:]


@tasks.register("classification")
def classification(
    spec: DataSpec,
    *,
    loss: Literal["cross_entropy", "focal"] = "cross_entropy",
    label_smoothing: Rate = 0.0,
    metrics: list[Literal["accuracy", "top_3_accuracy", "top_5_accuracy"]] = ["accuracy"],
) -> Supervised:
    """One of several classes for each input; the model puts out a logit a class.

    Args:
        spec: shape of the data; its targets are classes.
        loss: softmax cross entropy, or focal loss with gamma 2 (Lin et al. 2017, arXiv:1708.02002).
        label_smoothing: share of each target that is spread evenly over all classes.
        metrics: what to measure besides the loss; the first one says which epoch is best.
    """
    if not spec.classes:
        raise TfloopError(
            "task `classification` needs classes, and this dataset's targets are numbers",
            hint="take `task: regression`, or another dataset",
        )

    def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if label_smoothing:
            shares = tf.one_hot(labels, spec.classes, dtype=logits.dtype)  # [batch, classes]
            shares = shares * (1 - label_smoothing) + label_smoothing / spec.classes
            return tf.nn.softmax_cross_entropy_with_logits(shares, logits)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    def focal(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        likelihood = tf.exp(-tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return tf.square(1 - likelihood) * cross_entropy(labels, logits)

    def top(k: int) -> PerExample:
        return lambda labels, logits: tf.cast(tf.math.in_top_k(labels, tf.cast(logits, tf.float32), k), tf.float32)

    def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels), tf.float32)

    known = {"accuracy": accuracy, "top_3_accuracy": top(3), "top_5_accuracy": top(5)}
    return Supervised(
        loss={"cross_entropy": cross_entropy, "focal": focal}[loss],
        measures={name: known[name] for name in metrics},
        monitor=(metrics[0], "max") if metrics else ("loss", "min"),
        classes=True,
    )


@tasks.register("regression")
def regression(
    spec: DataSpec,
    *,
    loss: Literal["mean_squared_error", "mean_absolute_error", "huber"] = "mean_squared_error",
    metrics: list[Literal["mean_squared_error", "mean_absolute_error"]] = ["mean_absolute_error"],
) -> Supervised:
    """Numbers for each input.

    Args:
        spec: shape of the data; its targets are numbers.
        loss: of each example, the mean over its numbers. `huber` is quadratic up to an error of 1, then linear.
        metrics: what to measure besides the loss.
    """
    if spec.classes:
        raise TfloopError(
            "task `regression` needs numbers, and this dataset's targets are classes",
            hint="take `task: classification`, or another dataset",
        )

    def flat(measure: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> PerExample:
        def of_batch(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
            targets = tf.cast(tf.reshape(targets, [-1, spec.outputs]), outputs.dtype)  # [batch, numbers]
            return measure(targets, tf.reshape(outputs, [-1, spec.outputs]))

        return of_batch

    known: dict[str, PerExample] = {
        "mean_squared_error": flat(keras.losses.mean_squared_error),
        "mean_absolute_error": flat(keras.losses.mean_absolute_error),
        "huber": flat(keras.losses.huber),
    }
    return Supervised(
        loss=known[loss], measures={name: known[name] for name in metrics}, monitor=("loss", "min"), classes=False
    )
