"""The command line of `tfloop export`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, complete, error_handling, loading_tensorflow
from tfloop_cli.errors import TfloopError
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)

Formats = Annotated[
    list[str],
    typer.Option(
        "--format", "-f", metavar="FORMAT", autocompletion=complete("formats"),
        help="keras, saved_model, litert, onnx or openvino; can be repeated.",
    ),
]  # fmt: skip
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="The folder of the files; by default `export` in the run folder."
    ),
]
Quantize = Annotated[
    str | None, typer.Option(metavar="KIND", help="Of LiteRT: float16 (weights) or int8 (weights and values).")
]
Logits = Annotated[bool, typer.Option("--logits", help="Return logits in place of probabilities.")]
MaxDrop = Annotated[
    float,
    typer.Option(min=0, metavar="X", help="Exit with 3 and write no file if accuracy (or R2) is lower by more than X."),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="SPLIT", autocompletion=complete("splits"),
        help="Compare on up to 1,000 examples of it, in place of those that the run keeps.",
    ),
]  # fmt: skip
DataPath = Annotated[
    Path | None, typer.Option("--data", metavar="PATH", help="Compare on up to 1,000 examples of this file or folder.")
]


@app.command(cls=Command)
def export(
    run: options.RunOrCheckpoint,
    formats: Formats,
    output: Output = None,
    quantize: Quantize = None,
    logits: Logits = False,
    max_drop: MaxDrop = 0.005,
    split: Split = None,
    data: DataPath = None,
    set_: options.MovedData = [],
    checkpoint: options.Checkpoint = None,
    code: options.Code = [],
    trust_code: options.TrustCode = False,
    runs_dir: options.RunsDir = Path("runs"),
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json: options.Json = False,
) -> None:
    """Write the model of a run in other formats, each compared with the run on real examples before it is kept.

    A file takes what the run's dataset has, such as uint8 images or numbers of a table, for any number of examples. It
    returns `probabilities` (or `logits`) of the classes, whose names are in the file, or `prediction`: numbers in the
    target's units. It needs no tfloop.

    Exit with 2 if a package is missing or the format cannot have this model, and with 3 over --max-drop.

    Examples:
        tfloop export last --format onnx
        tfloop export last -f keras -f saved_model
        tfloop export last --format litert --quantize int8 --split test
    """
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with error_handling(console):
        from tfloop_cli.config.data_paths import paths_of
        from tfloop_cli.export_formats import check_formats
        from tfloop_cli.runs import folder

        check_formats(formats, quantize)
        if split and data:
            raise TfloopError("`--split` and `--data` exclude each other")
        if data:
            paths_of(str(data))
        if output and output.exists() and not output.is_dir():
            raise TfloopError(f"{output} exists, and is no folder", hint="use another `--output`")
        path = folder.find(run, runs_dir, console.warn)
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands import export as command
        how = command.Options(
            formats, output, quantize, logits, max_drop, split, data, checkpoint, list(code), trust_code, set_
        )
        raise typer.Exit(command.export_run(path, how, console))
