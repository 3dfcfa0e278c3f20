"""When the batches of a tf.data pipeline are loaded and converted."""

from collections.abc import Callable

import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.structures import Structure

PREFETCHED_BATCHES = 2
MAX_WORKERS = 8


def prefetched(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset whose next elements are loaded meanwhile. What is mapped to it afterwards is not kept ahead."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # fixed settings are the same in every run
    return dataset.prefetch(PREFETCHED_BATCHES).with_options(options)


def converted(
    loaded: tf.data.Dataset, convert: Callable[..., tuple[Structure, ...]], config: Config
) -> tf.data.Dataset:
    """Returns batches as the model receives them.

    On a CPU they are converted when they are used, since bytes need less memory than floats; for a GPU, which would
    wait, ahead of time.
    """
    batches = loaded.map(convert)
    return prefetched(batches) if config.device.startswith("gpu") else batches


def workers(config: Config, *, augments: bool) -> int:
    """Returns how many batches are loaded at once; they keep their order.

    On a CPU, one is fast enough for a model unless images are augmented. With a GPU, the cores are idle otherwise.
    """
    if config.device.startswith("gpu"):
        return min(int(config.threads), MAX_WORKERS)
    return 2 if augments else 1
