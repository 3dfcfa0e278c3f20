"""The command line: parses options and calls one function of a command.

Imports are inside of functions: a command imports only what it needs, so that `--help` and a wrong config respond at
once. Only `train` and `evaluate` load TensorFlow, after everything else was validated.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tfloop_cli import __version__
from tfloop_cli.commands.shared import (
    Code,
    Command,
    ConfigArguments,
    Configs,
    FailOver,
    FailUnder,
    Json,
    Offline,
    Quiet,
    Sets,
    Unsets,
    Verbose,
    complete,
    error_handling,
    loading_tensorflow,
    resolve,
    shortcut,
)
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.streams import ignore_errors

DESCRIPTION = "Train TensorFlow models from one YAML file, with a training loop that you can read on one page."


SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # rich would double the time of --help
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(name="tfloop", help=DESCRIPTION, **SETTINGS)
config_app = typer.Typer(help="Show, check and describe configs.", **SETTINGS)
app.add_typer(config_app, name="config")


@app.command(cls=Command)
def train(
    configs: ConfigArguments = None,
    config: Configs = [],
    set_: Sets = [],
    unset: Unsets = [],
    epochs: Annotated[str | None, shortcut("epochs=N")] = None,
    batch_size: Annotated[str | None, shortcut("batch_size=N")] = None,
    device: Annotated[str | None, shortcut("device=DEVICE", " auto, cpu, gpu or gpu:N.", "devices")] = None,
    seed: Annotated[str | None, shortcut("seed=N")] = None,
    name: Annotated[str | None, shortcut("name=NAME", " the name of the run folder.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The run folder; empty or new, unless --resume is used."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the newest run of this config, or the run in -o.")
    ] = False,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="CHECKPOINT", help="With --resume: last, best, a step or the path of a checkpoint."
        ),
    ] = None,
    max_time: Annotated[str | None, typer.Option(metavar="TIME", help="Stop and save after 90s, 30m or 1.5h.")] = None,
    fail_under: FailUnder = [],
    fail_over: FailOver = [],
    code: Code = [],
    offline: Offline = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show a progress bar on a terminal.")
    ] = True,
    json: Json = False,
) -> None:
    """Train a model, evaluate it on the test split, and write a run folder."""
    console = Console(quiet=quiet, verbose=verbose, json=json, progress=progress)
    config = [*(configs or []), *config]
    with error_handling(console):
        from tfloop_cli.runs.resume import select_run
        from tfloop_cli.runs.start import TrainOptions
        from tfloop_cli.thresholds import parse_seconds, parse_thresholds

        shortcuts = {"epochs": epochs, "batch_size": batch_size, "device": device, "seed": seed, "name": name}
        flags = {key: value for key, value in shortcuts.items() if value is not None}
        seconds, thresholds = parse_seconds(max_time), parse_thresholds(fail_under, fail_over)
        if resume and not config and output and (output / "config.yaml").is_file():
            config = [str(output / "config.yaml")]
        resolved = resolve(console, config, set_, unset, code, flags)
        prefix = resolved.config.name or (Path(config[-1]).stem if config else "run")
        if from_ and not resume:
            raise TfloopError("`--from` requires `--resume`")
        chosen, run = select_run(resolved.config, prefix, output, resume, console.info, console.note)
        prefix = run.name_prefix() if run else prefix
        options = TrainOptions(prefix, output, run, from_, seconds, thresholds, code)
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands import train as command
        raise typer.Exit(command.train(chosen, options, console))


@app.command(cls=Command)
def evaluate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", autocompletion=complete("runs"),
            help="A run folder, a checkpoint folder, the name of a run, or `last`.",
        ),
    ],
    split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT", autocompletion=complete("splits"), help="test, validation, train, or another split."
        ),
    ] = "test",
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="best, last or a step; by default the best, if there is one."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", autocompletion=complete("devices"), help="auto, cpu, gpu or gpu:N.")
    ] = "auto",
    fail_under: FailUnder = [],
    fail_over: FailOver = [],
    code: Code = [],
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the copy of user code in the run folder.")
    ] = False,
    runs_dir: Annotated[Path, typer.Option(metavar="DIR", help="The parent folder of all runs.")] = Path("runs"),
    offline: Offline = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Evaluate a run on a split: loss, accuracy, one row per class, the most confused classes."""
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with error_handling(console):
        from tfloop_cli.runs import folder
        from tfloop_cli.thresholds import parse_thresholds

        thresholds = parse_thresholds(fail_under, fail_over)
        path = folder.find(run, runs_dir)
        with loading_tensorflow(console, offline, verbose):
            from tfloop_cli.commands import evaluate as command
        options = command.Options(split, device, checkpoint, thresholds, code, trust_code)
        raise typer.Exit(command.evaluate(path, options, console))


