"""The command line of `tfloop config`; imports are inside of functions, as in `cli.py`."""

from typing import Annotated

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, error_handling, resolve
from tfloop_cli.errors import TfloopError
from tfloop_cli.terminal.console import Console

app = typer.Typer(help="Show, check and describe configs.", **SETTINGS)


@app.command(cls=Command)
def show(
    configs: options.ConfigArguments = None,
    config: options.Configs = [],
    set_: options.Sets = [],
    unset: options.Unsets = [],
    sources: Annotated[bool, typer.Option("--sources", help="Print the source of each value.")] = False,
    code: options.Code = [],
) -> None:
    """Print the resolved config with all defaults.

    Examples:
        tfloop config show mnist.yaml --sources
        tfloop config show mnist.yaml --set model=resnet > resnet_mnist.yaml
    """
    console = Console()
    with error_handling(console):
        from tfloop_cli.commands import config as command

        resolved = resolve(console, [*(configs or []), *config], set_, unset, code, {})
        console.result(command.show(resolved, sources))


@app.command(cls=Command)
def check(
    configs: options.ConfigArguments = None,
    config: options.Configs = [],
    set_: options.Sets = [],
    unset: options.Unsets = [],
    code: options.Code = [],
    json: options.Json = False,
) -> None:
    """Report all errors of a config at once; exit with 2 if there are any.

    Examples:
        tfloop config check my.yaml
        tfloop config check my.yaml --code my_models.py --json
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import config as command

        resolved = resolve(console, [*(configs or []), *config], set_, unset, code, {})
        document = command.check(resolved)
        for line in document["warnings"]:
            console.warn(line)
        if json:
            console.document(document)
        console.result("ok: {model} on {dataset}, {epochs} epochs".format_map(document))


@app.command(cls=Command)
def schema(
    draft: Annotated[str, typer.Option(metavar="DRAFT", help="The JSON Schema draft: 2020-12 or 07.")] = "2020-12",
    code: options.Code = [],
) -> None:
    """Print a JSON Schema of config files, for editors.

    Examples:
        tfloop config schema > tfloop.schema.json
        tfloop config schema --draft 07 --code my_models.py
    """
    console = Console()
    with error_handling(console):
        from tfloop_cli.commands import config as command
        from tfloop_cli.registry import plugins

        if draft not in ("2020-12", "07"):
            raise TfloopError(f"unknown draft `{draft}`", hint="use 2020-12 or 07")
        plugins.load(code, console.warn)
        console.result(command.schema(draft))
