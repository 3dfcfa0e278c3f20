"""`tfloop lr-find`: a learning rate range test, its curve, and a suggestion."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.learning_rate_test import Point, curve, suggestion
from tfloop_cli.engine.trial import Trial
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import disk_errors, write_atomic
from tfloop_cli.registry import Component
from tfloop_cli.report.plots import figure_class, png
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.curve import curve_lines

WIDTH, HEIGHT = 72, 12  # characters of the curve
MARGIN = 10  # of the numbers beside it


@dataclass(frozen=True)
class Options:
    """The options of `tfloop lr-find`.

    Attributes:
        low, high: the first and the last learning rate.
        steps: the number of training steps.
        png: a file for the curve; None for none.
    """

    low: float = 1e-7
    high: float = 10.0
    steps: int = 100
    png: Path | None = None

    def check(self) -> None:
        """Raises TfloopError (exit code 2) if the options do not make sense."""
        if not 0 < self.low < self.high < math.inf:
            raise TfloopError(f"`--min {self.low:g}` and `--max {self.high:g}`: 0 < min < max is required")
        if self.steps < 20:
            raise TfloopError(f"`--steps {self.steps}` is too few for a curve", hint="use at least 20")
        if self.png and not self.png.parent.is_dir():
            raise TfloopError(f"`--png {self.png}`: there is no folder `{self.png.parent}`")


def lr_find(config: Config, options: Options, console: Console) -> ExitCode:
    """Trains a few steps at growing learning rates, and prints the curve of the loss. Nothing is kept.

    Raises: TfloopError, as in `train`; also if the optimizer has no single learning rate (exit code 2).
    """
    options.check()
    figure = figure_class()(figsize=(7, 4), layout="constrained") if options.png else None
    ignored = [
        name
        for name, used in (("schedule", config.schedule.name != "constant"), ("warmup_steps", config.warmup_steps))
        if used
    ]
    if ignored:
        console.note(f"{' and '.join(f'`{name}`' for name in ignored)} of the config: not used in this test")
    changes = {"schedule": Component("constant"), "warmup_steps": 0, "max_steps": None}
    changes |= {"epochs": max(config.epochs, options.steps), "on_nonfinite": "stop"}
    with console.quiet_stderr():
        trial = Trial.set_up(config.model_copy(update=changes), console.note, console.warn, console.show_progress)
    configured = float(str(trial.learning_rate().numpy()))  # 0.001, not the float32 next to it
    points = curve(trial, options.low, options.high, options.steps, console.show_progress)
    found = suggestion(points)
    if console.json:
        console.document({
            "event": "lr_find", "suggestion": found, "configured": configured,
            "points": [asdict(point) for point in points],
        })  # fmt: skip
    else:
        _show(points, found, configured, console)
    if figure and options.png:
        _draw(figure, points, found)
        with disk_errors(options.png):
            write_atomic(options.png, png(figure))
        console.info(f"curve: {options.png}")
    return ExitCode.DONE


def _show(points: Sequence[Point], found: float | None, configured: float, console: Console) -> None:
    if points:
        values = [point.smoothed for point in points]
        width = max(min(shutil.get_terminal_size((WIDTH + MARGIN, 0)).columns - MARGIN, WIDTH), 20)
        lines = curve_lines(values, width, HEIGHT, unicode=console.unicode_results)
        console.result(console.heading("loss (moving average) by learning rate"))
        for row, line in enumerate(lines):
            number = max(values) if row == 0 else min(values) if row == HEIGHT - 1 else None
            console.result(f"{'' if number is None else f'{number:.4g}':>{MARGIN - 2}}  {line}")
        low, high = f"{points[0].learning_rate:.1e}", f"{points[-1].learning_rate:.1e}"
        console.result(f"{'':{MARGIN}}{low}{high:>{max(width - len(low), 0)}}")
    if found is None:
        console.result(
            "no suggestion: the loss falls at no learning rate (`--min`, `--max` and `--steps` change the range)"
        )
        return
    console.result(f"suggestion: --set optimizer.learning_rate={found:.2g}  (the config has {configured:g})")


def _draw(figure: Any, points: Sequence[Point], found: float | None) -> None:
    axes = figure.add_subplot()
    rates = [point.learning_rate for point in points]
    axes.plot(rates, [point.loss for point in points], alpha=0.3, label="loss of the batch")
    axes.plot(rates, [point.smoothed for point in points], label="moving average")
    if found is not None:
        axes.axvline(found, linestyle="--", color="gray", label=f"suggestion {found:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.legend()
