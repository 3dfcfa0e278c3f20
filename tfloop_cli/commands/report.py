"""`tfloop report`: one HTML page about a run, or about several beside each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfloop_cli.config.data_paths import paths_of
from tfloop_cli.errors import TfloopError
from tfloop_cli.files import disk_errors, read_file, write_atomic
from tfloop_cli.report import page, plots
from tfloop_cli.report.blocks import Omitted
from tfloop_cli.report.importance import PART, Importance, why_unknown
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.runs.documents import Document
from tfloop_cli.runs.records import find_record
from tfloop_cli.terminal.console import Console

Columns = Importance | Omitted  # the importance of the columns of a table, or why it is not known
FILE = "report.html"  # in the folder of the run; of several runs, in the current folder


@dataclass(frozen=True)
class Options:
    """The options of `tfloop report`.

    Attributes:
        output: the HTML file; None for `FILE`.
        png: whether to write PNG files beside it.
        importance: whether to compute the importance of the columns of a table, which loads the model.
        data: a file or folder that the report shows in place of the test split, which loads the model.
    """

    output: Path | None = None
    png: bool = False
    importance: bool = True
    data: Path | None = None


def read_runs(names: Sequence[str], runs_dir: Path, options: Options) -> list[ReportedRun]:
    """Returns the runs, after checking that the report can be written.

    Raises:
        TfloopError: there is no such run, another version has written it, `--data` is used with several runs, `--png`
            without matplotlib, or the output is a file that is no report (exit code 2); there is no such
            data (exit code 4).
    """
    records = [find_record(name, runs_dir) for name in names]
    for record in records:
        if record.status.startswith("schema"):
            raise TfloopError(f"{record.run}: {record.problem}", hint="use the version of tfloop that has written it")
    if options.data and len(records) > 1:
        raise TfloopError("`--data` is for one run", hint="write one report per run")
    if options.data:
        paths_of(str(options.data))
    if options.png:
        plots.figure_class()
    runs = [ReportedRun.read(record) for record in records]
    require_report(target(runs, options))
    return runs


def target(runs: Sequence[ReportedRun], options: Options) -> Path:
    """Returns where the report is written."""
    if options.output:
        return options.output
    if options.data:
        name = re.sub(r"[^\w.-]+", "-", options.data.resolve().stem)  # a pattern has `*`
        return runs[0].record.run.path / f"report-{name}.html"
    return runs[0].record.run.path / FILE if len(runs) == 1 else Path(FILE)


def require_report(path: Path) -> None:
    """Raises TfloopError if a file is in the way that is no report, or if `path` is a folder (exit code 2)."""
    if path.is_dir():
        raise TfloopError(f"{path} is a folder", hint=f"name a file: `--output {path / FILE}`")
    try:
        ours = read_file(path).startswith(page.MARK)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise TfloopError(f"{path} exists, and is no report of tfloop", hint="use another name: `--output FILE`")


def unknown_importance(runs: Sequence[ReportedRun], options: Options) -> Omitted | None:
    """Returns why the importance of columns is not computed; None if it needs the model."""
    if len(runs) > 1 or not options.importance:
        return Omitted(PART, "it was not asked for")
    if not runs[0].record.run.has_checkpoint():
        return Omitted(PART, "the run has no checkpoint")
    return why_unknown(runs[0])


def write_report(runs: Sequence[ReportedRun], options: Options, importance: Columns) -> Document:
    """Writes the page and the PNG files.

    Args:
        runs: one, or several to compare.
        options: see `Options`.
        importance: of the columns of a table, or why it is not known.

    Returns:
        What `--json` prints: where the files are, and what was omitted.

    Raises:
        TfloopError: a disk error (exit code 2 or 75).
    """
    path = target(runs, options)
    made = page.one_run(runs[0], importance) if len(runs) == 1 else page.several_runs(runs)
    images = {}
    if options.png:
        images = plots.plots(runs[0]) if len(runs) == 1 else plots.plots_of_several(runs)
    files = {path.with_name(f"{path.stem}-{name}.png"): content for name, content in images.items()}
    with disk_errors(path):
        for file, content in files.items():
            write_atomic(file, content)
        write_atomic(path, made.html)
    return {
        "event": "report",
        "file": str(path),
        "bytes": len(made.html),
        "runs": [str(run.record.run) for run in runs],
        "data": str(options.data) if options.data else None,
        "images": list(map(str, files)),
        "omitted": [{"part": one.part, "why": one.why} for one in made.omitted],
    }


def show(written: Document, console: Console) -> None:
    """Prints what `write_report` returns."""
    for one in written["omitted"]:
        console.info(f"omitted: {one['part']}: {one['why']}")
    if console.json:
        console.document(written)
    for file in (*written["images"], written["file"]):
        console.result(file)
