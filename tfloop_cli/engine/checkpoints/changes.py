"""What changes with a resumed run: data of another size, and the metrics that choose the best epoch and stop early.

A manifest has the facts of the process that wrote the checkpoint; they are compared with those of this process.
"""

import math
from collections.abc import Mapping
from typing import Any

from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import TfloopError
from tfloop_cli.runs.checkpoints import NO_STEP

_WAYS_OUT = "undo the change of the data, or start a new run: without `--resume`, or with another `-o`"


def require_same_epochs(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Checks that the training split has the size that it had, unless the run is between two epochs.

    Raises:
        TfloopError: an epoch has begun with another number of examples, or examples that were trained on would be
            evaluated (exit code 2).
    """
    before, now = manifest.get("train_examples"), facts.get("train_examples")
    if manifest.get("held_out", {}) != facts.get("held_out", {}) and before == now:
        raise TfloopError(
            "other examples are held out for test or validation now, among them some that were trained on: classes, "
            "groups or times in `dataset` have changed",
            hint=_WAYS_OUT,
        )
    if before == now:
        return
    sizes = f"`dataset` has {now:,} training examples now, and had {before:,} when step {manifest['step']:,} was saved"
    if facts["held_out_examples"]:
        raise TfloopError(
            f"{sizes}: another selection of them would be held out for test or validation, with examples that were "
            "trained on",
            hint=f"give the data splits of its own for both at the start of a run; {_WAYS_OUT}",
        )
    if manifest["step"] != manifest["epoch_start"]:
        raise TfloopError(
            f"{sizes}, in the middle of epoch {manifest['epoch'] + 1}; data can change only between two epochs",
            hint=f"use `--from` with a checkpoint of the end of an epoch; {_WAYS_OUT}",
        )


def has_new_learning_rate(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether the config's learning rate takes effect; otherwise that of the checkpoint, which a task may have set."""
    return bool(manifest["config"].get("optimizer") != facts["config"].get("optimizer"))


def apply_changes(manifest: Mapping[str, Any], facts: Mapping[str, Any], state: TrainState) -> list[str]:
    """Changes a restored state as the new facts require; returns one line for the user per change."""
    lines = []
    before, now = manifest.get("train_examples"), facts.get("train_examples")
    if before != now:
        lines.append(f"epochs have {now:,} training examples from now on, and had {before:,}")
    if _differs("best_metric", manifest, facts) and not math.isnan(state.best):
        state.best.assign(math.nan)
        state.best_step.assign(NO_STEP)
        lines.append(f"the best epoch is chosen anew, by {facts['best_metric'] or 'no metric'}")
    if _differs("early_stopping_metric", manifest, facts) and not math.isnan(state.early_stopping[0]):
        state.early_stopping.assign([math.nan, 0.0])
        if facts["early_stopping_metric"]:
            lines.append(f"early stopping starts anew, with {facts['early_stopping_metric']}")
    return lines


def _differs(fact: str, manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return bool(manifest.get(fact) != facts.get(fact))
