"""Keras' `model.fit` on the tutorial's net: what tfloop is measured against. Prints a JSON document.

    python benchmarks/keras_fit.py --epochs 3 [--seed 0] [--tuned]

The pipeline is the tutorial's: cast, cache, shuffle, batch, prefetch. `--tuned` is what an expert makes of it: batched
casting of an array in memory, and several steps a call.
"""

import argparse
import json
import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

STARTED = time.perf_counter()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tfloop_cli.engine.data.mnist import mnist  # noqa: E402


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch's training, its validation not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def tutorial_pipeline(images: np.ndarray, labels: np.ndarray, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """tf.data as https://www.tensorflow.org/datasets/keras_example has it."""
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    data = data.map(
        lambda image, label: (tf.cast(image, tf.float32) / 255.0, label), num_parallel_calls=tf.data.AUTOTUNE
    )
    data = data.cache()
    data = data.shuffle(len(images)) if shuffle else data
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def tuned_pipeline(images: np.ndarray, labels: np.ndarray, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """Shuffles numbers instead of images, and gathers and casts whole batches."""
    pictures, answers = tf.constant(images), tf.constant(labels)
    numbers = tf.data.Dataset.range(len(images))
    numbers = numbers.shuffle(len(images)) if shuffle else numbers

    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(tf.gather(pictures, index), tf.float32) / 255.0, tf.gather(answers, index)

    return numbers.batch(batch_size).map(load, num_parallel_calls=2).prefetch(tf.data.AUTOTUNE)


def main() -> None:
    """Trains, tests, and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--validation", type=int, default=0, help="how many of the last training images to leave out")
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    dataset = mnist()
    arrays = {name: (split.inputs.numpy(), split.targets.numpy()) for name, split in dataset.splits.items()}
    pipeline = tuned_pipeline if options.tuned else tutorial_pipeline
    kept = len(arrays["train"][0]) - options.validation
    train = pipeline(*(array[:kept] for array in arrays["train"]), options.batch_size, shuffle=True)
    test = pipeline(*arrays["test"], options.batch_size, shuffle=False)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=32 if options.tuned else 1,
        jit_compile=False,
    )
    times = EpochTimes()
    model.fit(train, epochs=options.epochs, verbose=0, callbacks=[times])
    loss, accuracy = model.evaluate(test, verbose=0)
    seconds = time.perf_counter() - STARTED
    print(json.dumps({"epoch_seconds": times.seconds, "loss": loss, "accuracy": accuracy, "seconds": seconds}))


if __name__ == "__main__":
    main()
