"""The command line of `tfloop inspect`; imports are inside of functions, as in `cli.py`."""

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, error_handling, loading_tensorflow, resolve, with_data
from tfloop_cli.errors import TfloopError
from tfloop_cli.terminal.console import Console

app = typer.Typer(help="Look at data before training.", **SETTINGS)


@app.callback()
def about() -> None:
    """Makes `data` a command of its own: an app with a single command would have no name for it."""


@app.command(cls=Command)
def data(
    sources: options.Sources = None,
    config: options.Configs = [],
    dataset: options.DatasetName = None,
    target: options.Target = None,
    set_: options.Sets = [],
    unset: options.Unsets = [],
    output: options.Image = None,
    strict: options.Strict = False,
    code: options.Code = [],
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json: options.Json = False,
) -> None:
    """Show splits, classes, columns and examples of data as training sees them, and what is likely to be wrong.

    Examples:
        tfloop inspect data houses.csv --target price
        tfloop inspect data photos --output photos.png
        tfloop inspect data my.yaml --strict
    """
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with error_handling(console):
        if not (sources or config or dataset or set_):
            raise TfloopError("no data is given", hint="name a config, a data file or a folder; or `--dataset NAME`")
        given = with_data(sources or [], config, dataset, target, set_)
        resolved = resolve(console, given.configs, given.sets, unset, code, {})
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands import inspect_data as command
        raise typer.Exit(command.inspect_data(resolved.config, command.Options(output, strict), console))
