"""Events as JSON documents: the same shape in `--json` output and in metrics.jsonl."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from tfloop_cli.data_summary import DataSummary
from tfloop_cli.events import EpochDone, Evaluated, Event, RunEnded, RunStarted
from tfloop_cli.files import parse_json

Document = dict[str, Any]


def document(event: Event) -> Document | None:
    """Returns `event` as plain data under stable names; None for an event that is only displayed."""
    match event:
        case RunStarted():
            return {
                "event": "start",
                "run": event.run,
                "step": event.step,
                "config": event.config,
            } | {name: what for name in ("skipped_examples", "columns", "notes") if (what := getattr(event, name))}
        case EpochDone():
            return {
                "event": "epoch",
                "epoch": event.epoch,
                "step": event.step,
                "train": event.train,
                "validation": event.validation,
                "train_seconds": event.train_seconds,
                "validation_seconds": event.validation_seconds,
                "examples_per_second": event.examples_per_second,
                "best": event.best,
            } | _rare(event)
        case Evaluated():
            return {
                "event": "evaluation",
                "split": event.split,
                "examples": event.examples,
                "metrics": event.metrics,
                "checkpoint": event.checkpoint,
            }
        case RunEnded():
            return {"event": "end"} | asdict(event)
        case _:
            return None


def _rare(event: EpochDone) -> Document:
    """Returns what only some epochs have. A learning rate that is NaN would be null, which `read_epoch` refuses."""
    found: Document = {name: count for name in ("retraces", "skipped_batches") if (count := getattr(event, name))}
    if event.learning_rate is not None and math.isfinite(event.learning_rate):
        found["learning_rate"] = event.learning_rate
    return found


def data_document(summary: DataSummary) -> Document:
    """Returns what was found in data as plain data under stable names."""
    values = asdict(replace(summary, thumbnails=()))
    del values["thumbnails"]
    return {"event": "data"} | values


def prediction_document(row: Mapping[str, Any]) -> Document:
    """Returns the prediction for one input as plain data under stable names."""
    return {"event": "prediction"} | dict(row)


def predictions_document(**facts: Any) -> Document:
    """Returns what is said at the end about all predictions."""
    return {"event": "predictions"} | facts


def read_epoch(line: bytes) -> EpochDone | None:
    """Parses a line of metrics.jsonl; None for another event or an incomplete line."""
    try:
        values = parse_json(line)
        if values.pop("event") != "epoch" or not line.endswith(b"\n"):
            return None
        train, validation = _metrics(values["train"]), values["validation"]
        values |= {"train": train, "validation": None if validation is None else _metrics(validation)}
        numbers = {key: value for key, value in values.items() if key not in ("train", "validation")}
        return EpochDone(**values) if all(isinstance(value, int | float) for value in numbers.values()) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _metrics(values: dict[str, float | None]) -> dict[str, float]:
    """Restores NaN, which JSON does not have."""
    return {name: math.nan if value is None else float(value) for name, value in values.items()}
