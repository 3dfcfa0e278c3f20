"""Displays events: a progress bar below a growing table of epochs, or plain lines, or JSON lines.

Progress bar, table and epoch lines go to stderr. The test metrics and, as the last line, the path of the run folder are
results and go to stdout.
"""

import shlex
import shutil
import time
from pathlib import Path
from typing import Self

from rich.console import Console as RichConsole
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from tfloop_cli.events import FINISHED, EpochDone, Evaluated, Event, Progress, RunEnded, RunStarted
from tfloop_cli.runs.checkpoints import step_of
from tfloop_cli.runs.documents import document
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.tables import EpochTable, data_table, duration, metrics_text, number

REFRESH_SECONDS = 0.15  # shortest time between two updates of the bar, each of which takes about 0.5 ms
MAX_WIDTH = 160  # characters of a line where the width of the screen is not known
_MIN_BAR = 5  # characters
_MARGIN = 4  # spaces around the bar, and room at the end for the terminal's own "^C", so that the line does not wrap
_PHASES = {"train": "epoch", "validation": "valid"}  # of equal length, so that the bar does not move


def make_display(console: Console) -> "Display":
    """Returns the display for the console: a context manager that removes the bar however the run ends."""
    if console.json:
        return JsonDisplay(console)
    if console.interactive and not console.quiet:
        return RichDisplay(console)
    return PlainDisplay(console)


def evaluated_text(event: Evaluated) -> str:
    """Returns one line: the split, its metrics, the number of examples."""
    return f"{event.split}  {metrics_text(event.metrics)}  ({event.examples:,} examples)"


class Display:
    """The base class of displays: a context manager that consumes events."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Restores the screen."""

    def handle(self, event: Event) -> None:
        """Shows `event`."""
        raise NotImplementedError


class JsonDisplay(Display):
    """Prints one JSON document per line."""

    def handle(self, event: Event) -> None:
        shown = document(event)
        if shown is not None:
            self._console.document(shown)


