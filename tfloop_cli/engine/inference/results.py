"""The columns of a result: class and probability, or numbers, with the inputs that they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.inference.predicting import Predictions
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import TfloopError


@dataclass(frozen=True)
class ResultColumns:
    """Which columns a result has.

    Attributes:
        class_names: in the order of the probabilities; empty if the model predicts numbers.
        numbers: names of the columns of numbers: `prediction`, or `prediction_NAME` of several targets.
        top: how many of the most probable classes are shown.
        probabilities: whether the probability of each class is shown.
    """

    class_names: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    top: int = 1
    probabilities: bool = False

    @classmethod
    def of(cls, run: TrainedRun, top: int = 1, probabilities: bool = False) -> "ResultColumns":
        """Returns the columns for a run.

        Raises:
            TfloopError: `top` is below 1; or `top` or `probabilities` are used, and the model predicts numbers (2).
        """
        if top < 1:
            raise TfloopError(f"`top` is {top}, and has to be 1 or more")
        names = run.class_names
        if names:
            return cls(names, (), min(top, len(names)), probabilities)
        if top > 1 or probabilities:
            option = "--probabilities" if probabilities else "--top"
            raise TfloopError(f"`{option}` needs classes, and this run predicts numbers")
        targets: Sequence[str] = run.encoders.get("target", {}).get("names", ())
        count = run.spec.outputs
        if len(targets) != count:
            targets = [str(number) for number in range(1, count + 1)]
        return cls((), ("prediction",) if count == 1 else tuple(f"prediction_{name}" for name in targets))

    @property
    def names(self) -> list[str]:
        """All columns but those that are kept and `error`, in order."""
        found = ["input", *self.numbers]
        for place in range(1, self.top + 1) if self.class_names else ():
            end = "" if place == 1 else f"_{place}"
            found += [f"prediction{end}", f"probability{end}"]
        return found + [f"probability_{_text(name)}" for name in self.class_names if self.probabilities]

    def check_kept(self, keep: Sequence[str]) -> None:
        """Raises TfloopError (exit code 2) if a column to keep has the name of one of the result."""
        if twice := sorted({*self.names, "error", "event"} & set(keep)):
            raise TfloopError(
                f"`--keep {twice[0]}`: the result has a column of this name", hint="rename it in the data"
            )

    def table(self, predictions: Predictions) -> pa.Table:
        """Returns one row per input; cells of an input with an error are null, and `error` says why."""
        usable, scores = predictions.usable, predictions.scores
        columns: list[Any] = [_printable(predictions.names)]
        if self.class_names:
            columns += self._classes(scores, usable)
        else:
            columns += [_spread(scores[:, number], usable) for number in range(len(self.numbers))]
        table = pa.table(columns, self.names)
        for name in predictions.kept.column_names if predictions.kept is not None else ():
            table = table.append_column(name, predictions.kept.column(name))  # type: ignore[union-attr]
        errors: list[str | None] = [None] * len(predictions)
        for number, error in predictions.errors.items():
            errors[number] = _text(error)
        return table.append_column("error", pa.array(errors, pa.string()))

    def _classes(self, scores: np.ndarray, usable: np.ndarray) -> list[pa.Array]:
        names, columns = pa.array(map(_text, self.class_names), pa.string()), []
        order = scores.argmax(axis=1)[:, None]
        if self.top > 1:
            order = np.argsort(-scores, axis=1, kind="stable")[:, : self.top]
        for place in range(self.top):
            chosen = order[:, place]
            columns.append(names.take(_spread(chosen, usable)))
            columns.append(_spread(np.take_along_axis(scores, chosen[:, None], axis=1)[:, 0], usable))
        if self.probabilities:
            columns += [_spread(scores[:, number], usable) for number in range(len(self.class_names))]
        return columns


def _printable(names: np.ndarray) -> pa.Array:
    """Returns names of inputs as a column; see `_text`."""
    return pa.array(names if names.dtype != object else [_text(one) for one in names.tolist()])


def _text(name: str) -> str:
    """Returns a name with bytes that are not UTF-8 escaped: a path may have them."""
    return name.encode("utf-8", "backslashreplace").decode()


def _spread(values: np.ndarray, usable: np.ndarray) -> pa.Array:
    """Returns one value per input, [inputs]; null for those without one."""
    if usable.all():
        return pa.array(values)
    spread = np.zeros(len(usable), values.dtype)
    spread[usable] = values
    return pa.array(spread, mask=~usable)
