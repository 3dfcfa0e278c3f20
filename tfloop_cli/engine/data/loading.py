"""How tf.data loads batches: by how many workers, how many ahead, and in which form they wait."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.spec import Source

PREFETCHED_BATCHES = 2
MAX_WORKERS = 8  # batches that are loaded at once for a GPU


def workers(config: Config, augments: bool) -> int:
    """Returns the number of batches that are loaded at once; they keep their order.

    On a CPU, one worker is fast enough for a model unless images are augmented. With a GPU, the cores are idle
    otherwise, and several workers also convert batches ahead of time.
    """
    if config.device.startswith("gpu"):
        return max(2, min(int(config.threads), MAX_WORKERS))
    return 2 if augments else 1


def loaded(
    numbers: tf.data.Dataset, load: Callable[..., Any], convert: Callable[..., Any], count: int
) -> tf.data.Dataset:
    """Returns `convert(*load(*number))` for each number, some of them ahead.

    A single worker only loads: batches wait as they are stored, bytes of images instead of floats, and are converted
    when they are used. Several workers convert them, too, and augment them.

    Args:
        numbers: what identifies a batch.
        load: returns a batch as its source stores it.
        convert: returns it as the model receives it.
        count: the number of workers.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # fixed settings are the same in every run
    if count == 1:
        waiting = numbers.map(load, num_parallel_calls=1).prefetch(PREFETCHED_BATCHES)
        return waiting.map(convert).with_options(options)
    converted = numbers.map(lambda *one: convert(*load(*one)), num_parallel_calls=count)
    return converted.prefetch(PREFETCHED_BATCHES).with_options(options)


def without_autograph(function: Callable[..., Any], source: Source | None = None) -> Callable[..., Any]:
    """Returns a function that AutoGraph does not convert, unless the user wrote the source that it reads.

    The conversion of tfloop's own code takes longer than tracing it.
    """
    own = source is None or type(source).__module__.startswith("tfloop_cli.")
    return tf.autograph.experimental.do_not_convert(function) if own else function
