"""What is exported: one Keras model from the inputs of the run's dataset to one output, with everything in between."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfloop_cli.engine.data import InputSpec
from tfloop_cli.engine.data.structures import Structure, is_several, map_structure, named_values, structure_like
from tfloop_cli.engine.exporting import raw_numbers
from tfloop_cli.engine.exporting.plain_layers import float32_policy, rebuilt
from tfloop_cli.engine.tasks import scores_of
from tfloop_cli.engine.tasks.target_scale import TargetScale
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import TfloopError

Output = Literal["probabilities", "logits", "prediction"]
Arrays = Mapping[str, np.ndarray]  # name of an input -> [batch, ...]
Runtime = Callable[[Arrays], np.ndarray]  # computes the output, float32 [batch, classes or numbers]
SMALLEST = 1e-37  # probability whose logarithm is a logit


@dataclass(frozen=True)
class ExportModel:
    """A model to export.

    Attributes:
        keras_model: returns the output, float32 [batch, classes or numbers]; several inputs are a dict by name.
        output: what the output is.
        class_names: in the order of the output; empty for numbers.
        columns: the numbers of the only input, if it is a row of a table as it is in the file.
        code: why a Keras file would need code to be loaded; "" if it needs none.
        notes: for the user.
    """

    keras_model: keras.Model
    output: Output
    class_names: tuple[str, ...]
    columns: list[Any]
    code: str
    notes: list[str] = field(default_factory=list)

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs by name: [None, ...]."""
        return {one.name: tf.TensorSpec(one.shape, one.dtype, one.name) for one in self.keras_model.inputs}

    def arrays(self, inputs: Structure) -> dict[str, np.ndarray]:
        """Returns inputs of the dataset, [batch, ...], as the exported model receives them."""
        found = {input_name(name): np.asarray(one) for name, one in named_values(inputs)}
        if self.columns:
            found = {name: raw_numbers.decode(one, self.columns) for name, one in found.items()}
        return {
            name: np.ascontiguousarray(found[name], spec.dtype.as_numpy_dtype) for name, spec in self.signature.items()
        }

    def facts(self) -> dict[str, Any]:
        """Returns what the metadata of every format contains, as an object of JSON."""
        inputs = [
            {"name": name, "shape": list(one.shape), "dtype": one.dtype.name} for name, one in self.signature.items()
        ]
        columns = {"columns": [column.name for column in self.columns]} if self.columns else {}
        return {"inputs": inputs, "output": self.output, "class_names": list(self.class_names)} | columns


def input_name(name: str) -> str:
    """Returns the name of an input in exported models, from its name or its index in the dataset; "" for one input."""
    if not name:
        return "inputs"
    return re.sub(r"\W", "_", f"input_{name}" if name[0].isdigit() else name)


@float32_policy()
def build_model(run: TrainedRun, *, plain: bool, logits: bool = False) -> ExportModel:
    """Returns the model of a run for export.

    Args:
        run: a classifier or a regressor.
        plain: whether all layers must be Keras' own; see `rebuilt`.
        logits: whether the output of a classifier is logits in place of probabilities.

    Raises:
        TfloopError: the run has no probabilities and no numbers to predict, or no logits (exit code 2).
    """
    run.scores.get_concrete_function()
    names = () if is_several(run.spec.targets) else run.class_names
    if logits and not names:
        raise TfloopError("`--logits` is for classes, and this run predicts numbers", hint="remove `--logits`")
    columns = raw_numbers.numeric_columns(run.encoders)
    inputs = {input_name(key): _input(key, spec, columns) for key, spec in named_values(run.spec.inputs)}
    raw = structure_like(run.spec.inputs, {key: inputs[input_name(key)] for key, _ in named_values(run.spec.inputs)})
    raw = raw_numbers.encode(raw, columns) if columns else raw
    output: Output = ("logits" if logits else "probabilities") if names else "prediction"
    code, scores = _scores(run, raw, output, plain)
    scores = keras.layers.Identity(name=output, dtype="float32")(scores)
    (single, *others) = inputs.values()
    model = keras.Model(inputs if others else single, scores, name="tfloop_export")
    return ExportModel(model, output, names, columns, code, _notes(run, columns))


def _input(key: str, spec: InputSpec, columns: list[Any]) -> keras.KerasTensor:
    shape = (len(columns),) if columns else spec.shape
    return keras.Input(shape, dtype="float32" if spec.dtype == "float64" else spec.dtype, name=input_name(key))


