"""The command line: options in, one call of a command out.

This is the only file with imports inside functions: what a command does not use is not imported, so that `--help` and a
wrong config answer at once, and TensorFlow is loaded by `train` and `evaluate` alone, when everything else is right.
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfloop_cli import __version__
from tfloop_cli.console import Console
from tfloop_cli.errors import ExitCode, TfloopError

if TYPE_CHECKING:
    from tfloop_cli.configfile import Resolved

app = typer.Typer(
    name="tfloop",
    help="Train TensorFlow models from one YAML file, with a training loop that you can read on one page.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time that --help takes
)
config_app = typer.Typer(help="Show, check and describe configs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")

Configs = Annotated[
    list[str],
    typer.Option(
        "--config", "-c", metavar="FILE", help="A YAML file, - for stdin, or a shipped config; later ones win."
    ),
]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one key: --set optimizer.learning_rate=3e-4.")
]
Unsets = Annotated[list[str], typer.Option("--unset", metavar="KEY", help="Take a key away: --unset model.dropout.")]
Code = Annotated[
    list[Path],
    typer.Option("--code", metavar="FILE", help="A Python file that registers models, datasets or tasks of your own."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON documents, one a line, on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; warnings, errors and results only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show TensorFlow's own messages too.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never try the network; use data that is prepared already.")]
FailUnder = Annotated[
    list[str], typer.Option("--fail-under", metavar="METRIC=X", help="Exit 3 if the metric is under X: accuracy=0.97.")
]
FailOver = Annotated[
    list[str], typer.Option("--fail-over", metavar="METRIC=X", help="Exit 3 if the metric is over X: loss=0.2.")
]


@app.command()
def train(
    config: Configs = [],
    set_: Sets = [],
    unset: Unsets = [],
    epochs: Annotated[str | None, typer.Option(metavar="N", help="Short for --set epochs=N.")] = None,
    batch_size: Annotated[str | None, typer.Option(metavar="N", help="Short for --set batch_size=N.")] = None,
    device: Annotated[str | None, typer.Option(help="Short for --set device=...: auto, cpu, gpu or gpu:N.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Short for --set seed=N.")] = None,
    name: Annotated[str | None, typer.Option(help="Short for --set name=...: the run folder's name.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run folder itself.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest run of this config, or the one in -o.")
    ] = False,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="WHICH", help="With --resume: last, best, a step or a checkpoint's path."),
    ] = None,
    max_time: Annotated[str | None, typer.Option(metavar="TIME", help="Stop and save after 90s, 30m or 1.5h.")] = None,
    fail_under: FailUnder = [],
    fail_over: FailOver = [],
    code: Code = [],
    offline: Offline = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Draw a progress bar on a terminal.")
    ] = True,
    json: Json = False,
) -> None:
    """Train a model; leaves a run folder behind and prints the test score."""
    console = Console(quiet=quiet, verbose=verbose, json=json, progress=progress)
    with reporting(console):
        from tfloop_cli import rundir
        from tfloop_cli.bars import parse_bars, parse_seconds

        short = {"epochs": epochs, "batch_size": batch_size, "device": device, "seed": seed, "name": name}
        flags = {key: value for key, value in short.items() if value is not None}
        seconds, bars = parse_seconds(max_time), parse_bars(fail_under, fail_over)
        if resume and not config and output and (output / "config.yaml").is_file():
            config = [str(output / "config.yaml")]
        resolved = resolve(console, config, set_, unset, code, flags)
        chosen, run, stem = resolved.config, None, resolved.config.name or (Path(config[-1]).stem if config else "run")
        if resume:
            from tfloop_cli import resume as going_on

            chosen, run, stem = going_on.choose(chosen, stem, output, console)
        elif from_:
            raise TfloopError("`--from` goes with `--resume`")
        elif output:
            rundir.require_free(output)
        with preparing(console, offline, verbose):
            from tfloop_cli.commands import train as command
            from tfloop_cli.commands.opening import Options
        options = Options(stem, output, run, from_, seconds, bars, code)
        raise typer.Exit(command.train(chosen, options, console))


@app.command()
def evaluate(
    what: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, a checkpoint folder, a run's name, or `last`.")
    ],
    split: Annotated[str, typer.Option(help="test, validation, train, or another split of the dataset.")] = "test",
    checkpoint: Annotated[
        str | None, typer.Option(metavar="WHICH", help="best, last or a step; by default the best, where there is one.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, gpu or gpu:N.")] = "auto",
    fail_under: FailUnder = [],
    fail_over: FailOver = [],
    code: Code = [],
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the copy of user code in the run folder.")
    ] = False,
    runs_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where runs are kept.")] = Path("runs"),
    offline: Offline = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Score a run's weights on a split: loss, accuracy, each class, the most confused pairs."""
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with reporting(console):
        from tfloop_cli import rundir
        from tfloop_cli.bars import parse_bars

        bars = parse_bars(fail_under, fail_over)
        folder = rundir.find(what, runs_dir)
        with preparing(console, offline, verbose):
            from tfloop_cli.commands import evaluate as command
        options = command.Options(split, device, checkpoint, bars, code, trust_code)
        raise typer.Exit(command.evaluate(folder, options, console))


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="datasets, models, tasks, optimizers, schedules, augmentations or configs.")
    ],
    code: Code = [],
    json: Json = False,
) -> None:
    """List what a config may name, with arguments and defaults."""
    console = Console()
    with reporting(console):
        from tfloop_cli import plugins
        from tfloop_cli.commands import list as command

        plugins.load(code)
        console.result(command.list_components(kind, json))


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that no running process uses.")] = False,
    json: Json = False,
) -> None:
    """Show or clear the cache of decoded data."""
    console = Console(json=json)
    with reporting(console):
        from tfloop_cli.commands import cache as command

        document = command.cache(clear)
        if json:
            console.document(document)
        console.result(command.describe(document, clear))


