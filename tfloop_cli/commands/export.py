"""`tfloop export`: writes the model of a run in other formats, each compared with the run."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfloop_cli.commands.opening import open_trained_run
from tfloop_cli.engine.exporting import MAX_DROP, Exported, Listener, export
from tfloop_cli.errors import ExitCode
from tfloop_cli.signals import SignalError, raise_on_signals
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.exports import show_exports


@dataclass(frozen=True)
class Options:
    """The options of `tfloop export`.

    Attributes:
        formats: their names.
        output: the folder of the files; None for `export` in the run folder.
        quantize: "float16" or "int8"; None for float32.
        logits: whether the output is logits.
        max_drop: the largest drop of the metric.
        split, data: which examples to compare on; None for those that the run keeps.
        checkpoint: "best", "last" or a step; None for the best if there is one, else the last.
        code: the user's own modules.
        trust_code: whether to run the copies of such modules in the run folder.
        moved: where the run's data is now, as `dataset.KEY=VALUE`.
    """

    formats: list[str]
    output: Path | None = None
    quantize: str | None = None
    logits: bool = False
    max_drop: float = MAX_DROP
    split: str | None = None
    data: Path | None = None
    checkpoint: str | None = None
    code: list[Path] = field(default_factory=list)
    trust_code: bool = False
    moved: list[str] = field(default_factory=list)


def export_run(folder: Path, options: Options, console: Console) -> ExitCode:
    """Exports a run, and prints a table with one row per file.

    Args:
        folder: a run folder or a checkpoint folder.
        options: see `Options`.
        console: prints the table.

    Returns: DONE; or the code of a signal, after which no temporary file is left.
    Raises: TfloopError, exit codes: options and packages 2, metrics that drop 3, data 4, checkpoint 6, disk 75.
    """
    try:
        with raise_on_signals():
            _export(folder, options, console)
    except SignalError as stop:
        console.info("stopped")
        return stop.code
    return ExitCode.DONE


def _export(folder: Path, options: Options, console: Console) -> None:
    run = open_trained_run(
        folder,
        console,
        checkpoint=options.checkpoint,
        device="cpu",
        code=options.code,
        trust_code=options.trust_code,
        moved=options.moved,
    )
    done: list[Exported] = []
    listener = Listener(
        console.warn,
        console.note,
        console.show_progress,
        lambda name: console.info(f"exporting {name} ..."),
        done.append,
    )
    try:
        with console.quiet_stderr():
            export(
                run,
                options.formats,
                output=options.output,
                quantize=options.quantize,
                logits=options.logits,
                max_drop=options.max_drop,
                split=options.split,
                data=options.data,
                listener=listener,
            )
    finally:
        if done:
            show_exports(console, [_document(one) for one in done])


def _document(one: Exported) -> dict[str, Any]:
    facts = {"format": one.format, "quantization": one.quantization, "path": str(one.path), "bytes": one.bytes}
    return {"event": "export"} | facts | asdict(one.comparison)
