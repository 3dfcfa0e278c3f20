"""Small TFDS builders with generated data. As a script, it prepares and reads `tiny_images` in the folder DATA_DIR."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

CLASSES = ("ant", "bee", "cat")
SIZES = {"train": 60, "validation": 12, "test": 20}


def images(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the examples of TinyImages: uint8 [examples, 8, 8, 3] and int64 [examples]."""
    random = np.random.default_rng(list(SIZES).index(split))
    labels = random.integers(len(CLASSES), size=SIZES[split])
    return random.integers(0, 256, (SIZES[split], 8, 8, 3), np.uint8), labels


def vectors(examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the examples of TinyVectors: float32 [examples, 5] and float32 [examples, 2]."""
    inputs = np.random.default_rng(examples).standard_normal((examples, 5), np.float32)
    return inputs, inputs[:, :2] * 3


class _Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    FEATURES: dict = {}
    SUPERVISED: tuple[str, str] | None = None
    SPLITS = ("train", "test")

    def _info(self) -> tfds.core.DatasetInfo:
        # Not shuffled: the examples are read in the order in which they were written.
        features = tfds.features.FeaturesDict(self.FEATURES)
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=self.SUPERVISED, disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.SPLITS}


class TinyImages(_Tiny):
    FEATURES = {
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": tfds.features.ClassLabel(names=CLASSES),
        "weight": tfds.features.Scalar(tf.int64),
    }
    SUPERVISED = ("image", "label")
    SPLITS = tuple(SIZES)

    def _generate_examples(self, split):
        while (file := os.environ.get("TINY_WAIT_FOR")) and not Path(file).exists():
            time.sleep(0.05)
        for number, (image, label) in enumerate(zip(*images(split), strict=True)):
            yield number, {"image": image, "label": label, "weight": number}


class TinyVectors(_Tiny):
    FEATURES = {
        "numbers": tfds.features.Tensor(shape=(5,), dtype=tf.float32),
        "targets": tfds.features.Tensor(shape=(2,), dtype=tf.float32),
        "text": tfds.features.Text(),
    }

    def _generate_examples(self, split):
        for number, (inputs, targets) in enumerate(zip(*vectors(40 if split == "train" else 10), strict=True)):
            yield number, {"numbers": inputs, "targets": targets, "text": "words"}


class TinyPhotos(_Tiny):
    """Images of different shapes (config `small`) or of one shape (`same`); the test split has no labels."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="small"), tfds.core.BuilderConfig(name="same")]
    FEATURES = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=CLASSES)}
    SUPERVISED = ("image", "label")

    def _generate_examples(self, split):
        for number in range(10):
            height = 6 + (number if self.builder_config.name == "small" else 0)
            label = number % 3 if split == "train" else -1
            yield number, {"image": np.full((height, 6, 3), number, np.uint8), "label": label}


class TinyDownload(_Tiny):
    """Downloads the file at `url`."""

    FEATURES = {"x": tfds.features.Scalar(tf.float32), "y": tfds.features.Scalar(tf.float32)}
    SUPERVISED = ("x", "y")
    url = ""

    def _split_generators(self, dl_manager):
        dl_manager.download(self.url)
        return {"train": self._generate_examples("train")}

    def _generate_examples(self, split):
        for number in range(10):
            yield number, {"x": number, "y": 2 * number}


class TinyReviews(_Tiny):
    """Texts, with nested features; the test split has no labels."""

    FEATURES = {
        "review": tfds.features.FeaturesDict({"title": tfds.features.Text(), "stars": tfds.features.Scalar(tf.int64)}),
        "rating": {"kind": tfds.features.ClassLabel(names=("bad", "good")), "value": tfds.features.Scalar(tf.float32)},
    }

    def _generate_examples(self, split):
        for number in range(20):
            good = number % 2 if split == "train" else -1
            title = f"{'café' if number % 2 else 'शोर'} {number}"
            yield number, {"review": {"title": title, "stars": number}, "rating": {"kind": good, "value": number / 2}}


BUILDERS = (TinyImages, TinyVectors, TinyPhotos, TinyReviews)


def prepare_all(data_dir: Path, file_format: str) -> Path:
    """Prepares every builder with TFDS; returns the folder."""
    tfds.disable_progress_bar()
    for builder in BUILDERS:
        for config in builder.BUILDER_CONFIGS or [None]:
            builder(data_dir=str(data_dir), config=config).download_and_prepare(file_format=file_format)
    return data_dir


if __name__ == "__main__":
    from tfloop_cli.engine.datasets.tfds import tfds_dataset

    dataset = tfds_dataset(builder="tiny_images", data_dir=sys.argv[1])
    print(dataset.fingerprint, len(dataset.splits["train"]))
