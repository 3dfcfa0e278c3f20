"""The interface of a dataset: its splits, and the shape of one example."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.columns import Columns
from tfloop_cli.engine.data.encoders import Column, Encoders
from tfloop_cli.engine.data.structures import Structure, is_several, map_structure, names_of
from tfloop_cli.engine.image_shapes import has_image_shape
from tfloop_cli.errors import TfloopError


@dataclass(frozen=True)
class InputSpec:
    """One input of an example.

    Attributes:
        shape: without the batch: (height, width, channels) for an image; (None,) for text, which is padded to the
            longest text of the batch.
        dtype: on disk and in memory. The model receives uint8 images as floats in [0, 1]; see `is_image`.
    """

    shape: tuple[int | None, ...]
    dtype: str

    @property
    def is_image(self) -> bool:
        """Whether the input has the shape of an image, or of several."""
        return has_image_shape(self.shape)

    def is_scaled(self, scale_uint8: bool | Literal["auto"]) -> bool:
        """Whether uint8 values are divided by 255; with "auto", those of images are."""
        return self.is_image if scale_uint8 == "auto" else bool(scale_uint8)

    def model_input(self, values: tf.Tensor, dtype: str, scale_uint8: bool | Literal["auto"]) -> tf.Tensor:
        """Returns values as the model receives them: floats, images and booleans in `dtype`, other integers as ints."""
        if values.dtype == tf.uint8 and self.is_scaled(scale_uint8):
            # Not a division: TensorFlow replaces it by this product in some graphs only, with different rounding.
            return tf.cast(values, dtype) * (1 / 255)
        if values.dtype == tf.uint8 and not self.is_image:  # ids, counts
            return tf.cast(values, tf.int32)
        return tf.cast(values, dtype) if not values.dtype.is_integer or values.dtype == tf.uint8 else values

    def signature(self, scale_uint8: bool | Literal["auto"] = "auto") -> tf.TensorSpec:
        """Returns what the model receives, in float32 if in floats: [None, *shape]; see `model_input`."""
        dtype = tf.as_dtype(self.dtype)
        if dtype == tf.uint8:
            dtype = tf.float32 if self.is_image or self.is_scaled(scale_uint8) else tf.int32
        return tf.TensorSpec([None, *self.shape], dtype if dtype.is_integer else tf.float32)


@dataclass(frozen=True)
class TargetSpec:
    """One target of an example.

    Attributes:
        shape: () or (1,) for a class or a single number.
        class_names: one name per class, in the order of the labels; empty if the target is not a class.
        one_hot: whether the target is a class with one number per class, [classes]: 1 for the class, else 0.
    """

    shape: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    one_hot: bool = False

    @property
    def classes(self) -> int:
        """The number of classes; 0 if the target is not a class."""
        return len(self.class_names)

    @property
    def outputs(self) -> int:
        """The number of outputs of a model per example: one per class, or one per number of the target."""
        return self.classes or int(np.prod(self.shape, dtype=np.int64))

    def labels_of(self, targets: tf.Tensor) -> tf.Tensor:
        """Returns the class of each example, int32 [batch], from targets [batch, *shape].

        If `augment` has mixed examples, it is the most probable class.
        """
        if self.one_hot or self.is_mixed(targets):
            return tf.argmax(tf.cast(targets, tf.float32), axis=-1, output_type=tf.int32)
        labels = tf.cast(targets, tf.int32)  # the losses do not support uint8
        return labels[:, 0] if self.shape == (1,) else labels

    def is_mixed(self, targets: tf.Tensor) -> bool:
        """Whether `augment` has mixed examples: targets are probabilities, float [batch, classes], not classes."""
        return not self.one_hot and targets.dtype.is_floating and targets.shape[1:] == (self.classes,)


@dataclass(frozen=True, init=False)
class DataSpec:
    """The shape of the data, for models and tasks.

    With one input, `input_shape`, `input_dtype` and `is_image` are those of `inputs`. With one target, `target_shape`,
    `class_names`, `classes`, `outputs`, `one_hot`, `labels_of` and `is_mixed` are those of `targets`. With several,
    they raise a TfloopError with their names (exit code 2): a component for one input or target does not suit the data.

    Attributes:
        inputs: an `InputSpec`; several as a dict by name, or as a tuple.
        targets: a `TargetSpec`, or a dict or tuple of several.
        vocabulary: number of token ids of a text, 0 (padding) and 1 (unknown) included; 0 for other inputs.
        columns: of a table: what each feature of the inputs [features] is, in order; empty for other inputs.
    """

    inputs: Structure
    targets: Structure
    vocabulary: int
    columns: tuple[Column, ...]
    _scale_uint8: ClassVar[bool | Literal["auto"]] = "auto"

    def __init__(
        self,
        input_shape: tuple[int | None, ...],
        input_dtype: str,
        target_shape: tuple[int, ...] = (),
        class_names: tuple[str, ...] = (),
        vocabulary: int = 0,
        one_hot: bool = False,
        columns: tuple[Column, ...] = (),
    ) -> None:
        target = TargetSpec(target_shape, class_names, one_hot)
        self._set(InputSpec(input_shape, input_dtype), target, vocabulary, columns)

    @classmethod
    def of(cls, inputs: Structure, targets: Structure, vocabulary: int = 0) -> "DataSpec":
        """Returns the spec of data with several inputs or targets; see the attributes."""
        spec = cls.__new__(cls)
        spec._set(inputs, targets, vocabulary)
        return spec

    def _set(self, inputs: Structure, targets: Structure, vocabulary: int, columns: tuple[Column, ...] = ()) -> None:
        values = {"inputs": inputs, "targets": targets, "vocabulary": vocabulary, "columns": columns}
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return self._only("input", self.inputs).shape

    @property
    def input_dtype(self) -> str:
        return self._only("input", self.inputs).dtype

    @property
    def is_image(self) -> bool:
        return self._only("input", self.inputs).is_image

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self._only("target", self.targets).shape

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._only("target", self.targets).class_names

    @property
    def one_hot(self) -> bool:
        return self._only("target", self.targets).one_hot

    @property
    def classes(self) -> int:
        return self._only("target", self.targets).classes

    @property
    def outputs(self) -> int:
        return self._only("target", self.targets).outputs

    def labels_of(self, targets: tf.Tensor) -> tf.Tensor:
        return self._only("target", self.targets).labels_of(targets)

    def is_mixed(self, targets: tf.Tensor) -> bool:
        return self._only("target", self.targets).is_mixed(targets)

    def model_inputs(self, inputs: Structure, dtype: str, scale_uint8: bool | Literal["auto"]) -> Structure:
        """Returns inputs as the model receives them; see `InputSpec.model_input`."""
        return map_structure(lambda one, values: one.model_input(values, dtype, scale_uint8), self.inputs, inputs)

    def input_signature(self) -> Structure:
        """Returns a tf.TensorSpec for each input of the model; see `InputSpec.signature`."""
        return map_structure(lambda one: one.signature(self._scale_uint8), self.inputs)

    def with_scale(self, scale_uint8: bool | Literal["auto"]) -> "DataSpec":
        """Returns the spec with an `input_signature` for this value of the config's key `scale_uint8`."""
        spec = copy.copy(self)
        object.__setattr__(spec, "_scale_uint8", scale_uint8)
        return spec

    def require_one_image(self, key: str) -> None:
        """Raises TfloopError unless the only input is an image, which a config key needs (exit code 2)."""
        if is_several(self.inputs):
            found = f"the dataset has the inputs {names_of(self.inputs)}"
        elif len(self.input_shape) != 3:
            found = f"the inputs of this dataset have shape {self.input_shape}"
        else:
            return
        raise TfloopError(f"`{key}` needs images, and {found}", hint=f"remove `{key}` from the config")

    @staticmethod
    def _only(role: str, structure: Structure) -> InputSpec | TargetSpec:
        if is_several(structure):
            raise TfloopError(
                f"the dataset has several {role}s, {names_of(structure)}; the model or the task is for one {role}",
                hint=f"use a model and a task of your own, with `spec.{role}s` (docs/extending.md)",
            )
        return structure


