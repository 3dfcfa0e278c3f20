"""The command line of `tfloop track`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, complete, error_handling
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)


@app.command(cls=Command)
def track(
    run: options.Run,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="TRACKER",
            autocompletion=complete("trackers"),
            help="tensorboard, mlflow, wandb, or a mapping: '{name: mlflow, uri: ...}'; can be repeated. By default "
            "those of the run's config.",
        ),
    ] = [],
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait: 90s, 30m or 1.5h.")] = "10m",
    code: options.Code = [],
    runs_dir: options.RunsDir = Path("runs"),
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Write the history of a run to experiment trackers. What a tracker already has is replaced or skipped.

    Exit with 75 if a tracker fails or is not finished in time; the run itself is not changed.

    Examples:
        tfloop track last --to tensorboard
        tfloop track last --to mlflow --to wandb
        tfloop track last --to '{name: mlflow, uri: "http://localhost:5000"}'
    """
    console = Console(quiet=quiet, json=json)
    with error_handling(console):
        from tfloop_cli.commands import track as command
        from tfloop_cli.registry import plugins
        from tfloop_cli.runs import lookup
        from tfloop_cli.thresholds import parse_seconds

        seconds = parse_seconds(timeout, "--timeout")
        found = lookup.find_run(run, runs_dir)
        plugins.load(code, console.warn)
        raise typer.Exit(command.track(found, command.Options(to, code, seconds), console))
