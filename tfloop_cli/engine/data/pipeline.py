"""Deterministic, index-based batches: training batch k is a pure function of (seed, k).

The shuffle is global and needs no buffer. The order does not depend on threads, and resuming at step k needs no replay.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.array_source import ArraySource
from tfloop_cli.engine.data.augmenting import build_augmentations
from tfloop_cli.engine.data.batch_iterators import BatchIterator, InMemoryBatches, PipelineBatches
from tfloop_cli.engine.data.batch_sizes import batch_size_of
from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.hold_out import KEYS, split_dataset
from tfloop_cli.engine.data.limits import limit_splits
from tfloop_cli.engine.data.loading import loaded, without_autograph, workers
from tfloop_cli.engine.data.read_files import ReadFiles
from tfloop_cli.engine.data.spec import Dataset, DataSpec, Source
from tfloop_cli.engine.data.spec_json import spec_to_json
from tfloop_cli.engine.data.splits import epoch_order
from tfloop_cli.engine.data.structures import Structure, named_values
from tfloop_cli.errors import TfloopError


class Data:
    """A dataset as the training loop uses it: training batches by index, other splits in order.

    Args:
        dataset: its splits; `train` is required with `training`.
        config: batch size, seed, test, validation, group, split_by, augmentation, precision, scale_uint8.
        training: whether the training split is needed.

    Attributes:
        spec: shape of one example.
        fingerprint, encoders, names, preview: see `Dataset`.
        skipped: name of a split -> number of skipped invalid examples; see `on_bad_example`.
        skipped_places: name of a split -> file and line of each of them, as far as they are known.
        files: what it was read from, as far as the dataset keeps that.
        run_splits: what is held out of the training split; see `Splits`.
        batch_size: the number of examples per training step.

    Raises:
        TfloopError: `drop_remainder` leaves no batch, `augment` is used without images, or the splits are impossible,
            see `split_dataset` (exit code 2); there is no split `train` (exit code 4).
    """

    # Of the function that loads and augments a training batch, after `batch_iterator` has built a pipeline; else None.
    loading_graph: tf.Graph | None = None

    def __init__(self, dataset: Dataset, config: Config, *, training: bool = True) -> None:
        self.spec: DataSpec = dataset.spec
        self.fingerprint, self.encoders = dataset.fingerprint, dataset.encoders
        self.names, self.preview, self._describe = dataset.names, dataset.preview, dataset.describe
        self.skipped: Mapping[str, int] = {}
        self.skipped_places: Mapping[str, list[str]] = {}
        self.files = ReadFiles()
        self._config = config
        self._dtype = config.precision if config.precision == "float64" else "float32"
        self._augment = build_augmentations(() if config.overfit_batches else config.augment, dataset.spec)
        self.run_splits = split_dataset(dataset, config, training=training)
        self._splits = self.run_splits.examples
        self._start = (0, 0)  # an epoch and its first step, see `continue_at`
        self.batch_size = batch_size_of(config, self.examples("train"))
        if "train" in self._splits:
            limit_splits(self.run_splits, config, self.batch_size)
        if not self.steps_per_epoch and "train" in self._splits:
            raise TfloopError(
                f"`batch_size` is {self.batch_size}, and there are only {self.examples('train')} training examples: "
                "`drop_remainder` drops every batch",
                hint="lower `batch_size`",
            )
        self._stand_in = "train" not in self._splits
        if self._stand_in and self._splits:  # the training step can be traced, which a checkpoint may need
            self._splits["train"] = next(iter(self._splits.values()))

    @property
    def splits(self) -> list[str]:
        """Names of the splits that have examples, including those that are held out of `train`."""
        names = self._splits.keys() - ({"train"} if self._stand_in else set())
        return sorted(name for name in names if self.examples(name))

    def encoders_json(self) -> bytes | None:
        """Returns the encoders as JSON, for the run folder and its checkpoints; None if the dataset has none."""
        return None if self.encoders is None else json.dumps(self.encoders.to_json(), allow_nan=False).encode()

    def documents(self) -> tuple[bytes | None, Mapping[str, Any]]:
        """Returns what the run keeps of the data: `encoders_json`, and the files of each split as an object of JSON."""
        return self.encoders_json(), self.files.to_json()

    def examples(self, split: str) -> int:
        """Returns the number of examples of a split; 0 if there is no such split."""
        return len(self._splits[split][1]) if split in self._splits else 0

    def has_folds(self, split: str) -> bool:
        """Whether the weights of a split show which members of an ensemble count for which examples."""
        return self.run_splits.folds is not None and split in ("train", "validation")

    @property
    def facts(self) -> dict[str, Any]:
        """What metadata contains about the data."""
        facts = {"data": self.fingerprint, "train_examples": self.examples("train"), "decisions": self.decisions}
        return facts | {"spec": spec_to_json(self.spec)} | self.run_splits.facts

    @property
    def decisions(self) -> dict[str, Any]:
        """What the config keys that depend on the data amount to: two values with the same effect are equal here."""
        held_out = self.run_splits.facts["held_out"]
        splits = {split: held_out.get(split, self.examples(split)) for split in KEYS}
        uint8 = [(name, one) for name, one in named_values(self.spec.inputs) if one.dtype == "uint8"]
        return splits | {"scale_uint8": [name for name, one in uint8 if one.is_scaled(self._config.scale_uint8)]}

    def split(self, name: str) -> tuple[Source, np.ndarray]:
        """Returns the source of a split, and the indices of its examples in the source: int64 [examples]."""
        return self._splits[name]

    @property
    def steps_per_epoch(self) -> int:
        """The number of training batches in an epoch: a smaller last one counts unless the config drops it."""
        whole, rest = divmod(self.examples("train"), self.batch_size)
        steps = whole + (rest > 0 and not self._config.drop_remainder)
        return min(steps, self._config.limit_train_batches or steps)

    @property
    def epochs(self) -> int:
        """The number of epochs to train: those of the config, or fewer if `max_steps` limits them, but at least 1."""
        epoch, step = self._start
        limit = epoch + ((self._config.max_steps or np.inf) - step) / self.steps_per_epoch
        return max(1, int(min(self._config.epochs, max(limit, epoch))))

    def continue_at(self, epoch: int, first_step: int) -> None:
        """Defines which step begins an epoch, both counted from 0; earlier epochs may have had another length."""
        self._start = epoch, first_step

    def first_step(self, epoch: int | tf.Tensor) -> int | tf.Tensor:
        """Returns the first step of an epoch, both counted from 0 over the whole run."""
        return self._start[1] + (epoch - self._start[0]) * self.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """Returns the epoch of a step, both counted from 0 over the whole run."""
        return self._start[0] + (step - self._start[1]) // self.steps_per_epoch

    def batches(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Returns the training batches `first_step` to `last_step` - 1, counted from 0 over the whole run.

        Each is (inputs, targets), or (inputs, targets, sample_weight) if the split has weights or folds:
            inputs [batch, *input_shape]: float32 (float64 with `precision: float64`), uint8 images scaled to [0, 1];
                int32 token ids for text, padded with 0. Several inputs are a dict or a tuple, as in the spec.
            targets [batch, *target_shape]: integer classes, or numbers of the same float dtype; several likewise. If
                `augment` mixes examples, the probability of each class, float [batch, classes], in place of classes.
            sample_weight [batch]: numbers of the same float dtype; [batch, folds] with folds, see `Folds.weights`.
        """
        size, examples = self.batch_size, self.examples("train")

        def indices_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            order = tf.numpy_function(self.order, [epoch], tf.int64)
            order = tf.ensure_shape(order, [examples])
            first, last = self.first_step(epoch), tf.minimum(self.first_step(epoch + 1), last_step)
            numbers = tf.data.Dataset.range(tf.maximum(first, first_step), last)
            return numbers.map(lambda k: (k, order[(k - first) * size : (k - first + 1) * size]))

        def load(step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tuple[Structure, ...]]:
            self.loading_graph = tf.compat.v1.get_default_graph()
            return step, self._stored_training(indices)

        def convert(step: tf.Tensor, batch: tuple[Structure, ...]) -> tuple[Structure, ...]:
            inputs, targets, *weights = self._converted(*batch)
            for number, augment in enumerate(self._augment):
                seed = [self._config.seed * 1024 + number, tf.cast(step, tf.int32)]
                inputs, targets = augment(inputs, targets, seed)
            return (inputs, targets, *weights)

        epochs = tf.data.Dataset.range(self.epoch_of(first_step), self.epoch_of(last_step - 1) + 1)
        convert = convert if self._augment else without_autograph(convert)
        return loaded(epochs.flat_map(indices_of_epoch), load, convert, workers(self._config, bool(self._augment)))

    def batch_iterator(self, first_step: int, last_step: int | None = None) -> BatchIterator:
        """Returns an iterator over the same batches for the inner loop; without `last_step`, to the end of the run.

        Rows of arrays in memory are gathered in the training graph itself: a tf.data thread would compete with the
        model for the cores. Batches that are read, decoded, augmented or copied to a GPU come from a tf.data pipeline.
        """
        in_memory = isinstance(self._splits["train"][0], ArraySource)
        if in_memory and not self._augment and not self._config.device.startswith("gpu"):
            return InMemoryBatches(self, self.batch_size, first_step)
        return PipelineBatches(lambda step: self.batches(step, last_step or self.first_step(self.epochs)), first_step)

    def load_training(self, indices: tf.Tensor) -> tuple[Structure, ...]:
        """Returns a training batch before augmentation; shapes and dtypes as in `batches`.

        Args:
            indices: in the dataset's `train` split before examples are held out, int64 [batch].
        """
        return self._converted(*self._stored_training(indices))

    def order(self, epoch: int) -> np.ndarray:
        """Returns the order of the training examples in an epoch, counted from 0: int64 [examples].

        Its values are indices in the dataset's `train` split before examples are held out.
        """
        _, indices = self._splits["train"]
        return indices[epoch_order(self._config.seed, int(epoch), len(indices))]

    def examples_of(self, step: int) -> np.ndarray:
        """Returns the indices of a training batch: int64 [batch].

        They are those in the dataset's `train` split before examples are held out.

        Args:
            step: index of the batch, counted from 0 over the whole run.
        """
        epoch, size = self.epoch_of(step), self.batch_size
        number = step - self.first_step(epoch)
        return self.order(epoch)[number * size : (number + 1) * size]

    def evaluation(self, split: str) -> tf.data.Dataset:
        """Returns every example of a split once, in order, in batches of the config's size (the last may be smaller).

        Shapes and dtypes are those of `batches`.

        Raises:
            TfloopError: there is no such split, or it is empty (exit code 2).
        """
        if not self.examples(split):
            raise TfloopError(f"there is no split `{split}`", hint=f"this dataset has {', '.join(self.splits)}")
        source, indices = self._splits[split]
        size = self.batch_size
        starts = tf.data.Dataset.range(0, len(indices), size)
        all_indices = tf.constant(indices)

        def load(start: tf.Tensor) -> tuple[tf.Tensor, tuple[Structure, ...]]:
            return start, self._stored(split, all_indices[start : start + size])

        convert = without_autograph(lambda _, batch: self._converted(*batch))
        return loaded(starts, without_autograph(load, source), convert, workers(self._config, bool(self._augment)))

    def raw_examples(self, split: str, positions: np.ndarray) -> tuple[Structure, Structure]:
        """Returns examples of a split as the dataset has them: inputs and targets, as arrays [len(positions), ...].

        Args:
            positions: in the split, int64.
        """
        source, indices = self._splits[split]
        batch = tf.data.Dataset.from_tensors(indices[positions]).map(without_autograph(source.gather, source))
        with self.explain_errors():
            inputs, targets, *_ = next(batch.as_numpy_iterator())
        return inputs, targets

    def descriptions(self, split: str, positions: np.ndarray) -> list[Mapping[str, Any]]:
        """Returns what the dataset knows of examples: `name`, `row` or `text`; [] if it knows nothing."""
        indices = self._splits[split][1][positions]
        split = "train" if self.run_splits.is_held_out(split) else split
        if (names := self.names.get(split)) is not None:
            return [{"name": str(names[index])} for index in indices.tolist()]
        with use_context(BuildContext(files=ReadFiles(self.files.splits))):  # the files may have grown meanwhile
            return list(self._describe(split, indices))

    @contextmanager
    def explain_errors(self) -> Iterator[None]:
        """A context that replaces TensorFlow's error for a failed read by that of the source.

        Raises:
            TfloopError: a source could not read an example (exit code 4).
        """
        try:
            yield
        except tf.errors.OpError as error:
            for source, _ in self._splits.values():
                if failure := getattr(source, "failure", None):  # only sources that read files during training have it
                    raise failure from error
            raise

    def _stored_training(self, indices: tf.Tensor) -> tuple[Structure, ...]:
        size = self.batch_size if self._config.drop_remainder else None
        load = without_autograph(self._stored, self._splits["train"][0])
        return load("train", tf.ensure_shape(indices, [size]))

    def _stored(self, split: str, indices: tf.Tensor) -> tuple[Structure, ...]:
        """Returns a batch whose inputs are as the source stores them; see `_converted`."""
        inputs, targets, *weights = self._splits[split][0].gather(indices)
        targets = tf.nest.map_structure(
            lambda one: tf.cast(one, self._dtype) if one.dtype.is_floating else one, targets
        )
        weights = [tf.cast(one, self._dtype) for one in weights]
        if self.has_folds(split):
            weights = [self.run_splits.folds.weights(split, indices, weights[0] if weights else None, self._dtype)]
        return (inputs, targets, *weights)

    def _converted(self, inputs: Structure, *others: Structure) -> tuple[Structure, ...]:
        """Returns a batch as the model receives it, such as floats in [0, 1] instead of bytes."""
        return (self.spec.model_inputs(inputs, self._dtype, self._config.scale_uint8), *others)
