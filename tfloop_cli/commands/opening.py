"""How a training run opens, new or resumed: its options, what it writes of itself, what it takes up again."""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfloop_cli import meta, plugins, rundir
from tfloop_cli.bars import Bar, require_cleared
from tfloop_cli.config import Config
from tfloop_cli.configfile import dump, to_mapping
from tfloop_cli.console import Console
from tfloop_cli.display import Display
from tfloop_cli.engine.checkpoint import Checkpoint, choose, list_checkpoints
from tfloop_cli.engine.data import Data, build_data
from tfloop_cli.engine.judge import Judge
from tfloop_cli.engine.saving import Checkpoints
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import Evaluated, RunEnded, RunStarted
from tfloop_cli.resume import changed_code, changed_machine, read_json
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


def open_data(config: Config, console: Console) -> Data:
    """The config's dataset; says what was left out of it."""
    data = build_data(config)
    for note in data.notes:
        console.warn(note)
    return data


def open_run(config: Config, options: Options) -> RunDir:
    """The folder of the run that goes on, or of a new one."""
    if options.resume:
        for folder in (options.resume.checkpoints, options.resume.samples, options.resume.code):
            if folder.is_symlink():  # what is written through it would land elsewhere
                raise TfloopError(f"{folder} is a link", hint="a run's folders must lie in the run folder itself")
        return options.resume
    if options.checkpoint:
        raise TfloopError(f"`--from {options.checkpoint}`: there is no run to go on with", code=ExitCode.CHECKPOINT)
    return rundir.create(Path(config.runs_dir), options.stem, name=config.name, output=options.output)


def begun(options: Options) -> Mapping[str, Any]:
    """What the resumed run says of its beginning: meta.json or, where that is damaged, the newest good checkpoint."""
    if not options.resume:
        return {}
    facts = read_json(options.resume.meta)
    if isinstance(facts.get("run_id"), str):
        return facts
    for path in reversed(list_checkpoints(options.resume.checkpoints)):
        try:
            return Checkpoint.open(path).manifest
        except TfloopError:
            continue
    return {}


def horizon(config: Config, options: Options, data: Data, console: Console) -> int:
    """Training steps that the schedule counts on: those of the whole run, as it was begun."""
    steps, before = config.epochs * data.steps_per_epoch, begun(options).get("horizon_steps")
    if type(before) is not int or before <= 0 or before == steps:
        return steps
    if config.schedule.name != "constant" and not config.schedule.arguments.get("steps"):
        length = max(1, steps - config.warmup_steps)
        console.note(
            f"the schedule ends at step {before}, as the run began; `--set schedule.steps={length}` stretches it"
        )
    return before


def describe(config: Config, data: Data, options: Options, steps: int) -> dict[str, Any]:
    """What every checkpoint says of the run besides its step; nothing is written yet."""
    now = meta.gather({
        "run_id": begun(options).get("run_id") or secrets.token_hex(8),
        "config": to_mapping(config),
        "device": config.device,
        "threads": config.threads,
        "data": data.fingerprint,
        "horizon_steps": steps,
        "code": {},
    })  # fmt: skip
    kept = "config", "run_id", "versions", "cpu", "cpu_flags", "device", "threads", "data", "horizon_steps", "code"
    return {key: now[key] for key in kept}


def write_down(run: RunDir, config: Config, options: Options, about: Mapping[str, Any]) -> dict[str, Any]:
    """Writes config.yaml, meta.json and the copies of the user's code; returns `about` with the code's sums.

    Only now, when no checkpoint of a resumed run has refused the config: a mistake must not change the run.
    """
    before = read_json(run.meta) if options.resume else {}
    with rundir.disk_faults(run.path):
        about = {**about, "code": plugins.copy_code(options.code, run.code)}
        now = meta.gather({key: value for key, value in about.items() if key != "config"} | {"stem": options.stem})
        earlier = before.get("resumed")
        again = {key: now[key] for key in ("command", "host", "pid", "versions", "started")}
        now["resumed"] = [*(earlier if isinstance(earlier, list) else []), again] if before else []
        now["started"] = before.get("started", now["started"])
        rundir.write_atomic(run.config, dump(config).encode())
        rundir.write_json(run.meta, now)
    return about


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
    for change in changed_machine(taken.manifest) + changed_code(taken.manifest, options.code):
        console.warn(f"bits may differ from those of an unbroken run: {change}")
    if taken.manifest["data"] != checkpoints.about["data"]:
        console.warn("the data is not what the run was begun with: the result is not that of one unbroken run")
    return True


def is_finished(
    options: Options, state: TrainState, judge: Judge, config: Config, console: Console, display: Display
) -> bool:
    """Whether a resumed run has nothing left to do; then its end is told again.

    A summary that says too little is not believed: the run ends once more, and is scored again.

    Raises:
        TfloopError: it misses a bar (exit code 3).
    """
    assert options.resume
    summary = read_json(options.resume.summary)
    reason, last, sha256, evaluations = map(summary.get, ("reason", "checkpoint", "weights_sha256", "evaluations"))
    if reason not in FINISHED or sha256 != state.weights_sha256() or not isinstance(evaluations, dict):
        return False
    if int(state.epoch) < config.epochs and not judge.enough(state):
        return False
    test = evaluations.get("test", {})
    if not isinstance(test, dict):
        return False
    metrics = {name: math.nan if value is None else value for name, value in test.items()}
    if not all(isinstance(metrics.get(bar.metric), int | float) for bar in options.bars):
        return False
    console.say(f"nothing to do: {options.resume} has done its {int(state.epoch)} epochs; `--epochs N` goes on")
    if examples := metrics.pop("examples", 0):
        display.handle(Evaluated("test", examples, metrics, str(last)))
    display.handle(RunEnded(reason, str(options.resume), str(last), sha256, 0.0))
    require_cleared(options.bars, "test", metrics)
    return True


def announce(run: RunDir, config: Config, data: Data, state: TrainState) -> RunStarted:
    """What the header says before the first step."""
    parameters = sum(model.count_params() for model in state.models.values())
    sizes = ", ".join(f"{data.examples(split):,} {split}" for split in data.splits)
    counts = ", ".join(f"{count:,} of {split}" for split, count in data.left_out.items())
    left_out = f"; bad and left out: {counts}" if counts else ""
    return RunStarted(
        run=str(run),
        step=int(state.step),
        config=to_mapping(config),
        epochs=config.epochs,
        steps_per_epoch=data.steps_per_epoch,
        examples_per_epoch=data.examples("train"),
        metrics=state.metrics,
        facts={
            "dataset": f"{config.dataset.name} ({sizes}{left_out})",
            "model": f"{config.model.name} ({parameters:,} parameters)",
            "optimizer": config.optimizer.name,
            "device": f"{config.device}, {config.threads} threads, {config.precision}, compile: {config.compile}, "
            f"kernels: {config.kernels}",
        },
        skipped_examples=dict(data.left_out),
    )
