"""The command line of `tfloop inspect`; imports are inside of functions, as in `cli.py`."""

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, error_handling, loading_tensorflow, resolve
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
    """Show splits, classes, columns and examples of data as training sees them, and what is likely to be wrong."""
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with error_handling(console):
        from tfloop_cli.config.data_paths import data_layers, is_data, lacks_target

        paths = [one for one in sources or [] if is_data(one)]
        configs = [*(one for one in sources or [] if one not in paths), *config]
        if len(paths) > 1:
            raise TfloopError(f"data is named twice: {paths[0]} and {paths[1]}", hint="several files are a pattern")
        if not (paths or configs or dataset or set_):
            raise TfloopError("no data is given", hint="name a config, a data file or a folder; or `--dataset NAME`")
        path = paths[0] if paths else None
        presets, sets = data_layers(path, dataset, target, preset=not configs)
        if path and lacks_target([*sets, *set_], configs):
            with loading_tensorflow(console, offline, verbose):
                from tfloop_cli.commands import inspect_data as command
            raise command.unknown_target(path)
        resolved = resolve(console, [*presets, *configs], [*sets, *set_], unset, code, {})
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands import inspect_data as command
        raise typer.Exit(command.inspect_data(resolved.config, command.Options(output, strict), console))
