"""The command line of `tfloop reproduce`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, error_handling, loading_tensorflow, resolve
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)


@app.command(cls=Command)
def reproduce(
    run: options.Run,
    set_: options.Sets = [],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR",
            help="The folder of the new run, empty or new; by default RUN-reproduced in --runs-dir.",
        ),
    ] = None,
    code: options.Code = [],
    trust_code: options.TrustCode = False,
    runs_dir: options.RunsDir = Path("runs"),
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = True,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Train a run again from its own config and code, and compare the weights and metrics bit by bit.

    Exit with 3 if they differ, and show which versions, instruction sets, threads and the like do too. A run that was
    stopped is repeated up to its last completed epoch.

    Examples:
        tfloop reproduce last
        tfloop reproduce runs/mnist-20261126-101500-a1b2 --trust-code --json
    """
    console = Console(quiet=quiet, verbose=verbose, json=json, progress=progress)
    with error_handling(console):
        from tfloop_cli.commands import reproduction
        from tfloop_cli.runs.lookup import code_of_run

        prepared = reproduction.prepare(run, runs_dir, output)
        files, only = code_of_run(prepared.record.run, code, trust_code)
        resolved = resolve(console, [str(prepared.record.run.config)], set_, [], files, {}, only)
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands.train import train
        exit_code = train(resolved.config, prepared.train_options(resolved.sources, files), console)
        raise typer.Exit(exit_code or reproduction.report(prepared, console))
