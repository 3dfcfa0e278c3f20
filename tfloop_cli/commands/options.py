"""The options of the command line, as types of parameters: each is declared once, with its help and its completion."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tfloop_cli.commands.shared import complete


def shortcut(assignment: str, text: str = "", kind: str = "") -> Any:
    """Returns the option for a shortcut of `--set`.

    Args:
        assignment: what it sets, with a placeholder for the value: "epochs=N".
        text: added to its help.
        kind: the kind of candidates for completion, if any.
    """
    help_ = f"Shortcut for --set {assignment}{':' if text else '.'}{text}"
    return typer.Option(
        metavar=assignment.partition("=")[2], help=help_, autocompletion=complete(kind) if kind else None
    )


def configs(metavar: str, help_: str) -> Any:
    """Returns positional arguments that are configs, and maybe something else."""
    return typer.Argument(metavar=metavar, help=help_, autocompletion=complete("configs"), show_default=False)


ConfigArguments = Annotated[
    list[str] | None, configs("CONFIG", "Config files or built-in configs; the same as --config.")
]
TrainSources = Annotated[
    list[str] | None,
    configs(
        "CONFIG|PATH",
        "Config files or built-in configs, as for --config; or data: a folder, or a .csv, .parquet, .npz, ... file.",
    ),
]
Sources = Annotated[
    list[str] | None,
    configs(
        "CONFIG|PATH",
        "Configs, as for `tfloop train`; or data: a folder, or a .csv, .parquet, .jsonl, .npz, ... file.",
    ),
]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="The dataset that reads PATH: images, table, text or arrays; or any other one.",
    ),
]
Target = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The column to predict. Shortcut for --set dataset.target=COLUMN.")
]
Image = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="The PNG file for images; by default inspect-data.png."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 4 if there are findings.")]
Configs = Annotated[
    list[str],
    typer.Option(
        "--config", "-c", metavar="FILE", autocompletion=complete("configs"),
        help="A YAML file, - for stdin, or a built-in config; can be repeated, later ones take precedence.",
    ),
]  # fmt: skip
Sets = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", autocompletion=complete("assignments"),
        help="Change one key: --set optimizer.learning_rate=3e-4.",
    ),
]  # fmt: skip
MovedData = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="dataset.KEY=VALUE", autocompletion=complete("assignments"),
        help="Where the data of the run is now, if it was moved: --set dataset.path=NEW.",
    ),
]  # fmt: skip
Unsets = Annotated[
    list[str],
    typer.Option(
        "--unset", metavar="KEY", autocompletion=complete("keys"), help="Remove a key: --unset model.dropout."
    ),
]
Code = Annotated[
    list[Path],
    typer.Option("--code", metavar="FILE", help="A Python file that registers your own models, datasets, tasks, ..."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON documents, one per line, to stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings, errors and results.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show TensorFlow's own messages too.")]
Offline = Annotated[bool, typer.Option("--offline", help="Do not use the network; use only prepared datasets.")]
FailUnder = Annotated[
    list[str], typer.Option(metavar="METRIC=X", help="Exit with 3 if the metric is under X: accuracy=0.97.")
]
FailOver = Annotated[list[str], typer.Option(metavar="METRIC=X", help="Exit with 3 if the metric is over X: loss=0.2.")]
Junit = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a JUnit XML file for CI: one test case per threshold.")
]
Summary = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Append the metrics and thresholds to a file, as a Markdown table.")
]
GithubSummary = Annotated[
    bool, typer.Option("--github-summary", help="The same for the file in GITHUB_STEP_SUMMARY, in GitHub Actions.")
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="RUN|FILE", autocompletion=complete("runs"),
        help="Compare with another run, or with what `tfloop evaluate --json` printed; needs --tolerance.",
    ),
]  # fmt: skip
Tolerances = Annotated[
    list[str],
    typer.Option(
        "--tolerance", metavar="METRIC=X",
        help="Exit with 3 if the metric is worse than that of --baseline by more than X: accuracy=0.005.",
    ),
]  # fmt: skip

# Shortcuts for keys of the config; None if not given.
Epochs = Annotated[str | None, shortcut("epochs=N")]
BatchSize = Annotated[str | None, shortcut("batch_size=N")]
Device = Annotated[str | None, shortcut("device=DEVICE", " auto, cpu, gpu or gpu:N.", "devices")]
Seed = Annotated[str | None, shortcut("seed=N")]
LimitTrainBatches = Annotated[str | None, shortcut("limit_train_batches=N", " the batches in an epoch.")]
LimitValidationBatches = Annotated[str | None, shortcut("limit_validation_batches=N")]
OverfitBatches = Annotated[
    str | None, shortcut("overfit_batches=N", " train and validate on few examples; the loss should approach 0.")
]
Name = Annotated[str | None, shortcut("name=NAME", " the name of the run folder.")]

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", autocompletion=complete("runs"), help="A run folder, the name of a run, or `last`: the newest."
    ),
]
RunOrCheckpoint = Annotated[
    str,
    typer.Argument(
        metavar="RUN", autocompletion=complete("runs"),
        help="A run folder, a checkpoint folder, the name of a run, or `last`.",
    ),
]  # fmt: skip
Split = Annotated[
    str,
    typer.Option(metavar="SPLIT", autocompletion=complete("splits"), help="test, validation, train, or another split."),
]
EvaluationData = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", help="A file or folder to evaluate on in place of a split: rows with the target, or CLASS/."
    ),
]
Checkpoint = Annotated[
    str | None, typer.Option(metavar="CHECKPOINT", help="best, last or a step; by default the best, if there is one.")
]
EvaluationDevice = Annotated[
    str, typer.Option(metavar="DEVICE", autocompletion=complete("devices"), help="auto, cpu, gpu or gpu:N.")
]

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Build everything, train and evaluate a little, and forecast time, memory and disk; nothing is kept.",
    ),
]

Report = Annotated[bool, typer.Option("--report", help="Write report.html in the run folder at the end.")]
Profile = Annotated[
    int,
    typer.Option(
        metavar="STEPS", min=0, show_default=False,
        help="Profile about STEPS steps: the costliest operations, and a trace for TensorBoard in the run folder.",
    ),
]  # fmt: skip

# A run: which one, and how to continue
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="The run folder; empty or new, unless --resume is used."),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Resume the newest run with the same config and data, or the run in -o."),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="CHECKPOINT", help="Resume from last, best, a step or the path of a checkpoint."),
]
MaxTime = Annotated[str | None, typer.Option(metavar="TIME", help="Stop and save after 90s, 30m or 1.5h.")]
Progress = Annotated[bool, typer.Option("--progress/--no-progress", help="Show a progress bar on a terminal.")]
RunsDir = Annotated[Path, typer.Option(metavar="DIR", help="The parent folder of all runs.")]
TrustCode = Annotated[bool, typer.Option("--trust-code", help="Run the copy of user code in the run folder.")]
