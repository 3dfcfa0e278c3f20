"""The command line of `tfloop predict`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, error_handling, loading_tensorflow
from tfloop_cli.errors import TfloopError
from tfloop_cli.terminal.console import Console

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT", show_default=False,
        help="Image files, folders of them, tables, .txt files, .npy or .npz files, patterns; or - for lines of JSON.",
    ),
]  # fmt: skip
Split = Annotated[
    str | None,
    typer.Option(
        metavar="SPLIT", autocompletion=options.complete("splits"), help="A split of the run's data in place of INPUT."
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write all to a .csv, .jsonl or .parquet file.")
]
Top = Annotated[int, typer.Option(metavar="K", min=1, help="Show the K most probable classes.")]
Probabilities = Annotated[bool, typer.Option("--probabilities", help="Add the probability of each class.")]
Keep = Annotated[list[str], typer.Option(metavar="COLUMN", help="Copy a column of the inputs; can be repeated.")]
BatchSize = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Inputs that the model sees at once; by default as the run.")
]

app = typer.Typer(**SETTINGS)


@app.command(cls=Command)
def predict(
    run: options.RunOrCheckpoint,
    inputs: Inputs = None,
    split: Split = None,
    set_: options.MovedData = [],
    output: Output = None,
    top: Top = 1,
    probabilities: Probabilities = False,
    keep: Keep = [],
    checkpoint: options.Checkpoint = None,
    device: options.EvaluationDevice = "auto",
    batch_size: BatchSize = None,
    code: options.Code = [],
    trust_code: options.TrustCode = False,
    runs_dir: options.RunsDir = Path("runs"),
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = True,
    json: options.Json = False,
) -> None:
    """Predict classes or numbers for new inputs: image files, rows of tables, texts, arrays.

    Inputs are encoded as those of training; a table needs no column of targets. An input that cannot be used has an
    error in its row. Exit with 4 if there is one.

    Examples:
        tfloop predict last photos/ --top 3
        tfloop predict last new.csv --output predictions.csv --keep id
        echo '{"text": "well done"}' | tfloop predict last -
    """
    console = Console(quiet=quiet, verbose=verbose, json=json, progress=progress)
    with error_handling(console):
        from tfloop_cli.commands.prediction_file import check_output
        from tfloop_cli.config.data_paths import paths_of
        from tfloop_cli.runs import folder

        given = inputs or []
        if bool(given) == bool(split):
            hint = "name files, `-` for stdin, or a split of the run's data: `--split test`"
            raise TfloopError("both inputs and `--split` are given" if split else "no input is given", hint=hint)
        if "-" in given and len(given) > 1:
            raise TfloopError("`-` (stdin) cannot be used together with other inputs")
        if keep and split:
            raise TfloopError("`--keep` copies columns of inputs, and a split has none")
        for name in given:
            if name != "-":
                paths_of(name)  # whether it exists is known before TensorFlow is loaded
        if output:
            check_output(output)
        path = folder.find(run, runs_dir, console.warn)
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands import predict as command
        how = command.Options(
            given, split, output, top, probabilities, keep, batch_size, checkpoint, device, code, trust_code, set_
        )
        raise typer.Exit(command.run(path, how, console))
