"""The command line of `tfloop lr-find`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, error_handling, loading_tensorflow, resolve, with_data
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)


@app.command("lr-find", cls=Command)
def lr_find(
    sources: options.TrainSources = None,
    config: options.Configs = [],
    dataset: options.DatasetName = None,
    target: options.Target = None,
    set_: options.Sets = [],
    unset: options.Unsets = [],
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    low: Annotated[float, typer.Option("--min", metavar="X", help="The first learning rate.")] = 1e-7,
    high: Annotated[float, typer.Option("--max", metavar="X", help="The last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(metavar="N", help="The number of training steps.")] = 100,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Also draw the curve into a file.")] = None,
    code: options.Code = [],
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json: options.Json = False,
) -> None:
    """Find a learning rate: train some steps at growing rates, and show the loss. Nothing is kept.

    Examples:
        tfloop lr-find mnist.yaml
        tfloop lr-find houses.csv --target price
    """
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with error_handling(console):
        flags = {"batch_size": batch_size, "device": device}
        given = with_data(sources or [], config, dataset, target, set_)
        resolved = resolve(console, given.configs, given.sets, unset, code, flags)
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands import lr_find as command
        raise typer.Exit(command.lr_find(resolved.config, command.Options(low, high, steps, png), console))
