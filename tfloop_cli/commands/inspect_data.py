"""`tfloop inspect data`: what a training run would read, without training."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from tfloop_cli.config.schema import Config
from tfloop_cli.data_summary import DataSummary
from tfloop_cli.engine import runtime
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.image_grid import grid, png
from tfloop_cli.engine.inspection import ImageRows, image_rows, inspect, thumbnails
from tfloop_cli.engine.inspection.images import PER_ROW
from tfloop_cli.engine.tasks import build_task, decide_task
from tfloop_cli.engine.training.setup import settle_splits
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import disk_errors, write_atomic
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.inspection import show_data

DEFAULT_IMAGE = Path("inspect-data.png")


@dataclass(frozen=True)
class Options:
    """The options of `tfloop inspect data`.

    Attributes:
        output: the file of the image grid; None for `DEFAULT_IMAGE` in the current folder.
        strict: whether findings are an error.
    """

    output: Path | None = None
    strict: bool = False


def inspect_data(config: Config, options: Options, console: Console) -> ExitCode:
    """Builds the data of a config with its splits, and prints what is in it. No run folder is created.

    Examples that cannot be read are skipped and become findings.

    Returns: DONE; DATA if there are findings and `strict` is set.
    Raises: TfloopError, exit codes: config 2, data 4, user code 7, disk 75.
    """
    if options.output and not options.output.parent.is_dir():
        raise TfloopError(f"`--output {options.output}`: there is no folder `{options.output.parent}`")
    with console.quiet_stderr():
        config = runtime.setup(config.model_copy(update={"device": "cpu", "kernels": "tensorflow"}))
    skipped: list[str] = []
    data = build_data(config, skipped.append, skip_invalid=True, progress=console.show_progress)
    config = config.model_copy(update={"task": decide_task(config.task, data.spec, console.note)})
    task = build_task(config.task, data.spec)
    config = settle_splits(task, data, config, lambda text: None, lambda text: None)  # the summary has the lines
    with data.explain_errors():
        summary = inspect(data, config, skipped)
        images = image_rows(data, config)
    show_data(console, summary if images is None else _with_images(summary, images, options.output, console))
    return ExitCode.DATA if options.strict and summary.findings else ExitCode.DONE


def _with_images(summary: DataSummary, images: ImageRows, output: Path | None, console: Console) -> DataSummary:
    """Writes the image grid, and returns the summary with its path and its first rows."""
    path, content = output or DEFAULT_IMAGE, png(grid(images.images, PER_ROW))
    summary = replace(summary, thumbnails=thumbnails(images, shutil.get_terminal_size().columns))
    try:
        with disk_errors(path):
            write_atomic(path, content)
    except TfloopError as error:
        if output:
            raise
        console.warn(f"the images are not written: {error}")
        return summary
    return replace(summary, image=str(path), rows=images.labels)
