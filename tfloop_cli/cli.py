"""The command line: parses options and calls one function of a command.

Imports are inside of functions: a command imports only what it needs, so that `--help` and a wrong config respond at
once. Commands that train or need a model or data load TensorFlow, after everything else was validated.
"""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from tfloop_cli import __version__
from tfloop_cli.command_line import config as config_commands
from tfloop_cli.command_line import evaluate, export, inspect, lr_find, predict, reproduce, runs, setup, track
from tfloop_cli.command_line import report as report_command
from tfloop_cli.commands import options
from tfloop_cli.commands.shared import (
    SETTINGS,
    Command,
    complete,
    error_handling,
    loading_tensorflow,
    resolve,
    start_training,
    with_data,
)
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.streams import ignore_errors

DESCRIPTION = "Train TensorFlow models from one YAML file, with a training loop that you can read on one page."

app = typer.Typer(name="tfloop", help=DESCRIPTION, **SETTINGS)
app.add_typer(evaluate.app)
app.add_typer(export.app)
app.add_typer(inspect.app, name="inspect")
app.add_typer(lr_find.app)
app.add_typer(predict.app)
app.add_typer(report_command.app)
app.add_typer(runs.app, name="runs")
app.add_typer(reproduce.app)
app.add_typer(setup.app)
app.add_typer(track.app)
app.add_typer(config_commands.app, name="config")


@app.command(cls=Command)
def train(
    sources: options.TrainSources = None,
    config: options.Configs = [],
    dataset: options.DatasetName = None,
    target: options.Target = None,
    set_: options.Sets = [],
    unset: options.Unsets = [],
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    seed: options.Seed = None,
    name: options.Name = None,
    limit_train_batches: options.LimitTrainBatches = None,
    limit_validation_batches: options.LimitValidationBatches = None,
    overfit_batches: options.OverfitBatches = None,
    dry_run: options.DryRun = False,
    profile: options.Profile = 0,
    output: options.Output = None,
    resume: options.Resume = False,
    from_: options.From = None,
    max_time: options.MaxTime = None,
    fail_under: options.FailUnder = [],
    fail_over: options.FailOver = [],
    report: options.Report = False,
    junit: options.Junit = None,
    summary: options.Summary = None,
    github_summary: options.GithubSummary = False,
    code: options.Code = [],
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = True,
    json: options.Json = False,
) -> None:
    """Train a model, evaluate it on the test split, and write a run folder.

    Examples:
        tfloop train mnist.yaml --epochs 2
        tfloop train houses.csv --target price
        tfloop train photos --set model=resnet
    """
    console = Console(quiet=quiet, verbose=verbose, json=json, progress=progress)
    with error_handling(console):
        from tfloop_cli.ci import report_for
        from tfloop_cli.runs import lookup
        from tfloop_cli.runs.start import TrainOptions
        from tfloop_cli.thresholds import parse_seconds, parse_thresholds

        seconds, thresholds = parse_seconds(max_time), parse_thresholds(fail_under, fail_over)
        for_ci = report_for("tfloop train", thresholds, junit, summary, github_summary)
        with nullcontext() if dry_run else for_ci:  # a wrong config is an error in the report too
            if from_ and not resume:
                raise TfloopError("`--from` requires `--resume`", hint=lookup.resume_hint(from_))
            named = lookup.require_run_or_free(output, resume) if output else None
            if (dataset or target) and not (sources or config):
                raise TfloopError("no data is given", hint="name a data file or a folder, or a config")
            given = with_data(sources or [], config, dataset, target, set_)
            config = given.configs or ([str(named.config)] if named else [])
            flags = {"epochs": epochs, "batch_size": batch_size, "device": device, "seed": seed, "name": name}
            flags |= {"limit_train_batches": limit_train_batches, "overfit_batches": overfit_batches}
            flags |= {"limit_validation_batches": limit_validation_batches}
            resolved = resolve(console, config, given.sets, unset, code, flags)
            chosen, origins = resolved.config, resolved.sources
            if dry_run:
                with loading_tensorflow(console, offline, verbose):
                    from tfloop_cli.commands import dry_run as command
                raise typer.Exit(command.dry_run(chosen, console))
            prefix = lookup.prefix_of(chosen, [given.name] if given.name else config)
            how = TrainOptions(
                prefix, output, named, from_, seconds, thresholds, profile, (for_ci,), code=code, sources=origins
            )
            if resume:
                chosen, how = lookup.select_run(chosen, how, config, console.info, console.warn)
            start_training(console, chosen, how, offline, verbose, report)


