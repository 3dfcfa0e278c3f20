"""How a training run opens, new or resumed: its options, what it writes of itself, what it takes up again."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfloop_cli import meta, plugins, rundir
from tfloop_cli.bars import Bar, require_cleared
from tfloop_cli.config import Config
from tfloop_cli.configfile import dump, to_mapping
from tfloop_cli.console import Console
from tfloop_cli.engine.checkpoint import choose
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.judge import Judge
from tfloop_cli.engine.saving import Checkpoints
from tfloop_cli.engine.state import TrainState
from tfloop_cli.events import RunStarted
from tfloop_cli.resume import changed_machine, read_json
from tfloop_cli.rundir import RunDir

FINISHED = ("completed", "early_stopping")


@dataclass(frozen=True)
class Options:
    """What `tfloop train` is told besides the config.

    Attributes:
        stem: what the config calls itself; a new run folder's name begins with it.
        output: the new run's folder; None for one under the config's `runs_dir`.
        resume: the run to go on with; None for a new one.
        checkpoint: what to go on from: "last", "best", a step or a path; None for the newest good checkpoint.
        max_seconds: when to stop and save.
        bars: on the test split's metrics.
        code: the user's own modules, copied into the run folder.
    """

    stem: str
    output: Path | None = None
    resume: RunDir | None = None
    checkpoint: str | None = None
    max_seconds: float = math.inf
    bars: Sequence[Bar] = ()
    code: list[Path] = field(default_factory=list)


def open_run(config: Config, options: Options) -> RunDir:
    """The folder of the run that goes on, or of a new one."""
    if options.resume:
        return options.resume
    return rundir.create(Path(config.runs_dir), options.stem, name=config.name, output=options.output)


def horizon(config: Config, options: Options, data: Data) -> int:
    """Training steps that the schedule counts on: those of the whole run, as it was begun."""
    begun = read_json(options.resume.meta).get("horizon_steps") if options.resume else None
    return begun if isinstance(begun, int) else config.epochs * data.steps_per_epoch


def describe(run: RunDir, config: Config, data: Data, options: Options, steps: int) -> dict[str, Any]:
    """Writes config.yaml, meta.json and the copies of the user's code; returns what every checkpoint says of them."""
    with rundir.disk_faults(run.path):
        before = read_json(run.meta) if options.resume else {}
        now = meta.gather({
            "stem": options.stem,
            "run_id": before.get("run_id") or secrets.token_hex(8),
            "device": config.device,
            "threads": config.threads,
            "data": data.fingerprint,
            "horizon_steps": steps,
            "code": plugins.copy_code(options.code, run.code),
        })  # fmt: skip
        now["started"], now["resumed"] = before.get("started", now["started"]), []
        if before:
            now["resumed"] = [*before.get("resumed", []), {key: now[key] for key in ("command", "host", "pid", "versions")}]
        rundir.write_atomic(run.config, dump(config).encode())
        rundir.write_json(run.meta, now)
    kept = ("run_id", "versions", "cpu", "cpu_flags", "device", "threads", "data", "horizon_steps", "code")
    return {"config": to_mapping(config), **{key: now[key] for key in kept}}


def take_up(checkpoints: Checkpoints, options: Options, console: Console) -> bool:
    """Restores the run that is resumed, and says what it found; whether there was a checkpoint.

    Raises:
        TfloopError: the checkpoint that was asked for is damaged, or of another model or run (exit code 6).
    """
    if not options.resume:
        return False
    wanted = options.checkpoint
    taken = checkpoints.resume(choose(options.resume.checkpoints, wanted) if wanted else None)
    if taken is None:
        console.say(f"no checkpoint in {options.resume} yet: starting from the beginning")
        return False
    console.say(f"resuming {options.resume} from {taken.path.name}")
    for change in changed_machine(taken.manifest):
        console.warn(f"bits may differ from those of an unbroken run: {change}")
    return True


def is_finished(options: Options, state: TrainState, judge: Judge, config: Config, console: Console) -> bool:
    """Whether a resumed run has nothing left to do: every epoch is done, and the test split is scored.

    Raises:
        TfloopError: it misses a bar (exit code 3).
    """
    assert options.resume
    summary = read_json(options.resume.summary)
    if summary.get("reason") not in FINISHED or not (int(state.epoch) >= config.epochs or judge.enough(state)):
        return False
    console.say(f"nothing to do: {options.resume} has done its {int(state.epoch)} epochs; --epochs N goes on")
    for split, metrics in summary["evaluations"].items():
        require_cleared(options.bars, split, metrics)
    return True


def announce(run: RunDir, config: Config, data: Data, state: TrainState) -> RunStarted:
    """What the header says before the first step."""
    parameters = sum(model.count_params() for model in state.models.values())
    sizes = ", ".join(f"{data.examples(split):,} {split}" for split in data.splits)
    return RunStarted(
        run=str(run),
        step=int(state.step),
        config=to_mapping(config),
        epochs=config.epochs,
        steps_per_epoch=data.steps_per_epoch,
        examples_per_epoch=data.examples("train"),
        metrics=state.metrics,
        facts={
            "dataset": f"{config.dataset.name} ({sizes})",
            "model": f"{config.model.name} ({parameters:,} parameters)",
            "optimizer": config.optimizer.name,
            "device": f"{config.device}, {config.threads} threads, {config.precision}, compile: {config.compile}",
        },
    )
