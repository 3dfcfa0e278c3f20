"""Supervised learning: the training step of classification and regression, and the task `classification`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.structures import Structure, map_structure
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks.ensembles import Ensemble, example_weights, member_losses
from tfloop_cli.engine.tasks.heads import Head, find_head, logits_of
from tfloop_cli.engine.tasks.task import Batch, MetricValues, SumMetric
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import tasks
from tfloop_cli.registry.argument_types import FractionBelowOne

PerExample = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # targets, outputs -> float [batch]


@dataclass
class Supervised:
    """One model with one output that predicts targets from its inputs.

    With `sample_weight`, as in Keras, the loss of an example is multiplied by its weight, and the loss of a batch is
    the sum of these divided by the number of examples. The other metrics are not weighted.

    Attributes:
        loss: the loss of each example.
        other_metrics: further metrics of each example, by name.
        monitor: see `Task`.
        spec: shape of the data.
        classes: the number of classes; 0 if the targets are numbers.
        sum_metrics: see `Task`.
        head: whether the model ends with a softmax or a sigmoid; None for logits and for numbers.
        ensemble: the members of the model; None if it is no ensemble.
    """

    loss: PerExample
    other_metrics: Mapping[str, PerExample]
    monitor: tuple[str, str] | None
    spec: DataSpec
    classes: int
    sum_metrics: Mapping[str, SumMetric] = field(default_factory=dict, kw_only=True)
    head: Head | None = field(default=None, init=False)
    ensemble: Ensemble | None = field(default=None, init=False)
    # The last outputs in a graph, and what they were computed from: graph, folds, inputs.
    _traced: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)
    _traced_outputs: tf.Tensor | None = field(default=None, init=False, repr=False, compare=False)

    models = ("model",)

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("loss", *self.other_metrics)

    def train_step(self, state: TrainState, batch: Batch) -> MetricValues:
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        with tf.GradientTape() as tape:
            if self.ensemble:
                values, losses = self._train_members(self.ensemble, inputs, targets, weights)
            else:
                outputs = state.model(inputs, training=True)  # [batch, outputs]
                values = weighted(self.compute_metrics(targets, outputs), weights)
                losses = values["loss"]
            loss = tf.cast(tf.reduce_mean(losses), keras.config.floatx())
            loss += sum(tf.cast(one, loss.dtype) for one in state.model.losses)
        variables = state.model.trainable_variables
        gradients = tape.gradient(loss, variables, state.optimizer.loss_scale)
        state.optimizer.apply(gradients, variables, loss)
        return values

    def eval_step(self, state: TrainState, batch: Batch) -> MetricValues:
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        values = self.compute_metrics(targets, self._outputs(state, inputs, weights))
        return weighted(values, example_weights(weights))

    def predict(self, state: TrainState, inputs: Structure, weights: tf.Tensor | None = None) -> tf.Tensor | None:
        """Like that of `Task`; of an ensemble with the members that count only, see `Folds.weights`."""
        return tf.argmax(self.logits(self._outputs(state, inputs, weights)), axis=-1) if self.classes else None

    def probabilities(self, state: TrainState, inputs: Structure) -> tf.Tensor | None:
        """Returns the probability of each class, float [batch, classes]; None if the targets are numbers."""
        if not self.classes:
            return None
        logits = self.logits(self._outputs(state, inputs, None))
        return tf.nn.softmax(logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32))

    def _outputs(self, state: TrainState, inputs: Structure, weights: tf.Tensor | None) -> tf.Tensor:
        """Returns the model's outputs; in one graph, metrics and probabilities of a batch share them."""
        folds = weights if self.ensemble and weights is not None and weights.shape.rank > 1 else None
        of = (tf.compat.v1.get_default_graph(), folds, *tf.nest.flatten(inputs))
        if len(of) == len(self._traced) and all(one is other for one, other in zip(of, self._traced, strict=True)):
            return self._traced_outputs
        if self.ensemble and weights is not None:
            outputs = self.ensemble.predictions(inputs, weights)
        else:
            outputs = state.model(inputs, training=False)
        self._traced, self._traced_outputs = (of, outputs) if tf.inside_function() else ((), None)
        return outputs

    def _train_members(
        self, ensemble: Ensemble, inputs: Structure, targets: tf.Tensor, weights: tf.Tensor | None
    ) -> tuple[MetricValues, tf.Tensor]:
        """Returns the metrics of the members that are trained on each example, and the loss to minimize, [batch].

        That is the sum of the losses of these members, and the loss of the other members' predictions, combined: from
        the latter, the layer that combines them learns how well they predict examples that they are not trained on.
        """
        outputs, counts = ensemble.members(inputs, training=True), ensemble.counts(weights)
        fixed = tf.stop_gradient(outputs)
        others = self.compute_metrics(targets, ensemble.combine(fixed, None if counts is None else 1 - counts))
        values = weighted(self.compute_metrics(targets, ensemble.combine(fixed, counts)), example_weights(weights))
        if self.classes:
            if self.spec.is_mixed(targets):
                raise TfloopError("the model is an ensemble, and `augment` mixes examples, which it does not support")
            targets = self.spec.labels_of(targets)
        losses = member_losses(self.loss, targets, tf.cast(outputs, values["loss"].dtype), counts) + others["loss"]
        return values, weighted({"loss": losses}, example_weights(weights))["loss"]

    def samples(self, state: TrainState) -> None:
        return None

    def check_model(self, model: keras.Model, spec: DataSpec, name: str) -> str | None:
        """Recognizes what the outputs of a model are.

        Returns:
            A line for the user if they are trained as probabilities.

        Raises:
            TfloopError: the model is known to have other outputs than the task needs (exit code 2).
        """
        self.ensemble = Ensemble.of(model)
        self.head = find_head(model, spec) if self.classes and not self.ensemble else None
        shape = output_shape(model, spec, name)
        one_for_two = self.classes == 2 and shape in ((1,), ())
        if shape is not None and not (one_for_two and self.head == "sigmoid"):
            self._require_outputs(shape, spec, name, one_for_two)
        if self.head is None:
            return None
        which = " of the second class" if one_for_two else ""
        return f"model `{name}` ends with a {self.head}: its outputs are trained as probabilities{which}"

    def _require_outputs(self, shape: tuple[int, ...], spec: DataSpec, name: str, one_for_two: bool) -> None:
        count = math.prod(shape)
        if shape == (spec.outputs,) if self.classes else count == spec.outputs:
            return
        found = f"{count} output{'' if count == 1 else 's'}" if len(shape) == 1 else f"outputs of shape {shape}"
        each = "one per class" if self.classes else "one per number of the target"
        raise TfloopError(
            f"model `{name}` has {found} per example, and the task needs {spec.outputs} ({each})",
            hint="the last layer of a model has `spec.outputs` units"
            + (", or one unit with `activation='sigmoid'` for two classes" if one_for_two else ""),
        )

    def logits(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the logits of a model's outputs, float [batch, classes]: the outputs themselves without a head."""
        return outputs if self.head is None else logits_of(outputs, self.head, self.classes)

    def compute_metrics(self, targets: tf.Tensor, outputs: tf.Tensor) -> MetricValues:
        """Returns loss and metrics of each example, in at least float32, whatever the precision of the model."""
        if not tf.is_tensor(outputs):
            raise _several_outputs("the model")
        outputs = self.logits(outputs)
        if outputs.dtype != tf.float64:
            outputs = tf.cast(outputs, tf.float32)
        wanted = targets
        if self.classes:
            targets = self.spec.labels_of(targets)
            wanted = tf.cast(wanted, outputs.dtype) if self.spec.is_mixed(wanted) else targets
        return {"loss": self.loss(wanted, outputs)} | {
            name: metric(targets, outputs) for name, metric in self.other_metrics.items()
        }


def weighted(values: MetricValues, sample_weight: tf.Tensor | None) -> MetricValues:
    """Returns the metrics with the loss of each example multiplied by its weight, [batch]; None for no weights."""
    if sample_weight is None:
        return values
    return values | {"loss": values["loss"] * tf.cast(sample_weight, values["loss"].dtype)}


def output_shape(model: keras.Model, spec: DataSpec, name: str) -> tuple[int, ...] | None:
    """Returns the shape of a model's output for one example; None if it is unknown before the model runs.

    Raises:
        TfloopError: the model is known to have several outputs (exit code 2).
    """
    outputs = getattr(model, "outputs" if isinstance(model, keras.Sequential) else "_outputs_struct", None)
    if outputs is None:  # a subclass: only a call shows it
        inputs = map_structure(lambda one: keras.KerasTensor(one.shape, one.dtype.name), spec.input_signature())
        try:
            outputs = model.compute_output_spec(inputs)
        except Exception:  # of the user's code; training will raise it with a better message
            return None
    if isinstance(outputs, list) and len(outputs) == 1:
        outputs = outputs[0]
    if isinstance(outputs, Mapping | list | tuple):
        raise _several_outputs(f"model `{name}`")
    shape = getattr(outputs, "shape", None)
    if not isinstance(shape, tuple) or not shape or any(type(length) is not int for length in shape[1:]):
        return None
    return shape[1:]


def _several_outputs(model: str) -> TfloopError:
    return TfloopError(
        f"{model} has several outputs, and this task is for one",
        hint="write a task that adds up the losses of the outputs (docs/extending.md)",
    )


@tasks.register("classification")
def classification(
    spec: DataSpec,
    *,
    loss: Literal["cross_entropy", "focal"] = "cross_entropy",
    label_smoothing: FractionBelowOne = 0.0,
    metrics: list[Literal["accuracy", "top_3_accuracy", "top_5_accuracy"]] = ["accuracy"],
) -> Supervised:
    """Predicts one of several classes for each input. The model's outputs are one logit or probability per class.

    Args:
        spec: shape of the data; its targets are classes.
        loss: softmax cross entropy, or focal loss with gamma 2 (Lin et al. 2017, arXiv:1708.02002).
        label_smoothing: the fraction of each target that is distributed evenly over all classes.
        metrics: the metrics besides the loss; the first one chooses the best epoch.
    """
    if not spec.classes:
        raise TfloopError(
            "task `classification` needs classes, and the targets of this dataset are numbers",
            hint="use `task: regression`; in a table, `dataset.classes: true` makes classes of numbers",
        )
    if spec.target_shape not in ((), (1,)) and not spec.one_hot:
        raise TfloopError(
            f"task `classification` needs one class per example; the targets of this dataset have shape "
            f"{spec.target_shape}",
            hint="use one label or a one-hot row per example, or a task of your own (docs/extending.md)",
        )

    def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Of labels [batch], or of probabilities [batch, classes] if `augment` mixes examples."""
        if label_smoothing or labels.dtype.is_floating:
            is_mixed = labels.dtype.is_floating
            probabilities = labels if is_mixed else tf.one_hot(labels, spec.classes, dtype=logits.dtype)
            probabilities = probabilities * (1 - label_smoothing) + label_smoothing / spec.classes
            return tf.nn.softmax_cross_entropy_with_logits(probabilities, logits)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    def focal(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if labels.dtype.is_floating:
            raise TfloopError("`loss: focal` needs one class per example, and `augment` mixes examples")
        probability = tf.exp(-tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return tf.square(1 - probability) * cross_entropy(labels, logits)

    def top(k: int) -> PerExample:
        return lambda labels, logits: tf.cast(tf.math.in_top_k(labels, tf.cast(logits, tf.float32), k), tf.float32)

    def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels), tf.float32)

    known = {"accuracy": accuracy, "top_3_accuracy": top(3), "top_5_accuracy": top(5)}
    return Supervised(
        loss={"cross_entropy": cross_entropy, "focal": focal}[loss],
        other_metrics={name: known[name] for name in metrics},
        monitor=(metrics[0], "max") if metrics else ("loss", "min"),
        spec=spec,
        classes=spec.classes,
    )
