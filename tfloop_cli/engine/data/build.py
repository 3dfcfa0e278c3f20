"""Builds the dataset of a config and its splits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.build_context import DATA, BuildContext, use_context
from tfloop_cli.engine.data.choosing import KEYS, SplitRules
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.data.pipeline import Data
from tfloop_cli.engine.data.progress import Progress, collect_progress
from tfloop_cli.engine.data.read_files import ReadFiles, from_json
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import datasets


def build_data(
    config: Config,
    warn: Callable[[str], None] = lambda text: None,
    encoders: Mapping[str, Any] | None = None,
    *,
    split: str | None = None,
    other: Path | None = None,
    files: Mapping[str, Any] | None = None,
    skip_invalid: bool = False,
    progress: Progress = lambda *_: None,
) -> Data:
    """Builds the config's dataset and its splits.

    Args:
        config: see `Data`.
        warn: prints a line for each split with skipped examples.
        encoders: of the run whose weights are used, as `Encoders.to_json` has them; None to fit them to the data.
        split: the only split that is needed; None for all. If it is held out of the training split, all are built.
        other: a file or folder to read in place of the dataset's own, as the only split `DATA`.
        files: that the run has read, see `Data.documents`: splits that are held out of the training split, and that
            split itself, have the same examples if the data has only grown. None to read the data as it is.
        skip_invalid: whether to skip invalid examples even if `on_bad_example` does not, where the dataset supports it.
        progress: shows how far slow work is.

    Raises:
        TfloopError: the data is unavailable or cannot be read (exit code 4); arguments do not suit the dataset, see
            `Data`, or it does not support `on_bad_example: skip` or other data (exit code 2).
    """
    rules = SplitRules.of(config)
    own = split if split != "train" and (split not in KEYS or rules.size(split) == "auto") else None
    trained = from_json(files or {})
    if own in trained or other:
        trained = {}  # a split with files of its own is evaluated as it is
    elif trained:
        own = None
    read = ReadFiles(trained)
    task = config.task.name
    needs_classes, decides = task in ("auto", "classification"), task == "auto"
    context = BuildContext(task == "regression", encoders, own, other, rules, needs_classes, decides, read)
    skip = config.on_bad_example == "skip"
    with collect_progress(progress), collect_invalid_examples(skip or skip_invalid) as found, use_context(context):
        dataset = datasets.build(config.dataset)
        if other and list(dataset.splits) != [DATA]:
            raise TfloopError(
                f"the dataset `{config.dataset.name}` reads no other data",
                hint="evaluate one of its splits (`--split`)",
            )
        data = Data(dataset, config, training=split is None and other is None)
    if skip and not found.supported:
        raise TfloopError(
            f"`on_bad_example: skip` is not supported by the dataset `{config.dataset.name}`",
            hint="remove `on_bad_example` from the config",
        )
    data.skipped, data.skipped_places, data.files = found.counts, found.places, read
    for message in found.messages():
        warn(message)
    return data
