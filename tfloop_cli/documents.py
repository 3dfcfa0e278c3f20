"""Events as JSON documents: one shape for `--json`, for metrics.jsonl and for whoever reads either."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tfloop_cli.errors import TfloopError
from tfloop_cli.events import EpochDone, Evaluated, Event, RunEnded, RunStarted

SCHEMA = 1  # of the documents; a change that breaks a reader raises it

Document = dict[str, Any]


def document(event: Event) -> Document | None:
    """What `event` says, as plain data under stable names; None for an event that only moves the screen."""
    match event:
        case RunStarted():
            return {"event": "start", "schema": SCHEMA, "run": event.run, "step": event.step, "config": event.config}
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
            }
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


def error_document(error: TfloopError) -> Document:
    """Every problem of `error`, with the exit code that the process ends with."""
    return {"event": "error", "code": int(error.code), "errors": [asdict(problem) for problem in error.problems]}


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as strict JSON: NaN and infinities become null, numbers keep every digit, paths become strings."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
