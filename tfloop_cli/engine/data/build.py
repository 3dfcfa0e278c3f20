"""Builds the dataset of a config and its splits."""

from collections.abc import Callable, Mapping
from typing import Any

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.data.pipeline import Data
from tfloop_cli.engine.data.progress import Progress, collect_progress
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import datasets


def build_data(
    config: Config,
    warn: Callable[[str], None] = lambda text: None,
    encoders: Mapping[str, Any] | None = None,
    *,
    training: bool = True,
    skip_invalid: bool = False,
    progress: Progress = lambda *_: None,
) -> Data:
    """Builds the config's dataset and its splits.

    Args:
        config: see `Data`.
        warn: prints a line for each split with skipped examples.
        encoders: of the run whose weights are used, as `Encoders.to_json` has them; None to fit them to the data.
        training: whether the training split is needed.
        skip_invalid: whether to skip invalid examples even if `on_bad_example` does not, where the dataset supports it.
        progress: shows how far slow work is.

    Raises:
        TfloopError: the data is unavailable or cannot be read (exit code 4); arguments do not suit the dataset, see
            `Data`, or it does not support `on_bad_example: skip` (exit code 2).
    """
    context = BuildContext("numbers" if config.task.name == "regression" else None, encoders, training)
    skip = config.on_bad_example == "skip"
    with collect_progress(progress), collect_invalid_examples(skip or skip_invalid) as found, use_context(context):
        data = Data(datasets.build(config.dataset), config, training=training)
    if skip and not found.supported:
        raise TfloopError(
            f"`on_bad_example: skip` is not supported by the dataset `{config.dataset.name}`",
            hint="remove `on_bad_example` from the config",
        )
    data.skipped = found.counts
    for message in found.messages():
        warn(message)
    return data