def _model_input(values: keras.KerasTensor, spec: InputSpec, run: TrainedRun) -> keras.KerasTensor:
    """Does what `InputSpec.model_input` does."""
    if values.dtype == "uint8" and spec.is_scaled(run.config.scale_uint8):
        return keras.layers.Rescaling(1 / 255, dtype="float32")(values)
    if values.dtype == "uint8" and not spec.is_image:
        return ops.cast(values, "int32")
    return values if "int" in values.dtype and values.dtype != "uint8" else ops.cast(values, "float32")


def _scores(run: TrainedRun, inputs: Structure, output: Output, plain: bool) -> tuple[str, keras.KerasTensor]:
    """Returns why a Keras file of it would need code, and the output before it is named."""
    task = run.task
    if list(run.state.models) != ["model"] or not type(task).__module__.startswith("tfloop_cli."):
        return f"task `{run.config.task.name}` is not one of tfloop's", _Computation(run, output)(inputs)
    try:
        model = rebuilt(run.state.models["model"], plain=plain)
        outputs = model(map_structure(lambda one, spec: _model_input(one, spec, run), inputs, run.spec.inputs))
    except (ValueError, TypeError, NotImplementedError) as error:
        reason = f"model `{run.config.model.name}` cannot be copied layer by layer: {str(error).splitlines()[0]}"
        return reason, _Computation(run, output)(inputs)
    foreign = sorted({type(one).__name__ for one in model._flatten_layers() if not _is_keras(one)})
    code = f"it has layers that are not Keras' own: {', '.join(foreign)}" if foreign else ""
    if output == "prediction":
        return code, _in_own_units(ops.reshape(outputs, (-1, run.spec.outputs)), task.scale)
    if task.head is None:
        return code, outputs if output == "logits" else keras.layers.Softmax(dtype="float32")(outputs)
    probabilities = _probabilities(outputs, task.head, task.classes)
    return code, ops.log(ops.maximum(probabilities, SMALLEST)) if output == "logits" else probabilities


def _is_keras(layer: keras.layers.Layer) -> bool:
    return type(layer).__module__.split(".")[0] == "keras"


def _probabilities(outputs: keras.KerasTensor, head: str, classes: int) -> keras.KerasTensor:
    """Returns the probability of each class from what a model that ends with a softmax or a sigmoid computes."""
    if head == "sigmoid" and classes == 2 and (len(outputs.shape) == 1 or outputs.shape[-1] == 1):
        second = ops.reshape(outputs, (-1, 1))
        return ops.concatenate([1 - second, second], axis=1)
    if head == "sigmoid":
        return outputs / ops.maximum(ops.sum(outputs, axis=-1, keepdims=True), SMALLEST)
    return outputs


def _in_own_units(outputs: keras.KerasTensor, scale: TargetScale) -> keras.KerasTensor:
    """Does what `TargetScale.in_own_units` does, in float32."""
    mean, deviation, log, low, high = (
        one.numpy() for one in (scale.mean, scale.deviation, scale.log, scale.low, scale.high)
    )
    values = outputs * deviation.astype(np.float32) + mean.astype(np.float32)
    if not log.any():
        return values
    limit = np.log(np.where(log > 0, high, 1)).astype(np.float32)
    own = ops.maximum(ops.exp(ops.minimum(values, limit)), low.astype(np.float32))
    return own if log.all() else ops.where(log > 0, own, values)


class _Computation(keras.layers.Layer):
    """Computes what the task of a run computes, with the models of the run."""

    def __init__(self, run: TrainedRun, output: Output) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.models = list(run.state.models.values())
        self._run, self._output = [run], output  # in a list, so that Keras does not look into it

    def call(self, inputs: Structure) -> tf.Tensor:
        run = self._run[0]
        scores = tf.cast(scores_of(run.task, run.state, run.model_inputs(inputs)), tf.float32)
        return tf.math.log(tf.maximum(scores, SMALLEST)) if self._output == "logits" else scores

    def compute_output_spec(self, inputs: Structure) -> keras.KerasTensor:
        spec = self._run[0].spec.targets
        return keras.KerasTensor((None, 1 if is_several(spec) else spec.outputs), "float32")


def _notes(run: TrainedRun, columns: list[Any]) -> list[str]:
    notes = []
    if columns:
        notes.append(
            f"inputs are numbers as in the file, NaN for missing ones: {', '.join(one.name for one in columns)}"
        )
    elif run.encoders.get("dataset") == "table":
        others = ", ".join(raw_numbers.other_columns(run.encoders)[:5])
        notes.append(f"inputs are encoded rows, since not all columns are numbers for float32 ({others})")
    elif run.encoders.get("dataset") == "text":
        notes.append("inputs are ids, not texts")
    if run.config.precision != "float32":
        notes.append(f"the run computes in {run.config.precision}, the exported models in float32")
    return notes
