"""Shorter epochs for a quick look: `limit_train_batches`, `limit_validation_batches`, `overfit_batches`."""

import numpy as np

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.hold_out import Splits
from tfloop_cli.engine.data.splits import epoch_order

OVERFIT = (0, 0)  # seed and epoch of the order from which the examples to overfit are taken; not the run's seed


def limit_splits(splits: Splits, config: Config, batch_size: int) -> None:
    """Limits the splits of a run to the batches that the config asks for, and notes it.

    `limit_train_batches` is no matter of the splits: each epoch uses other examples, see `Data.steps_per_epoch`.

    Args:
        splits: the training and the validation split may change.
        config: the limits.
        batch_size: examples per batch.
    """
    if count := config.overfit_batches:
        source, indices = splits.examples["train"]
        chosen = np.sort(indices[epoch_order(*OVERFIT, len(indices))[: count * batch_size]])
        splits.examples |= {"train": (source, chosen), "validation": (source, chosen)}
        splits.overfits, splits.folds = True, None
        splits.limits.append(
            f"overfit_batches: {len(chosen):,} of {len(indices):,} training examples, also for validation; "
            "augmentations are off"
        )
    if (count := config.limit_validation_batches) and "validation" in splits.examples:
        source, indices = splits.examples["validation"]
        size = min(len(indices), count * batch_size)
        chosen = indices[np.linspace(0, len(indices) - 1, size).astype(np.int64)]  # files may be sorted by class
        splits.examples["validation"] = source, chosen
        splits.limits.append(f"limit_validation_batches: {size:,} of {len(indices):,} validation examples")
    if count := config.limit_train_batches:
        splits.limits.append(f"limit_train_batches: an epoch has at most {count:,} batches")
