"""`tfloop predict`: the predictions of a run for files, rows, texts, images, arrays, or a split of its data."""

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tfloop_cli.commands.opening import open_trained_run, run_data, run_path
from tfloop_cli.commands.prediction_file import PredictionFile, json_rows
from tfloop_cli.config.data_paths import STDIN
from tfloop_cli.engine.inference import (
    Inputs,
    Predictions,
    Reader,
    ResultColumns,
    default_batch_size,
    predict,
    reader_of,
)
from tfloop_cli.engine.inference.ahead import ahead
from tfloop_cli.engine.inference.json_lines import json_line_inputs
from tfloop_cli.engine.inference.split import split_inputs
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import json_text
from tfloop_cli.runs.documents import Document, predictions_document
from tfloop_cli.signals import SignalError, raise_on_signals
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.predictions import PredictionTable


@dataclass(frozen=True)
class Options:
    """The options of `tfloop predict`.

    Attributes:
        inputs: paths, folders and patterns; or "-" alone.
        split: a split of the run's dataset in place of inputs; None for inputs.
        output: the file of predictions; None for the screen.
        top: how many of the most probable classes are shown.
        probabilities: whether the probability of each class is shown.
        keep: columns of the inputs to copy.
        batch_size: None for that of the run.
        checkpoint, device, code, trust_code, moved: see `open_trained_run`.
    """

    inputs: list[str] = field(default_factory=list)
    split: str | None = None
    output: Path | None = None
    top: int = 1
    probabilities: bool = False
    keep: list[str] = field(default_factory=list)
    batch_size: int | None = None
    checkpoint: str | None = None
    device: str = "auto"
    code: list[Path] = field(default_factory=list)
    trust_code: bool = False
    moved: list[str] = field(default_factory=list)

    @property
    def as_lines(self) -> bool:
        """Whether predictions are printed as lines of JSON while inputs come."""
        return self.inputs == [STDIN] and self.output is None


def run(folder: Path, options: Options, console: Console) -> ExitCode:
    """Predicts for each input, and prints or writes the result.

    Args:
        folder: a run folder or a checkpoint folder.
        options: see `Options`.
        console: prints the result.

    Returns: DONE; DATA if an input could not be used.
    Raises: TfloopError, exit codes: usage 2, data 4, checkpoint 6, user code 7, disk 75.
    """
    started = time.monotonic()
    try:
        with raise_on_signals():
            return _run(folder, options, console, started)
    except SignalError as stop:
        console.info("stopped")
        return stop.code


def _run(folder: Path, options: Options, console: Console, started: float) -> ExitCode:
    trained = open_trained_run(
        folder, console, checkpoint=options.checkpoint, device=options.device, code=options.code,
        trust_code=options.trust_code, moved=options.moved,
    )  # fmt: skip
    columns = ResultColumns.of(trained, options.top, options.probabilities)
    columns.check_kept(options.keep)
    reader = None if options.split else reader_of(trained, options.keep)
    size = options.batch_size or default_batch_size(trained)
    chunks, total = _chunks(trained, reader, options, size, console)
    noted = list(reader.notes) if reader else []
    for note in noted:
        console.note(note)
    result = _Result(options, console)
    with PredictionFile(options.output) if options.output else nullcontext() as file, closing(chunks):
        for predictions in _with_progress(predict(trained, chunks, size), total, options, console):
            result.add(columns.table(predictions), len(predictions.errors), file)
        if not result.rows and not options.as_lines:
            raise TfloopError("there are no inputs", code=ExitCode.DATA)
    for note in reader.notes if reader else ():
        if note not in noted:
            console.note(note)
    summary = predictions_document(
        run=run_path(trained.checkpoint), checkpoint=str(trained.checkpoint.path), inputs=result.rows,
        errors=result.errors, output=str(options.output) if options.output else None,
        seconds=time.monotonic() - started,
    )  # fmt: skip
    return result.finish(summary)


class _Result:
    """Prints or writes predictions as they are made."""

    def __init__(self, options: Options, console: Console) -> None:
        self._options, self._console, self._printed = options, console, PredictionTable(console)
        self.rows = self.errors = 0

    def add(self, table: pa.Table, errors: int, file: PredictionFile | None) -> None:
        self.rows, self.errors = self.rows + len(table), self.errors + errors
        if file:
            file.write(table)
        elif self._options.as_lines and not self._console.json:
            for row in json_rows(table):
                self._console.result(json_text(row))
        else:
            self._printed.add(json_rows(table.slice(0, self._printed.needed)), len(table))

    def finish(self, summary: Document) -> ExitCode:
        if self._console.json or not self._options.as_lines:
            self._printed.finish(summary)
        if self.errors:
            self._console.warn(f"{self.errors:,} of {self.rows:,} input(s) could not be used: see `error`")
        return ExitCode.DATA if self.errors else ExitCode.DONE


def _with_progress(
    found: Iterator[Predictions], total: int | None, options: Options, console: Console
) -> Iterator[Predictions]:
    if options.inputs == [STDIN]:
        yield from found
        return
    done = 0
    console.show_progress("predicting", 0, total)
    try:
        for one in found:
            yield one
            done += len(one)
            console.show_progress("predicting", done, total)
    finally:
        console.show_progress("predicting", max(done, 1), max(done, 1))


def _chunks(
    trained: TrainedRun, reader: Reader | None, options: Options, size: int, console: Console
) -> tuple[Generator[Inputs], int | None]:
    """Returns the inputs, and their number; None if it is not known."""
    if reader is None:
        assert options.split
        data = run_data(trained.checkpoint, trained.config, options.split, console)
        return split_inputs(data, options.split, size), data.examples(options.split)
    if options.inputs == [STDIN]:
        return json_line_inputs(sys.stdin.buffer, reader, size), None
    files = reader.files(options.inputs)
    return ahead(files.read(size)), files.total
