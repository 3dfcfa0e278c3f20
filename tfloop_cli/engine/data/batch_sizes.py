"""The batch size of a run."""

import numpy as np

from tfloop_cli.config.schema import Config

SMALLEST_BATCH, LARGEST_BATCH = 16, 256  # of `batch_size: auto`


def batch_size_of(config: Config, examples: int) -> int:
    """Returns the batch size of a config; with "auto" the largest power of 2 up to a 16th of the training examples.

    It is from 16 to 256, so that a small table has several steps per epoch, and a large one is not slow.
    """
    if config.batch_size != "auto":
        return int(config.batch_size)
    power = 2 ** int(np.log2(max(examples, SMALLEST_BATCH) // 16 or 1))
    return min(max(power, SMALLEST_BATCH), LARGEST_BATCH, max(examples, 1))
