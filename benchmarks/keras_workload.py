"""A workload without tfloop's loop: the config's data, model and optimizer, by Keras' and tf.data's own means.

The models are tfloop's own, so the work is the same. What tfloop sets for itself (`engine.runtime.setup`: the
kernels of `engine/kernels`, Grappler's options; fused updates) is not set here: Keras runs as it comes.
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

SHUFFLED = 8192  # decoded pictures in the buffer of a pipeline that reads them from a file


@dataclass(frozen=True)
class Pictures:
    """A split of picture files.

    Attributes:
        paths, labels: of each.
        shape: height, width, channels to bring them to.
    """

    paths: list[str]
    labels: list[int]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Workload:
    """A config's data, and what is made of it.

    Attributes:
        config: resolved.
        spec: shape of the data.
        splits: a source in memory, or pictures, by name.
    """

    config: Config
    spec: DataSpec
    splits: dict[str, Source | Pictures]

    def model(self) -> keras.Model:
        """The config's model, with the weights that tfloop gives it for the same seed."""
        keras.utils.set_random_seed(self.config.seed)
        return models.build(self.config.model, self.spec)

    def optimizer(self, epochs: int) -> keras.Optimizer:
        """Keras' own optimizer, with Keras' own schedule."""
        config, arguments = self.config, {}
        steps = epochs * -(-len(self.splits["train"]) // config.batch_size)
        rate = config.optimizer.arguments["learning_rate"]
        if config.schedule.name == "cosine":
            first, target = (0.0, rate) if config.warmup_steps else (rate, None)
            arguments["learning_rate"] = keras.optimizers.schedules.CosineDecay(
                first, max(1, steps - config.warmup_steps), warmup_target=target, warmup_steps=config.warmup_steps
            )
        elif config.schedule.name != "constant":
            raise SystemExit(f"no benchmark knows the schedule `{config.schedule.name}`")
        return optimizers.build(config.optimizer, global_clipnorm=config.clip_norm, **arguments)

    @property
    def fixed_shape(self) -> bool:
        """Whether all batches but the last are of one shape; XLA compiles anew for each other."""
        return None not in self.spec.input_shape


def open_workload(name: str, sets: list[str], seed: int) -> Workload:
    """Reads a config and its data; decodes no picture."""
    config = load([name], sets=["validation=0", *sets, f"seed={seed}"]).config
    keras.config.set_dtype_policy(POLICIES[config.precision])
    if config.dataset.name == "images":
        return Workload(config, *_pictures(config))
    dataset = datasets.build(config.dataset)
    return Workload(config, dataset.spec, dict(dataset.splits))


def tutorial_pipeline(workload: Workload, split: str) -> tf.data.Dataset:
    """tf.data as https://www.tensorflow.org/datasets/keras_example has it: cast, cache, shuffle, batch, prefetch."""
    source = workload.splits[split]
    data = tf.data.Dataset.from_tensor_slices((source.inputs.numpy(), source.targets.numpy()))
    data = data.map(lambda image, label: (as_float(image), label), num_parallel_calls=tf.data.AUTOTUNE).cache()
    data = data.shuffle(len(source)) if split == "train" else data
    return data.batch(workload.config.batch_size).prefetch(tf.data.AUTOTUNE)


def tuned_pipeline(workload: Workload, split: str, cache: Path | None = None) -> tf.data.Dataset:
    """Shuffles numbers instead of examples, and gathers and casts whole batches.

    Args:
        workload: data in memory, or pictures.
        split: the training split is shuffled, and augmented.
        cache: the file in which to keep decoded pictures.
    """
    source, size = workload.splits[split], workload.config.batch_size
    if isinstance(source, Pictures):
        data = decoded(source, shuffle=split == "train", cache=cache).batch(size)
    else:
        numbers = tf.data.Dataset.range(len(source))
        numbers = numbers.shuffle(len(source)) if split == "train" else numbers
        data = numbers.batch(size).map(source.gather, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.map(lambda inputs, targets: (as_float(inputs), targets), num_parallel_calls=tf.data.AUTOTUNE)
    if split == "train" and workload.config.augment:
        changes = [augmentations.build(one) for one in workload.config.augment]

        def change(number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, targets = batch
            for place, augment in enumerate(changes):
                inputs = augment(inputs, [place, tf.cast(number, tf.int32)])
            return inputs, targets

        data = data.enumerate().map(change, num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)


def as_float(inputs: tf.Tensor) -> tf.Tensor:
    """Pixels in [0, 1]; anything else as it is."""
    return tf.cast(inputs, tf.float32) / 255 if inputs.dtype == tf.uint8 else inputs


def _pictures(config: Config) -> tuple[DataSpec, dict[str, Pictures]]:
    """A folder of pictures: train/CLASS/*, test/CLASS/*."""
    root, shape = Path(config.dataset.arguments["path"]), (*config.dataset.arguments["size"], 3)
    classes = tuple(sorted(entry.name for entry in (root / "train").iterdir()))
    splits = {}
    for name in ("train", "test"):
        files = sorted((root / name).glob("*/*"))
        splits[name] = Pictures(list(map(str, files)), [classes.index(file.parent.name) for file in files], shape)
    return DataSpec(shape, "uint8", (), classes), splits


def decoded(pictures: Pictures, shuffle: bool = False, cache: Path | None = None) -> tf.data.Dataset:
    """Pictures and labels one by one, as https://www.tensorflow.org/tutorials/load_data/images reads them."""

    def decode(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_image(tf.io.read_file(path), pictures.shape[2], expand_animations=False)
        resized = tf.image.resize(pixels, pictures.shape[:2], antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8), label

    order = np.random.default_rng(0).permutation(len(pictures)) if shuffle else np.arange(len(pictures))
    paths, labels = np.array(pictures.paths)[order], np.array(pictures.labels, np.int32)[order]
    data = tf.data.Dataset.from_tensor_slices((paths, labels)).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.cache(str(cache)) if cache else data
    return data.shuffle(SHUFFLED) if shuffle else data
