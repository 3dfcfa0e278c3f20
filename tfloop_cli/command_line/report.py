"""The command line of `tfloop report`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, complete, error_handling, loading_tensorflow
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)


@app.command(cls=Command)
def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", autocompletion=complete("runs"), help="Run folders, or names of runs."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE",
            help="The HTML file; by default report.html in the run folder, of several runs in the current folder.",
        ),
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="Also write curves and confusion matrix as PNG files next to it (matplotlib).")
    ] = False,
    importance: Annotated[
        bool,
        typer.Option(
            "--importance/--no-importance",
            help="Compute the importance of the columns of a table, which loads the model.",
        ),
    ] = True,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Show a file or folder, with targets, in place of the test split; this loads the model.",
        ),
    ] = None,
    code: options.Code = [],
    trust_code: options.TrustCode = False,
    runs_dir: options.RunsDir = Path("runs"),
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Write one HTML page about a run: result, curves, classes, worst mistakes, config, data. Of several: a comparison.

    Examples:
        tfloop report last
        tfloop report last --output result.html --png
        tfloop report last --data new.csv
        tfloop report runs/adam runs/sgd --output compared.html
    """
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with error_handling(console):
        from tfloop_cli.commands import report as command

        how = command.Options(output, png, importance, data)
        found = command.read_runs(runs, runs_dir, how)
        if data:
            with loading_tensorflow(console, True, verbose):
                from tfloop_cli.commands import report_data
            opened = report_data.open_run(found[0], data, console, code, trust_code)
            found = [report_data.with_data(found[0], opened, data, console)]
        columns: command.Columns | None = command.unknown_importance(found, how)
        if columns is None and data:
            columns = report_data.importance(found[0], opened)
        elif columns is None:
            with loading_tensorflow(console, True, verbose):
                from tfloop_cli.commands.column_importance import column_importance
            columns = column_importance(found[0], console, code, trust_code)
        command.show(command.write_report(found, how, columns), console)
