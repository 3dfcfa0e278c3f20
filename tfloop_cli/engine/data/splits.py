"""The random order of an epoch's examples, and the examples that are held out for validation."""

import numpy as np

from tfloop_cli.engine.data.spec import Dataset, Source
from tfloop_cli.errors import ExitCode, TfloopError

VALIDATION_KEY = 0x74666C6F6F70  # the validation split does not depend on the run's seed


def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """Returns the order of an epoch's examples: a permutation, int64 [examples].

    It is a stable argsort of raw Philox output. NumPy guarantees this output for all versions; it does not guarantee
    that of `Generator.permutation`.
    """
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(examples)
    return np.argsort(bits, kind="stable")


def split_dataset(
    dataset: Dataset, validation: int | float | str, *, training: bool = True
) -> dict[str, tuple[Source, np.ndarray]]:
    """Returns the source of each split and the indices of its examples in the source: int64 [examples].

    Without `training`, the split `train` is not required; then nothing can be held out of it.

    Raises:
        TfloopError: there is no split `train` (exit code 4), or `validation` is too large (exit code 2).
    """
    splits = {name: (source, np.arange(len(source))) for name, source in dataset.splits.items()}
    if "train" not in splits and not training:
        return splits
    if "train" not in splits:
        raise TfloopError(f"the dataset has no split `train`, only {', '.join(sorted(splits))}", code=ExitCode.DATA)
    if validation == "auto":
        validation = 0 if "validation" in splits else 0.1
    elif "validation" in splits:
        splits.pop("validation")
    source, examples = splits["train"]
    held = round(validation * len(examples)) if isinstance(validation, float) else int(validation)
    if held >= len(examples):
        raise TfloopError(
            f"`validation` holds out {held} examples, and the training split has {len(examples)}",
            hint="use a smaller number, or `--set validation=auto` for a tenth",
        )
    if held:
        shuffled = epoch_order(VALIDATION_KEY, 0, len(examples))
        splits["validation"] = (source, np.sort(shuffled[:held]))
        splits["train"] = (source, np.sort(shuffled[held:]))
    return splits


def undo_hold_out(splits: dict[str, tuple[Source, np.ndarray]]) -> bool:
    """Returns whether "validation" is held out from "train"; if so, moves its examples back."""
    source, indices = splits["train"]
    if splits.get("validation", (None,))[0] is not source:
        return False
    _, held = splits.pop("validation")
    splits["train"] = (source, np.sort(np.concatenate([indices, held])))
    return True
