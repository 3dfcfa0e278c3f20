"""Events as JSON documents: one shape for `--json`, for metrics.jsonl and for whoever reads either."""

import json
import math
from dataclasses import asdict
from typing import Any

from tfloop_cli.events import EpochDone, Evaluated, Event, RunEnded, RunStarted

SCHEMA = 1  # of the documents; a change that breaks a reader raises it

Document = dict[str, Any]


def document(event: Event) -> Document | None:
    """What `event` says, as plain data under stable names; None for an event that only moves the screen."""
    match event:
        case RunStarted():
            return {
                "event": "start",
                "schema": SCHEMA,
                "run": event.run,
                "step": event.step,
                "config": event.config,
            } | ({"skipped_examples": event.skipped_examples} if event.skipped_examples else {})
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
            } | {name: count for name in ("retraces", "skipped_batches") if (count := getattr(event, name))}
        case Evaluated():
            return {
                "event": "evaluation",
                "split": event.split,
                "examples": event.examples,
                "metrics": event.metrics,
            }
        case RunEnded():
            return {"event": "end"} | asdict(event)
        case _:
            return None


def read_epoch(line: bytes) -> EpochDone | None:
    """The event that a line of metrics.jsonl tells of; None for another event, or half a line."""
    try:
        told = json.loads(line)
        if told.pop("event") != "epoch" or not line.endswith(b"\n"):
            return None
        train, validation = _metrics(told["train"]), told["validation"]
        told |= {"train": train, "validation": validation and _metrics(validation)}
        numbers = {key: value for key, value in told.items() if key not in ("train", "validation")}
        return EpochDone(**told) if all(isinstance(value, int | float) for value in numbers.values()) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _metrics(told: dict[str, float | None]) -> dict[str, float]:
    """Metrics as they were before JSON, which has no NaN."""
    return {name: math.nan if value is None else float(value) for name, value in told.items()}
