"""Warnings before training: settings, and properties of the data, that cannot have the effect that they are for."""

import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.config.warmup import warmup_steps_of
from tfloop_cli.config.warnings import config_warnings, without_validation
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.tasks import Task

MAX_NAMES = 5  # of classes in a line


def setup_warnings(config: Config, data: Data, task: Task) -> list[str]:
    """Returns one line for each thing that is off.

    Args:
        config: of the run.
        data: its examples.
        task: with classes, these are checked too.
    """
    lines = config_warnings(config)
    if config.validation != 0 and not data.examples("validation"):
        lines += without_validation(config)
    if data.batch_size > (examples := data.examples("train")):
        lines.append(
            f"`batch_size: {data.batch_size}` is larger than the training split of {examples} examples: an epoch is "
            "one step"
        )
    lines += _length_warnings(config, config.epochs * data.steps_per_epoch)
    return lines + (_class_warnings(data, task.metrics) if getattr(task, "classes", 0) else [])


def _length_warnings(config: Config, steps: int) -> list[str]:
    """Returns lines about a warm-up or a schedule that does not fit the length of the run, in steps."""
    if (warmup_steps := warmup_steps_of(config, steps)) >= steps:
        return [
            f"`warmup_steps: {warmup_steps}` does not end within the {steps} steps of the run: the learning "
            "rate never reaches its full value"
        ]
    left, arguments = steps - warmup_steps, config.schedule.arguments
    run = f"the run, which has {left} steps{' after the warm-up' if warmup_steps else ''}"
    if config.schedule.name == "cosine" and (length := arguments["decay_steps"]):
        text = f"`schedule.decay_steps: {length}` is"
        if length > left:
            return [f"{text} longer than {run}: the learning rate does not reach its end"]
        if length < left and not arguments["alpha"]:
            return [f"{text} shorter than {run}: in the last {left - length} of them the learning rate is 0"]
    if config.schedule.name == "piecewise":
        late = [str(boundary) for boundary in arguments["boundaries_steps"] if boundary >= left]
        return [f"`schedule.boundaries_steps`: {', '.join(late)} is after the end of {run}"] if late else []
    return []


def class_counts(data: Data) -> np.ndarray | None:
    """Returns the number of training examples of each class, validation examples excluded: int64 [classes].

    None if the targets are read from disk together with the inputs.
    """
    source, indices = data.split("train")
    if (targets := getattr(source, "all_targets", None)) is None:
        return None
    with tf.device("CPU"):
        labels = data.spec.labels_of(tf.gather(targets, indices))
    return np.bincount(labels, minlength=data.spec.classes)


def _class_warnings(data: Data, metrics: Sequence[str]) -> list[str]:
    names, lines = data.spec.class_names, []
    if len(names) == 1:
        lines.append(f"the data has a single class, `{names[0]}`: every prediction is right")
    for metric in metrics:
        if (match := re.fullmatch(r"top_(\d+)_accuracy", metric)) and int(match[1]) >= len(names):
            lines.append(f"`{metric}` is always 1: the data has {len(names)} class{'es' if len(names) > 1 else ''}")
    counts = class_counts(data)
    if counts is None or counts.all():
        return lines
    missing = [f"`{name}`" for name, count in zip(names, counts, strict=True) if not count]
    shown = ", ".join(missing[:MAX_NAMES]) + (", ..." if len(missing) > MAX_NAMES else "")
    subject = f"the class {shown} has" if len(missing) == 1 else f"{len(missing)} of {len(names)} classes have"
    lines.append(f"{subject} no training example{'' if len(missing) == 1 else f': {shown}'}")
    return lines