@config_app.command()
def show(
    config: Configs = [],
    set_: Sets = [],
    unset: Unsets = [],
    sources: Annotated[bool, typer.Option("--sources", help="Say where each value came from.")] = False,
    code: Code = [],
) -> None:
    """Print the resolved config, every default in it."""
    console = Console()
    with reporting(console):
        from tfloop_cli.commands import config as command

        console.result(command.show(resolve(console, config, set_, unset, code, {}), sources))


@config_app.command()
def check(config: Configs = [], set_: Sets = [], unset: Unsets = [], code: Code = [], json: Json = False) -> None:
    """Report every error of a config at once; exit 2 if there is one."""
    console = Console(json=json)
    with reporting(console):
        from tfloop_cli.commands import config as command

        console.result(command.check(resolve(console, config, set_, unset, code, {})))


@config_app.command()
def schema(code: Code = []) -> None:
    """Print a JSON Schema of configs, for editors."""
    console = Console()
    with reporting(console):
        from tfloop_cli import plugins
        from tfloop_cli.commands import config as command

        plugins.load(code)
        console.result(command.schema())


@app.callback(invoke_without_command=True)
def about(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Train TensorFlow models from one YAML file, with a training loop that you can read on one page."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@contextmanager
def reporting(console: Console) -> Iterator[None]:
    """Turns an error that the user can mend into its message and its exit code."""
    try:
        yield
    except TfloopError as error:
        console.error(error)
        raise typer.Exit(error.code) from None
    except KeyboardInterrupt:  # before the training, or in a command that has nothing to save
        console.say("stopped")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def resolve(
    console: Console, configs: list[str], sets: list[str], unsets: list[str], code: list[Path], flags: dict[str, str]
) -> "Resolved":
    """The config that files and options make together, checked; says which shipped config was taken."""
    from tfloop_cli import configfile, plugins

    if not configs and not sets:
        names = ", ".join(configfile.shipped_names())
        raise TfloopError("no config is given", hint=f"`--config FILE`, or one that tfloop ships: {names}")
    with console.quiet_stderr():  # code that cannot be read without running it may import TensorFlow
        plugins.load(code)
    resolved = configfile.load(configs, sets=sets, unsets=unsets, flags=flags, stdin=sys.stdin)
    for note in resolved.notes:
        console.note(note)
    return resolved


@contextmanager
def preparing(console: Console, offline: bool, verbose: bool) -> Iterator[None]:
    """To import TensorFlow in: sets what it and the data sources read from the environment, and hushes it.

    An import makes half a million objects that stay. Python's collector would look through all of them several times
    meanwhile, and once more, for a quarter of a second, somewhere in the training.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0" if verbose else "3"
    if offline:
        os.environ["TFLOOP_OFFLINE"] = "1"
    gc.disable()
    try:
        with console.quiet_stderr():
            yield
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """Runs the command line and ends the process."""
    app()
