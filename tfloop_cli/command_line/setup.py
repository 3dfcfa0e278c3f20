"""The command line of `init`, `doctor` and `explain`; imports are inside of functions, as in `cli.py`."""

from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, complete, error_handling, resolve
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)


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
    """Explain an exit code or a config key: its type, default and, in a config, where it was set."""
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