class Source(Protocol):
    """One split, with random access by index.

    A source may have `all_targets`, if they are in memory: [examples, *target_shape], as `gather` returns them.
    """

    def __len__(self) -> int: ...

    def gather(self, indices: tf.Tensor) -> tuple[Structure, ...]:
        """Returns the examples at `indices`: inputs [batch, *input_shape] and targets [batch, *target_shape].

        Several inputs are a dict or a tuple, as in the spec, and so are several targets. A third element is the weight
        of each example, [batch]; see `from_arrays`.

        Called while a graph is traced, so that it becomes part of the graph.

        Args:
            indices: int64 [batch].
        """
        ...


@dataclass(frozen=True)
class Dataset:
    """What the builder of a dataset returns.

    Attributes:
        spec: shape of one example.
        splits: by name; `train` is required for training, `test` for the evaluation at the end.
        fingerprint: identifies the data; stored in checkpoints.
        encoders: how the examples are encoded, if the run must keep it to encode others alike.
        columns: what examples can be split by, with the config keys `group` and `split_by`: name of a column -> name of
            a split -> one value per example, [examples], in the order of the source. `train` has all columns; another
            split may lack them. Values that are equal are one group. For `split_by` the order of the values must be
            that of time: numbers, datetime64, or text, see `choosing.times_of`; NaN, NaT and missing text are unknown
            times, which stay in training. An array is read only if its column is named in the config, so a mapping may
            compute it then.
        names: what messages call the examples of a split, such as their files, [examples]; splits may lack them.
        preview: returns the first training examples as they are in the file, at most as many as asked for: name of a
            column -> its text. For `tfloop inspect data`.
        describe: returns what examples are in the file, from the name of their split and their indices in its source,
            int64: `row` (name of a column -> its text) or `text`. [] if that is not known, or expensive. For reports.
    """

    spec: DataSpec
    splits: Mapping[str, Source]
    fingerprint: str
    encoders: Encoders | None = None
    columns: Columns = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    preview: Callable[[int], Sequence[Mapping[str, str]]] = lambda count: ()
    describe: Callable[[str, np.ndarray], Sequence[Mapping[str, Any]]] = lambda split, indices: ()
