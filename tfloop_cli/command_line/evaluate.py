"""The command line of `tfloop evaluate`; imports are inside of functions, as in `cli.py`."""

from pathlib import Path

import typer

from tfloop_cli.commands import options
from tfloop_cli.commands.shared import SETTINGS, Command, error_handling, loading_tensorflow
from tfloop_cli.terminal.console import Console

app = typer.Typer(**SETTINGS)


@app.command(cls=Command)
def evaluate(
    run: options.RunOrCheckpoint,
    split: options.Split = "test",
    data: options.EvaluationData = None,
    set_: options.MovedData = [],
    checkpoint: options.Checkpoint = None,
    device: options.EvaluationDevice = "auto",
    fail_under: options.FailUnder = [],
    fail_over: options.FailOver = [],
    baseline: options.Baseline = None,
    tolerance: options.Tolerances = [],
    junit: options.Junit = None,
    summary: options.Summary = None,
    github_summary: options.GithubSummary = False,
    code: options.Code = [],
    trust_code: options.TrustCode = False,
    runs_dir: options.RunsDir = Path("runs"),
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json: options.Json = False,
) -> None:
    """Evaluate a run on a split or on other data: loss, accuracy, one row per class, the most confused classes.

    Exit with 3 if a metric is under --fail-under, over --fail-over, or worse than --baseline by more than --tolerance.
    Whether higher values are better follows from the name: accuracy and r2 yes; loss, rmse and mae no.

    Examples:
        tfloop evaluate last --split validation
        tfloop evaluate last --fail-under accuracy=0.95 --junit results.xml
        tfloop evaluate last --baseline runs/mnist-best --tolerance accuracy=0.005 --tolerance loss=0.02
    """
    console = Console(quiet=quiet, verbose=verbose, json=json)
    with error_handling(console):
        from tfloop_cli.ci import report_for
        from tfloop_cli.config.data_paths import DATA, STDIN, paths_of
        from tfloop_cli.runs import folder
        from tfloop_cli.runs.baseline import tolerances
        from tfloop_cli.thresholds import parse_thresholds

        thresholds = parse_thresholds(fail_under, fail_over)
        # A wrong baseline is an error in the report, which has the same list of thresholds.
        with report_for("tfloop evaluate", thresholds, junit, summary, github_summary) as report:
            thresholds += tolerances(baseline, tolerance, DATA if data else split, runs_dir)
            if data and str(data) != STDIN:
                paths_of(str(data))
            path = folder.find(run, runs_dir, console.warn)
            with loading_tensorflow(console, offline, verbose):
                from tfloop_cli.commands import evaluate as command
            how = command.Options(split, data, device, checkpoint, thresholds, code, trust_code, (report,), set_)
            raise typer.Exit(command.evaluate(path, how, console))
