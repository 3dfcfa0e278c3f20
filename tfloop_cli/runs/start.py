"""The options of a training run, and the folder that it writes to."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfloop_cli.config.on_resume import Difference
from tfloop_cli.config.schema import Config
from tfloop_cli.events import Consumer
from tfloop_cli.runs import folder
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.thresholds import Threshold


@dataclass(frozen=True)
class TrainOptions:
    """The options of `tfloop train` that are not part of the config.

    Attributes:
        name_prefix: the name of the config; the name of a new run folder begins with it.
        output: the folder of the new run; None for a new folder in the config's `runs_dir`.
        resume: the run to resume; None for a new run.
        checkpoint: the checkpoint to resume from: "last", "best", a step or a path; None for the newest good one.
        max_seconds: training stops and saves after this time.
        thresholds: limits for the metrics of the test split.
        profile_steps: the number of steps to profile; 0 for none.
        consumers: of the events, besides those of `tfloop train`.
        ends_process: whether a second Ctrl-C may end the process; not in a Python program.
        code: the user's own modules; they are copied into the run folder.
        changes: what differs from the config of the run in `resume`.
        candidates: instead of `resume`, runs with the same config, the preferred one first; read once, by `choose_run`,
            which decides by the data. None if there are none.
        sources: the source of each config key, such as "mnist.yaml:5"; see `Resolved`.
        started_from: the checkpoint outside of the run that it continues, see meta.json; None if there is none.
        reproduces: the run that this one repeats: it has the same data, and the same length of the schedule.
        last_epoch: training stops after this epoch, as if the time was over; None for all epochs of the config.
    """

    name_prefix: str
    output: Path | None = None
    resume: RunFolder | None = None
    checkpoint: str | None = None
    max_seconds: float = math.inf
    thresholds: Sequence[Threshold] = ()
    profile_steps: int = 0
    consumers: Sequence[Consumer] = ()
    ends_process: bool = True
    code: list[Path] = field(default_factory=list)
    changes: Sequence[Difference] = ()
    candidates: Iterator[RunFolder] | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    started_from: Mapping[str, str] | None = None
    reproduces: RunFolder | None = None
    last_epoch: int | None = None


def open_run(config: Config, options: TrainOptions) -> RunFolder:
    """Returns the folder of the run to resume, or creates one for a new run.

    Raises:
        TfloopError: the folder cannot be used (exit code 2 or 75).
    """
    if options.resume:
        options.resume.require_no_links()
        return options.resume
    return folder.create(Path(config.runs_dir), options.name_prefix, name=config.name, output=options.output)
