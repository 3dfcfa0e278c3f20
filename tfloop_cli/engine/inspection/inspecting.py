"""Collects what is shown of data."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.data_summary import DataSummary, Finding, SplitSummary
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.inspection import findings
from tfloop_cli.engine.inspection.leaks import find_leaks
from tfloop_cli.engine.inspection.scanning import MAX_COMPARED_BYTES, scan
from tfloop_cli.engine.inspection.statistics import input_summaries, ordered, split_summary
from tfloop_cli.errors import TfloopError

EXAMPLES = 5  # rows that are shown
MAX_FEATURES = 10  # of a vector, in an example that is shown


def inspect(data: Data, config: Config, skipped: Sequence[str] = ()) -> DataSummary:
    """Returns what a run would read, without images.

    Args:
        data: of the config, with its splits as a run has them.
        config: after the task was decided.
        skipped: what `build_data` warned of.
    """
    names = [name for name in ordered(data.splits) if name == "train" or not data.has_folds(name)]  # folds are of train
    scans = {name: scan(data, name) for name in names}
    splits = tuple(split_summary(data, name, scans[name]) for name in names)
    notes = [] if data.encoders is None else [one for one in data.encoders.notes if not one.startswith("duplicates: ")]
    if any(one.hashes is None for one in scans.values()):
        notes.append(f"data of more than {MAX_COMPARED_BYTES / 2**30:g} GiB is not searched for duplicates")
    found = [
        *findings.invalid_examples(data, skipped),
        *findings.missing_classes(splits),
        *(Finding("shared_groups", f"{split}: {text}", split) for split, text in data.run_splits.shared_groups),
        *findings.duplicates(data, scans),
        *findings.constant_columns(data),
        *find_leaks(data),
    ]
    return DataSummary(
        dataset=config.dataset.name,
        task=config.task.name,
        splits=splits,
        inputs=input_summaries(data, config.scale_uint8),
        columns=tuple(_columns(data, splits)),
        notes=(*notes, *data.run_splits.notes),
        examples=tuple(_examples(data)),
        findings=tuple(found),
    )


def _columns(data: Data, splits: Sequence[SplitSummary]) -> list[dict[str, Any]]:
    """Returns what is shown of each column of a table; see `DataSummary`."""
    encoders = data.encoders
    rows: list[dict[str, Any]] = [] if encoders is None else [dict(row) for row in encoders.overview()]
    if isinstance(encoders, TableEncoders):
        moments = {column.name: (column.mean, column.deviation) for column in encoders.columns}
        if statistics := next((one.targets for one in splits if one.name == "train"), None):
            both = zip(statistics["mean"], statistics["deviation"], strict=True)
            moments |= dict(zip(encoders.target.names, both, strict=True))
        for row in rows:
            row["mean"], row["deviation"] = moments.get(row["name"], (None, None))
    return rows


def _examples(data: Data) -> Sequence[Mapping[str, str]]:
    """Returns the first training examples: as they are in the file, or as numbers."""
    try:
        with collect_invalid_examples(skip=True):
            found = data.preview(EXAMPLES)
    except (TfloopError, OSError, UnicodeError):  # the file has changed since the data was read
        found = ()
    spec = data.spec
    if found or is_several(spec.inputs) or is_several(spec.targets) or len(spec.input_shape) != 1 or spec.vocabulary:
        return found
    source, indices = data.split("train")
    inputs, targets, *_ = source.gather(tf.constant(indices[:EXAMPLES]))
    shown = spec.labels_of(targets).numpy() if spec.classes and not spec.target_shape else targets.numpy()
    return [
        {"target": spec.class_names[target] if spec.classes and not spec.target_shape else f"{target}"}
        | {str(number): f"{value:.6g}" for number, value in enumerate(row[:MAX_FEATURES])}
        for row, target in zip(inputs.numpy(), shown, strict=True)
    ]
