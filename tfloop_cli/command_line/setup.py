"""The command line of `init`, `doctor` and `explain`; imports are inside of functions, as in `cli.py`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, complete, error_handling, resolve
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)


@app.command(cls=Command)
def init(
    preset: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET",
            autocompletion=complete("configs"),
            help="A built-in config (`tfloop list configs`); by default the one that suits the data, else mnist.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="Your data: a folder, or a .csv, .parquet, .npz, ... file.")
    ] = None,
    dataset: options.DatasetName = None,
    target: options.Target = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write, which must not exist.")
    ] = Path("tfloop.yaml"),
    schema: Annotated[
        bool, typer.Option("--schema/--no-schema", help="Write tfloop.schema.json next to it, for your editor.")
    ] = True,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Write a commented config that trains as it is, on your data or like a built-in config.

    Examples:
        tfloop init --data houses.csv --target price
        tfloop init --data photos -o photos.yaml
        tfloop init mnist_best
    """
    console = Console(quiet=quiet, json=json)
    with error_handling(console):
        from tfloop_cli.commands import init as command
        from tfloop_cli.config.data_paths import is_data

        if preset and data is None and is_data(preset):
            preset, data = None, preset
        name = preset.removesuffix(".yaml") if preset else None
        document = command.init(command.Options(name, data, dataset, target, output, schema), console)
        if json:
            console.document(document)
        console.result(command.describe(document))
        console.info(f"next: tfloop train {shlex.quote(document['file'])}")


@app.command(cls=Command)
def doctor(
    speed_test: Annotated[
        bool, typer.Option("--speed-test/--no-speed-test", help="Measure the speed of training, for about 10 seconds.")
    ] = True,
    json: options.Json = False,
) -> None:
    """Show what tfloop finds on this machine, and what is wrong; exit with 2 if training is impossible.

    Examples:
        tfloop doctor
        tfloop doctor --no-speed-test --json
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import doctor as command

        raise typer.Exit(command.doctor(console, speed_test))


@app.command(cls=Command)
def explain(
    word: Annotated[
        str,
        typer.Argument(
            metavar="CODE|KEY",
            autocompletion=complete("explained"),
            help="An exit code, or a config key: 75, checkpoint.keep, optimizer.learning_rate.",
        ),
    ],
    config: options.Configs = [],
    set_: options.Sets = [],
    code: options.Code = [],
    json: options.Json = False,
) -> None:
    """Explain an exit code or a config key: its type, default and, in a config, where it was set.

    Examples:
        tfloop explain 75
        tfloop explain checkpoint.keep
        tfloop explain optimizer.learning_rate -c mnist.yaml
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import explain as command
        from tfloop_cli.registry import plugins

        plugins.load(code, console.warn)
        resolved = resolve(console, config, set_, [], code, {}) if config or set_ else None
        document = command.explain(word, resolved)
        if json:
            console.document(document)
        console.result(command.describe(document))