@app.command(cls=Command)
def resume(
    run: options.Run,
    set_: options.Sets = [],
    unset: options.Unsets = [],
    epochs: options.Epochs = None,
    device: options.Device = None,
    from_: options.From = None,
    max_time: options.MaxTime = None,
    fail_under: options.FailUnder = [],
    fail_over: options.FailOver = [],
    report: options.Report = False,
    junit: options.Junit = None,
    summary: options.Summary = None,
    github_summary: options.GithubSummary = False,
    code: options.Code = [],
    trust_code: options.TrustCode = False,
    runs_dir: options.RunsDir = Path("runs"),
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = True,
    json: options.Json = False,
) -> None:
    """Continue a run with its own config, or show its result if it is finished.

    Examples:
        tfloop resume last
        tfloop resume last --epochs 20 --set checkpoint.keep=3
    """
    console = Console(quiet=quiet, verbose=verbose, json=json, progress=progress)
    with error_handling(console):
        from tfloop_cli.ci import report_for
        from tfloop_cli.runs import lookup
        from tfloop_cli.runs.start import TrainOptions
        from tfloop_cli.thresholds import parse_seconds, parse_thresholds

        seconds, thresholds = parse_seconds(max_time), parse_thresholds(fail_under, fail_over)
        for_ci = report_for("tfloop resume", thresholds, junit, summary, github_summary)
        with for_ci:
            found = lookup.find_run(run, runs_dir)
            code, only = lookup.code_of_run(found, code, trust_code)
            flags = {"epochs": epochs, "device": device}
            resolved = resolve(console, [str(found.config)], set_, unset, code, flags, only)
            prefix, sources = found.name_prefix(), resolved.sources
            how = TrainOptions(
                prefix, None, None, from_, seconds, thresholds, consumers=(for_ci,), code=code, sources=sources
            )
            chosen, how = lookup.resume_run(found, resolved.config, how)
            start_training(console, chosen, how, offline, verbose, report)


@app.command("list", cls=Command)
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            autocompletion=complete("kinds"),
            help="datasets, models, tasks, optimizers, schedules, augmentations, trackers or configs.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", autocompletion=complete("components"), help="One of them, in detail."),
    ] = None,
    code: options.Code = [],
    json: options.Json = False,
) -> None:
    """List the components for configs, with arguments, defaults and descriptions.

    Examples:
        tfloop list models
        tfloop list model resnet
    """
    console = Console(json=json)
    with error_handling(console):
        from tfloop_cli.commands import list as command
        from tfloop_cli.registry import plugins

        plugins.load(code, console.warn)
        document, text = command.list_components(kind, name)
        if json:
            console.document(document)
        console.result(text)


@app.command(cls=Command)
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all entries that no running process uses.")] = False,
    json: options.Json = False,
) -> None:
    """Show or clear the disk cache of decoded data.

    Examples:
        tfloop cache
        tfloop cache --clear
    """
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
    """Print a shell completion script.

    Examples:
        eval "$(tfloop completion bash)"
        tfloop completion fish > ~/.config/fish/completions/tfloop.fish
    """
    console = Console()
    with error_handling(console):
        from tfloop_cli.commands import completion as command

        console.result(command.script(shell))


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
    if sys.argv[1:2] in (["train"], ["resume"], ["reproduce"]):  # the run goes on without a screen
        ignore_errors("stdout")
    try:
        app()
    except OSError as error:  # `--help` and `--version` print without a console
        typer.echo(f"error: stdout: {error.strerror}", err=True)
        raise SystemExit(ExitCode.TRY_AGAIN) from None
