"""A copy of the training state in memory: what a checkpoint is written from while training goes on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.arrays import as_bytes, is_all_finite, view_of
from tfloop_cli.errors import ExitCode, TfloopError


@dataclass
class Snapshot:
    """A copy of the training state between two steps.

    Attributes:
        arrays: every variable by its name, C-contiguous.
        facts: the manifest's step, epoch, epoch_start, best_step and other_variables.
        weights: names of the arrays that `weights_sha256` covers, in order.
        checked: names of the arrays that have to be finite.
        in_use: whether it is being saved, so that its arrays must not be overwritten.
    """

    arrays: dict[str, np.ndarray]
    facts: Mapping[str, Any]
    weights: Sequence[str]
    checked: Sequence[str] = ()
    in_use: bool = False

    @classmethod
    def of(
        cls,
        variables: Mapping[str, tf.Variable],
        facts: Mapping[str, Any],
        weights: Sequence[str],
        checked: Sequence[str] = (),
        memory: Mapping[str, np.ndarray] | None = None,
    ) -> "Snapshot":
        """Copies variables, into the arrays in `memory` if they are those of an earlier copy."""
        arrays = dict(memory or {})
        for name, variable in variables.items():
            view = view_of(variable)
            if name not in arrays:
                arrays[name] = np.empty_like(view, order="C")
            np.copyto(arrays[name], view)
        return cls(arrays, facts, weights, checked)

    def weights_sha256(self) -> str:
        """Returns the same as `TrainState.weights_sha256` for the same state."""
        digest = hashlib.sha256()
        for name in self.weights:
            digest.update(as_bytes(self.arrays[name]))
        return digest.hexdigest()

    def require_finite(self) -> None:
        """Raises TfloopError if a value in models or optimizers is not finite (exit code 5)."""
        for name in self.checked:
            if not is_all_finite(self.arrays[name]):
                raise TfloopError(
                    f"after step {self.facts['step']}, `{name}` has non-finite values; it is not saved",
                    hint="lower `optimizer.learning_rate` or set `clip_norm: 1.0`",
                    code=ExitCode.DIVERGED,
                )
