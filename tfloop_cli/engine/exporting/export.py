"""Exports a trained run: writes files, runs each in its own runtime, and keeps those that predict what the run does."""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tfloop_cli.engine.exporting import litert_file
from tfloop_cli.engine.exporting.comparison import (
    Comparison,
    compare,
    difference_problem,
    full_float32,
    run_scores,
)
from tfloop_cli.engine.exporting.examples import ExportExamples, find_examples
from tfloop_cli.engine.exporting.formats import FORMATS, Format
from tfloop_cli.engine.exporting.model import ExportModel, build_model
from tfloop_cli.engine.exporting.plain_layers import float32_policy
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import ExitCode, TfloopError, short_path
from tfloop_cli.export_formats import check_formats
from tfloop_cli.files import disk_errors, sync_folder, write_json
from tfloop_cli.runs.folder import run_of

MAX_DROP = 0.005
LARGEST_ROUNDING = 1e-4  # of a probability, or relative of a number, in float32
ENCODERS = "encoders.json"


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared.

    Attributes:
        format: its name in `FORMATS`.
        quantization: "none", "float16" or "int8".
        path: of the file or folder.
        bytes: its size, with all its files.
        comparison: with the run.
    """

    format: str
    quantization: str
    path: Path
    bytes: int
    comparison: Comparison


@dataclass(frozen=True)
class Listener:
    """What is called during an export.

    Attributes:
        warn, note: with lines for the user.
        progress: shows how far reading the data is.
        started: with the name of each format before its work.
        done: with each result.
    """

    warn: Callable[[str], None] = lambda line: None
    note: Callable[[str], None] = lambda line: None
    progress: Callable[[str, int, int], None] = lambda *_: None
    started: Callable[[str], None] = lambda name: None
    done: Callable[[Exported], None] = lambda one: None


SILENT = Listener()


@dataclass
class Exporter:
    """A run and all that its exports have in common.

    Args:
        run: a classifier or a regressor.
        output: the folder of the files.
        logits: whether the output of a classifier is logits.
        max_drop: the largest drop of the metric; see `compare`.
        examples: to compare on.
    """

    run: TrainedRun
    output: Path
    logits: bool
    max_drop: float
    examples: ExportExamples

    @cached_property
    def expected(self) -> np.ndarray:
        """What the run computes for the examples, [examples, outputs]; see `run_scores`."""
        with full_float32():
            return run_scores(self.run, self.examples)

    @cached_property
    def plain(self) -> ExportModel:
        """The model with layers of Keras alone."""
        return build_model(self.run, plain=True, logits=self.logits)

    @cached_property
    def own(self) -> ExportModel:
        """The model with the layers of the run."""
        return build_model(self.run, plain=False, logits=self.logits)

    def export(self, name: str, quantization: str) -> Exported:
        """Writes the file of a format and moves it to its place if it predicts what the run does.

        Raises:
            TfloopError: the model cannot be converted (exit code 2); the metric drops too much (exit code 3).
        """
        made = FORMATS[name]
        suffix = "" if quantization == "none" else f"-{quantization}"
        expected = self.expected  # errors of the run itself come first
        for file in made.files:
            _require_place(self.output / file, is_folder=not Path(file).suffix)
        with _staging(self.output) as staging:
            main = staging / made.file
            model = self.plain if made.plain else self.own
            with _conversion_errors(name), float32_policy(), full_float32():
                self._write(made, model, main, quantization)
                compute, arrays = made.load(main), model.arrays(self.examples.inputs)
                found = compare(expected, self.examples, arrays, compute, model.output)
            path = self.output / f"{main.stem}{suffix}{main.suffix}"
            self._require(found, path, is_exact=quantization == "none" and _is_exact(self.run))
            size = sum(_size(staging / file) for file in made.files)
            _replace([(staging / file, path.with_suffix(Path(file).suffix)) for file in made.files], staging)
        return Exported(name, quantization, path, size, found)

    def _write(self, made: Format, model: ExportModel, path: Path, quantization: str) -> None:
        if quantization == "none":
            made.write(model, path)
        else:
            litert_file.write_quantized(model, path, quantization, model.arrays(self.examples.inputs))

    def _require(self, found: Comparison, path: Path, is_exact: bool) -> None:
        if problem := difference_problem(found, self.max_drop, is_exact):
            raise TfloopError(
                f"{short_path(path)} is not written: {problem}",
                hint="use another format or quantization, more examples (`--split test`), or a larger `--max-drop`",
                code=ExitCode.THRESHOLD_FAILED,
            )


def export(
    run: TrainedRun,
    formats: Sequence[str],
    *,
    output: Path | None = None,
    quantize: str | None = None,
    logits: bool = False,
    max_drop: float = MAX_DROP,
    split: str | None = None,
    data: Path | None = None,
    listener: Listener = SILENT,
) -> list[Exported]:
    """Writes a run's model in several formats, and compares each file with the run before it is in its place.

    Args:
        run: a classifier or a regressor.
        formats: names in `FORMATS`.
        output: the folder of the files, created if it does not exist; None for `export` in the run folder.
        quantize: "float16" or "int8", for LiteRT; None for float32.
        logits: whether the output of a classifier is logits in place of probabilities.
        max_drop: the largest drop of accuracy, or of R2 for numbers; see `compare`.
        split, data: which examples to compare on; see `find_examples`.
        listener: is called with what happens.

    Returns:
        One result per format, in order.

    Raises:
        TfloopError: wrong arguments, a package is missing, or a model cannot be converted (exit code 2); a metric drops
            too much (exit code 3). The files of the other formats are written, and `listener.done` had them.
    """
    check_formats(formats, quantize)
    folder = _folder(run, output)
    examples = find_examples(
        run, split=split, data=data, warn=listener.warn, note=listener.note, progress=listener.progress
    )
    if examples.targets is None and quantize == "int8":
        raise TfloopError("`--quantize int8` needs real examples", hint="use `--data FILE_OR_FOLDER`")
    exporter = Exporter(run, folder, logits, max_drop, examples)
    for line in exporter.own.notes:
        listener.note(line)
    done: list[Exported] = []
    failed: list[TfloopError] = []
    for name in dict.fromkeys(formats):
        listener.started(name)
        try:
            with disk_errors(folder):
                done.append(exporter.export(name, (quantize or "none") if name == "litert" else "none"))
        except TfloopError as error:
            failed.append(error)
        else:
            _warn_of_rounding(run, done[-1], listener.warn)
            listener.done(done[-1])
    if done and run.encoders and not exporter.own.columns:
        _write_encoders(run, folder, listener)
    if failed:
        problems = [problem for error in failed for problem in error.problems]
        raise TfloopError(problems=problems, code=max(error.code for error in failed))
    return done


def _write_encoders(run: TrainedRun, folder: Path, listener: Listener) -> None:
    with disk_errors(folder):
        write_json(folder / ENCODERS, run.encoders)
    listener.note(f"{short_path(folder / ENCODERS)} has how the inputs are encoded")


def _folder(run: TrainedRun, output: Path | None) -> Path:
    """Returns the folder of the files, which exists then."""
    if output is None:
        of_run = run_of(run.checkpoint.path.resolve())
        if not of_run.is_run():
            raise TfloopError(f"{run.checkpoint.path} is in no run folder", hint="use `--output DIR`")
        of_run.require_no_links()
        output = of_run.export
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    return output


def _warn_of_rounding(run: TrainedRun, one: Exported, warn: Callable[[str], None]) -> None:
    exact, found = _is_exact(run) and one.quantization == "none", one.comparison
    if exact and found.relative_difference > LARGEST_ROUNDING:
        warn(f"{short_path(one.path)}: it differs by up to {found.max_difference:.1g}, more than by rounding")


def _is_exact(run: TrainedRun) -> bool:
    """Whether a file in float32 differs from the run by rounding only."""
    return run.config.precision in ("float32", "float64")


@contextmanager
def _conversion_errors(name: str) -> Iterator[None]:
    """A context of a converter and its runtime: they raise errors of any type for a model that they do not support.

    Their warnings are about their own code, and no errors in a program that makes errors of warnings.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (TfloopError, OSError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TfloopError(
            f"the model cannot be exported as {name}: {lines[0]}",
            hint="use another format; `--verbose` shows what the converter prints",
        ) from error


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A context with a new folder in `folder`, which is removed."""
    with tempfile.TemporaryDirectory(prefix=".export-", suffix=".tmp", dir=folder, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _replace(files: Sequence[tuple[Path, Path]], staging: Path) -> None:
    """Moves files and folders to their places, and what is there to `staging`."""
    for source, target in files:
        replaced = staging / f"replaced-{target.name}"
        if source.is_dir() and target.is_dir():  # a folder cannot be replaced at once
            target.rename(replaced)
        try:
            source.replace(target)
        except OSError:
            if replaced.exists():
                replaced.rename(target)
            raise
        sync_folder(target.parent)


def _require_place(path: Path, is_folder: bool) -> None:
    """Raises TfloopError if something is there that an export must not replace (exit code 2)."""
    is_older = (path / "saved_model.pb").is_file() or (path.is_dir() and not any(path.iterdir()))
    if os.path.lexists(path) and not (is_older if is_folder else path.is_file()):
        raise TfloopError(f"{short_path(path)} exists, and is no exported model", hint="use another `--output`")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