@app.command("list", cls=Command)
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            autocompletion=complete("kinds"),
            help="datasets, models, tasks, optimizers, schedules, augmentations or configs.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", autocompletion=complete("components"), help="One of them, in detail."),
    ] = None,
    code: Code = [],
    json: Json = False,
) -> None:
    """List the components for configs, with arguments, defaults and descriptions."""
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import list as command
        from tfloop_cli.registry import plugins

        plugins.load(code, console.warn)
        Console().result(command.list_components(kind, name, json))


@app.command(cls=Command)
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all entries that no running process uses.")] = False,
    json: Json = False,
) -> None:
    """Show or clear the disk cache of decoded data."""
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import cache as command

        document = command.cache(clear)
        if json:
            console.document(document)
        console.result(command.describe(document, clear))


@app.command(cls=Command)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print a shell completion script: eval "$(tfloop completion bash)"."""
    console = Console()
    with error_handling(console):
        from tfloop_cli.commands import completion as command

        console.result(command.script(shell))


@config_app.command(cls=Command)
def show(
    configs: ConfigArguments = None,
    config: Configs = [],
    set_: Sets = [],
    unset: Unsets = [],
    sources: Annotated[bool, typer.Option("--sources", help="Print the source of each value.")] = False,
    code: Code = [],
) -> None:
    """Print the resolved config with all defaults."""
    console = Console()
    with error_handling(console):
        from tfloop_cli.commands import config as command

        resolved = resolve(console, [*(configs or []), *config], set_, unset, code, {})
        console.result(command.show(resolved, sources))


@config_app.command(cls=Command)
def check(
    configs: ConfigArguments = None,
    config: Configs = [],
    set_: Sets = [],
    unset: Unsets = [],
    code: Code = [],
    json: Json = False,
) -> None:
    """Report all errors of a config at once; exit with 2 if there are any."""
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import config as command

        console.result(command.check(resolve(console, [*(configs or []), *config], set_, unset, code, {})))


@config_app.command(cls=Command)
def schema(
    draft: Annotated[str, typer.Option(metavar="DRAFT", help="The JSON Schema draft: 2020-12 or 07.")] = "2020-12",
    code: Code = [],
) -> None:
    """Print a JSON Schema of config files, for editors."""
    console = Console()
    with error_handling(console):
        from tfloop_cli.commands import config as command
        from tfloop_cli.registry import plugins

        if draft not in ("2020-12", "07"):
            raise TfloopError(f"unknown draft `{draft}`", hint="use 2020-12 or 07")
        plugins.load(code, console.warn)
        console.result(command.schema(draft))


@app.callback(invoke_without_command=True, help=DESCRIPTION)
def about(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Handle the options before a command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Runs the command line and exits the process."""
    if "_TFLOOP_COMPLETE" in os.environ:
        from tfloop_cli.commands import completion as command

        command.prepare()
    ignore_errors("stderr")
    if sys.argv[1:2] in (["train"], ["resume"]):  # the run goes on without a screen
        ignore_errors("stdout")
    try:
        app()
    except OSError as error:  # `--help` and `--version` print without a console
        typer.echo(f"error: stdout: {error.strerror}", err=True)
        raise SystemExit(ExitCode.TRY_AGAIN) from None
