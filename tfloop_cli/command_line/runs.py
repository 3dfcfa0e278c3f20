"""The command line of `tfloop runs`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, complete, error_handling
from tfloop_cli.terminal.console import Console

app = typer.Typer(help="List, show, compare and remove runs.", **SETTINGS)

Runs = Annotated[
    list[str],
    typer.Argument(metavar="RUN", autocompletion=complete("runs"), help="Run folders, names of runs, or `last`."),
]


@app.command("list", cls=Command)
def list_(
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Columns, separated by commas: name, started, status, epochs, seconds, model, dataset, seed, bytes, "
            "curve, ...; SPLIT/METRIC such as validation/accuracy, config.KEY such as config.optimizer.learning_rate.",
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Sort by a column; -COLUMN begins with the largest value.")
    ] = None,
    descending: Annotated[bool, typer.Option("--descending", help="Reverse the order of --sort.")] = False,
    where: Annotated[
        list[str],
        typer.Option(
            metavar="EXPRESSION",
            help='Show only runs with this: "validation/accuracy > 0.97", "status != failed", "name ~ resnet"; '
            "can be repeated.",
        ),
    ] = [],
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Show at most N runs.")] = None,
    runs_dir: options.RunsDir = Path("runs"),
    json: options.Json = False,
) -> None:
    """List the runs in a folder, the newest first, with their result and a curve of their validation metric.

    Examples:
        tfloop runs list --sort -test/accuracy --limit 10
        tfloop runs list --where "validation/accuracy > 0.97" --where "config.optimizer.name = adam"
        tfloop runs list --columns name,config.optimizer.learning_rate,test/loss --json
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import runs_list as command

        command.list_runs(runs_dir, command.Options(columns, sort, descending, where, limit), console)


@app.command(cls=Command)
def show(
    run: options.Run,
    runs_dir: options.RunsDir = Path("runs"),
    json: options.Json = False,
) -> None:
    """Show one run: result, curve, config, data, environment, checkpoints, and what can be done with it.

    Examples:
        tfloop runs show last
        tfloop runs show runs/mnist-20261126-101500-a1b2 --json
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import runs_show as command

        command.show(run, runs_dir, console)


@app.command(cls=Command)
def compare(
    runs: Runs,
    runs_dir: options.RunsDir = Path("runs"),
    json: options.Json = False,
) -> None:
    """Compare runs: what differs in config, data, code, versions and machine, and their metrics.

    Runs that differ in `seed` alone are grouped: the mean and the standard deviation of their metrics are shown.

    Examples:
        tfloop runs compare last mnist-20261126-101500-a1b2
        tfloop runs compare runs/seed-*
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import runs_compare as command

        command.compare(runs, runs_dir, console)


@app.command("rm", cls=Command)
def remove(
    runs: Runs,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: options.RunsDir = Path("runs"),
    json: options.Json = False,
) -> None:
    """Remove run folders with everything in them, after asking.

    A run that is training, or that another run was started from, is not removed. Links are not followed.

    Examples:
        tfloop runs rm mnist-20261126-101500-a1b2
        tfloop runs rm runs/trial-* --yes
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import runs_remove as command

        command.remove(runs, runs_dir, yes, console)