class PlainDisplay(Display):
    """Prints one line per epoch, for logs and for terminals without colors."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._started = RunStarted("", 0, {}, 0, 0, 0, ())  # stays for a run that was finished before
        self._best: EpochDone | None = None  # the best epoch so far

    def handle(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._started = event
                self._start(event)
            case Progress():
                self._progress(event)
            case EpochDone():
                self._best = event if event.best else self._best
                self._epoch(event)
            case Evaluated():
                self._evaluated(event)
            case RunEnded():
                self._ended(event)

    def _start(self, event: RunStarted) -> None:
        facts = {"run": event.run, **event.facts}
        width = max(map(len, facts))
        for name, fact in facts.items():
            self._console.info(f"{name:<{width}}  {fact}")
        if event.columns:
            lines = ["", *data_table(event.columns, shutil.get_terminal_size((MAX_WIDTH, 0)).columns), ""]
            self._console.info("\n".join(lines))
        for note in event.notes:
            self._console.note(note)

    def _progress(self, event: Progress) -> None:
        """Not shown: it is too much for a log."""

    def _epoch(self, event: EpochDone) -> None:
        parts = [f"epoch {event.epoch}/{self._started.epochs}", metrics_text(event.train)]
        if event.validation:
            parts.append(metrics_text(event.validation, prefix="val_"))
        parts.append(duration(event.train_seconds + event.validation_seconds))
        parts.append(f"{event.examples_per_second:.0f} examples/s")
        self._console.info("  ".join(parts) + ("  best" if event.best else "") + _warnings(event))

    def _evaluated(self, event: Evaluated) -> None:
        if self._best and step_of(Path(event.checkpoint)) == self._best.step:
            self._console.info(f"the weights of epoch {self._best.epoch}, the best one in validation:")
        self._console.result(evaluated_text(event))

    def _ended(self, event: RunEnded) -> None:
        finished = event.reason in FINISHED
        how = event.reason if finished else f"stopped ({event.reason})"
        if self._started.run:  # else the run was finished before, which a line has said
            self._console.info(f"{how} after {duration(event.seconds)}")
        self._console.result(event.run)
        if finished and not self._started.evaluated:
            return
        split = ["--split", self._started.evaluated] if self._started.evaluated != "test" else []
        command = ["evaluate", event.run, *split] if finished else ["resume", event.run]
        self._console.info(f"next: tfloop {shlex.join([*command, *self._started.code_options])}")


class RichDisplay(PlainDisplay):
    """Shows a table of epochs that grows above a progress bar of one line.

    A finished row is printed once, above the bar. The bar is drawn in `handle`, without a thread, and its cost does not
    grow with the table.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rich = _Screen(file=console.stderr, highlight=False)
        self._table: EpochTable | None = None
        self._first: tuple[float, int] | None = None  # time and step of the first progress, to estimate the time left
        self._drawing = False
        self._drawn = 0.0  # time of the last update
        self._task = TaskID(0)
        self._column = BarColumn(_MIN_BAR, complete_style="cyan", finished_style="cyan")
        self._bar = RichProgress(
            TextColumn("{task.description}", style="bold", markup=False),
            self._column,
            TextColumn("{task.fields[state]}", markup=False),
            console=self._rich,
            auto_refresh=False,
            transient=True,
            redirect_stdout=console.stdout.isatty(),
        )

    def __exit__(self, *_: object) -> None:
        if self._drawing:
            self._drawing = False
            self._bar.stop()
            self._console.print_above = None
            self._console.info("")

    def _start(self, event: RunStarted) -> None:
        super()._start(event)
        self._console.info("")
        if self._console.progress:
            self._task = self._bar.add_task("compiling the training step ...", total=None, state="")
            self._drawing = True
            self._bar.start()
            self._console.print_above = self._print

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        self._first = self._first or (now, event.step)
        if not self._drawing or now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        total = event.phase_steps or self._started.steps_per_epoch
        label = f"{_PHASES.get(event.phase, event.phase)} {event.epoch}/{self._started.epochs}"
        metrics = [f"{name} {number(value)}" for name, value in event.metrics.items()]
        speed = [f"{event.examples_per_second:>6,.0f} examples/s"] if event.examples_per_second else []
        step, left = f"{event.epoch_step:>{len(str(total))}}/{total}", self._time_left(now, event)
        room = self._rich.width - len(label) - _MARGIN
        # Without enough room, the speed is dropped first, then the last metrics.
        choices = [[*metrics, *speed], *(metrics[:count] for count in range(len(metrics), -1, -1))]
        states = ["  ".join([step, *choice, left]) for choice in choices]
        state = next((one for one in states if len(one) <= room - _MIN_BAR), states[-1])
        self._column.bar_width = max(_MIN_BAR, room - len(state))
        self._bar.update(self._task, description=label, completed=event.epoch_step, total=total, state=state)
        self._bar.refresh()

    def _time_left(self, now: float, event: Progress) -> str:
        """Returns the time left for the whole run, by the speed since the first progress: without compilation."""
        started, first_step = self._first or (now, event.step)
        done = event.epoch_step if event.phase == "train" else self._started.steps_per_epoch
        left = (self._started.epochs - event.epoch + 1) * self._started.steps_per_epoch - done
        if event.step == first_step:
            return "-:-- left"
        seconds = round((now - started) / (event.step - first_step) * left)
        return f"{seconds // 60}:{seconds % 60:02} left" if seconds < 3600 else f"{duration(seconds)} left"

    def _epoch(self, event: EpochDone) -> None:
        if self._table is None:
            self._table = EpochTable(self._started, event, self._rich.width, unicode=self._console.unicode)
            groups, names = self._table.header()
            self._print(groups, "dim")
            self._print(names, "bold")
        self._print(self._table.row(event) + _warnings(event), "green" if event.best else "")

    def _evaluated(self, event: Evaluated) -> None:
        self.__exit__()
        super()._evaluated(event)

    def _ended(self, event: RunEnded) -> None:
        self.__exit__()
        super()._ended(event)

    def _print(self, text: str, style: str = "") -> None:
        """Prints above the bar."""
        line = Text.from_ansi(text)
        line.stylize(style)
        self._rich.print(line, soft_wrap=True)


def _warnings(event: EpochDone) -> str:
    """Returns what is appended to the line of an epoch with skipped batches or retraces."""
    count = event.skipped_batches
    skipped = f"  {count} batch{'es' if count > 1 else ''} skipped" if count else ""
    return skipped + (f"  warning: the training step was retraced ({event.retraces})" if event.retraces else "")


class _Screen(RichConsole):
    """Never hides the cursor: a process that is killed could not show it again."""

    def show_cursor(self, show: bool = True) -> bool:
        return False
