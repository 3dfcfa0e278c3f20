"""The data, model and optimizer of a config with Keras and tf.data only, without the training loop of tfloop.

The models are those of tfloop, so the arithmetic is the same. What tfloop sets up for itself (the replacements in
`engine/kernels`, Grappler's options, fused optimizer updates) is not used here: Keras runs with its defaults.
"""

import os
from dataclasses import dataclass
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.config.loading import load
from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import DataSpec, Source
from tfloop_cli.engine.runtime import POLICIES
from tfloop_cli.registry import augmentations, datasets, models, optimizers

SHUFFLE_BUFFER = 8192  # decoded images, in a pipeline that reads files


@dataclass(frozen=True)
class ImageFiles:
    """A split of image files.

    Attributes:
        paths, labels: one per image.
        shape: height, width and channels to which images are resized.
    """

    paths: list[str]
    labels: list[int]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Workload:
    """A config and its data.

    Attributes:
        config: resolved.
        spec: shape of the data.
        splits: by name, a source in memory or image files.
    """

    config: Config
    spec: DataSpec
    splits: dict[str, Source | ImageFiles]

    def model(self) -> keras.Model:
        """Returns the model of the config, with the same initial weights as in tfloop for the same seed."""
        keras.utils.set_random_seed(self.config.seed)
        return models.build(self.config.model, self.spec)

    def optimizer(self, epochs: int) -> keras.Optimizer:
        """Returns Keras' optimizer with Keras' clipping and schedule."""
        config = self.config
        optimizer = optimizers.build(config.optimizer)
        optimizer.global_clipnorm = config.clip_norm
        if config.schedule.name == "cosine":
            steps = epochs * -(-len(self.splits["train"]) // config.batch_size)
            rate = config.optimizer.arguments["learning_rate"]
            initial, target = (0.0, rate) if config.warmup_steps else (rate, None)
            optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(
                initial, max(1, steps - config.warmup_steps), warmup_target=target, warmup_steps=config.warmup_steps
            )
        elif config.schedule.name != "constant":
            raise SystemExit(f"the benchmarks do not support the schedule `{config.schedule.name}`")
        return optimizer

    @property
    def has_fixed_shape(self) -> bool:
        """Whether all batches except the last have the same shape; XLA compiles again for each new shape."""
        return None not in self.spec.input_shape


def open_workload(config_name: str, sets: list[str], seed: int) -> Workload:
    """Reads a config and its data. Image files are only listed, not decoded."""
    config = load([config_name], sets=["validation=0", *sets, f"seed={seed}"]).config
    keras.config.set_dtype_policy(POLICIES[config.precision])
    if config.dataset.name == "images":
        return Workload(config, *_list_images(config))
    dataset = datasets.build(config.dataset)
    return Workload(config, dataset.spec, dict(dataset.splits))


def tutorial_pipeline(workload: Workload, split: str) -> tf.data.Dataset:
    """Returns the pipeline of https://www.tensorflow.org/datasets/keras_example for a split.

    It consists of cast, cache, shuffle, batch and prefetch.
    """
    source = workload.splits[split]
    data = tf.data.Dataset.from_tensor_slices((source.inputs.numpy(), source.targets.numpy()))
    data = data.map(lambda image, label: (as_float(image), label), num_parallel_calls=tf.data.AUTOTUNE).cache()
    data = data.shuffle(len(source)) if split == "train" else data
    return data.batch(workload.config.batch_size).prefetch(tf.data.AUTOTUNE)


def tuned_pipeline(workload: Workload, split: str, cache: Path | None = None) -> tf.data.Dataset:
    """Returns a fast pipeline: it shuffles indices instead of examples, and gathers and casts whole batches.

    Args:
        workload: arrays in memory, or image files.
        split: the training split is shuffled and augmented.
        cache: the file in which decoded images are cached.
    """
    source, size = workload.splits[split], workload.config.batch_size
    if isinstance(source, ImageFiles):
        data = decoded_images(source, shuffle=split == "train", cache=cache).batch(size)
    else:
        indices = tf.data.Dataset.range(len(source))
        indices = indices.shuffle(len(source)) if split == "train" else indices
        data = indices.batch(size).map(source.gather, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.map(lambda inputs, targets: (as_float(inputs), targets), num_parallel_calls=tf.data.AUTOTUNE)
    if split == "train" and workload.config.augment:
        functions = [augmentations.build(one) for one in workload.config.augment]

        def augment(number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, targets = batch
            for position, function in enumerate(functions):
                inputs = function(inputs, [position, tf.cast(number, tf.int32)])
            return inputs, targets

        data = data.enumerate().map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)


def as_float(inputs: tf.Tensor) -> tf.Tensor:
    """Converts uint8 pixels to float32 in [0, 1]; other inputs are returned unchanged."""
    return tf.cast(inputs, tf.float32) / 255 if inputs.dtype == tf.uint8 else inputs


def decoded_images(files: ImageFiles, shuffle: bool = False, cache: Path | None = None) -> tf.data.Dataset:
    """Returns single images and labels, read as in https://www.tensorflow.org/tutorials/load_data/images."""

    def decode(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_image(tf.io.read_file(path), files.shape[2], expand_animations=False)
        resized = tf.image.resize(pixels, files.shape[:2], antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8), label

    order = np.random.default_rng(0).permutation(len(files)) if shuffle else np.arange(len(files))
    paths, labels = np.array(files.paths)[order], np.array(files.labels, np.int32)[order]
    data = tf.data.Dataset.from_tensor_slices((paths, labels)).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.cache(str(cache)) if cache else data
    return data.shuffle(SHUFFLE_BUFFER) if shuffle else data


def _list_images(config: Config) -> tuple[DataSpec, dict[str, ImageFiles]]:
    """Lists the files of a folder of images: train/CLASS/*, test/CLASS/*."""
    root, shape = Path(config.dataset.arguments["path"]), (*config.dataset.arguments["size"], 3)
    classes = tuple(sorted(entry.name for entry in (root / "train").iterdir()))
    splits = {}
    for name in ("train", "test"):
        files = sorted((root / name).glob("*/*"))
        splits[name] = ImageFiles(list(map(str, files)), [classes.index(file.parent.name) for file in files], shape)
    return DataSpec(shape, "uint8", (), classes), splits
