"""Synthetic data that can be learned: for tests, examples and benchmarks of any shape."""

import math

import numpy as np

from tfloop_cli.engine.data.array_dataset import from_arrays
from tfloop_cli.engine.data.memory import require_memory
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import NonNegativeFloat, NonNegativeInt, PositiveInt


@datasets.register("synthetic")
def synthetic(
    *,
    shape: list[PositiveInt] = [28, 28, 1],
    classes: NonNegativeInt = 10,
    targets: PositiveInt = 1,
    train_examples: PositiveInt = 4096,
    test_examples: PositiveInt = 1024,
    noise: NonNegativeFloat = 1.0,
    seed: NonNegativeInt = 0,
) -> Dataset:
    """Normal noise around one pattern per class; with `classes: 0`, a linear function of the inputs plus noise.

    Args:
        shape: shape of one input, without the batch; float32.
        classes: number of classes; 0 for a regression with `targets` numbers per example.
        targets: number of target values per example, if `classes` is 0.
        train_examples: size of the training split.
        test_examples: size of the test split.
        noise: standard deviation of the noise.
        seed: seed of the data; independent of the run's seed.
    """
    random = np.random.Generator(np.random.Philox(key=seed))
    size, outputs = math.prod(shape), classes or targets
    require_memory(4 * size * (outputs + train_examples + test_examples) + 60 * classes, "synthetic")  # and names
    patterns = random.standard_normal((outputs, size), np.float32)

    def split(examples: int) -> tuple[np.ndarray, np.ndarray]:
        inputs = random.standard_normal((examples, size), np.float32)
        if classes:
            labels = random.integers(classes, size=examples, dtype=np.int32)
            # The distance between patterns grows with the size; dividing by it makes all shapes about equally hard.
            inputs = inputs * np.float32(noise) + patterns[labels] * np.float32(4 / np.sqrt(size))
            return inputs.reshape(-1, *shape), labels
        errors = random.standard_normal((examples, outputs), np.float32) * np.float32(noise)
        numbers = inputs @ patterns.T / np.float32(np.sqrt(size)) + errors
        return inputs.reshape(-1, *shape), numbers

    return from_arrays(
        {"train": split(train_examples), "test": split(test_examples)},
        class_names=[str(label) for label in range(classes)],
    )
