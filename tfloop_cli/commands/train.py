"""`tfloop train`: the map of the program. Whoever reads this page knows where everything is."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfloop_cli import meta, plugins, rundir
from tfloop_cli.bars import Bar, require_cleared, require_metrics
from tfloop_cli.config import Config
from tfloop_cli.configfile import dump, to_mapping
from tfloop_cli.console import Console
from tfloop_cli.display import make_display
from tfloop_cli.engine import runtime
from tfloop_cli.engine.checkpoint import Checkpoints
from tfloop_cli.engine.data import Data, build_data
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.loop import fit
from tfloop_cli.engine.samples import Samples
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode
from tfloop_cli.events import Evaluated, Event, RunEnded, RunStarted, Stopped
from tfloop_cli.interrupts import Interrupts
from tfloop_cli.recorder import Recorder
from tfloop_cli.registry import models, tasks
from tfloop_cli.rundir import RunDir


@dataclass(frozen=True)
class Options:
    """What `tfloop train` is told besides the config.

    Attributes:
        output: the run's folder; None for a new one under the config's `runs_dir`.
        stem: what a new run folder's name begins with.
        bars: on the test split's metrics.
        code: the user's own modules, copied into the run folder.
    """

    stem: str
    output: Path | None = None
    bars: list[Bar] = field(default_factory=list)
    code: list[Path] = field(default_factory=list)


def train(config: Config, options: Options, console: Console) -> ExitCode:
    """Trains, scores the best weights on the test split, and leaves a run folder behind."""
    started = time.perf_counter()
    with console.quiet_stderr():  # TensorFlow looks for devices
        config = runtime.setup(config)
    data = build_data(config)
    task = tasks.build(config.task, data.spec)
    require_metrics(options.bars, task.metrics)
    total_steps = config.epochs * data.steps_per_epoch
    state = TrainState.create(models.build(config.model, data.spec), task, config, total_steps)

    run = rundir.create(Path(config.runs_dir), options.stem, name=config.name, output=options.output)
    with run.lock(), Interrupts(console.say) as interrupts, make_display(console) as display:
        about = describe(run, config, data, options.code)
        checkpoints = Checkpoints(run.checkpoints, state, config.checkpoint, about)
        consumers = (checkpoints, Recorder(run, console), Samples(run, state, task), display)  # save, record, draw, show

        def tell(event: Event) -> None:
            for consumer in consumers:
                consumer.handle(event)

        tell(announce(run, config, data, state))
        reason, code = "completed", ExitCode.DONE
        for event in fit(state, data, task, config):
            tell(event)
            if interrupts.signal:
                reason, code = interrupts.signal.name, interrupts.signal.code
                break
        tell(Stopped(reason, int(state.epoch), int(state.step)))
        weights_sha256 = state.weights_sha256()

        checkpoint, test = checkpoints.last, None
        if reason == "completed" and data.examples("test"):
            checkpoint = checkpoints.restore_best()
            test = Evaluator(state, data, task).run("test")
            tell(Evaluated("test", test.examples, test.metrics, str(checkpoint)))
        tell(RunEnded(reason, str(run), str(checkpoint), weights_sha256, time.perf_counter() - started))
    if test:
        require_cleared(options.bars, "test", test.metrics)
    return code


def describe(run: RunDir, config: Config, data: Data, code: list[Path]) -> dict[str, Any]:
    """Writes config.yaml, meta.json and the copies of the user's code; returns what every checkpoint says of them."""
    copies = plugins.copy_code(code, run.code)
    facts = meta.gather({"device": config.device, "threads": config.threads, "data": data.fingerprint, "code": copies})
    with rundir.disk_faults(run.path):
        rundir.write_atomic(run.config, dump(config).encode())
        rundir.write_json(run.meta, facts)
    kept = ("versions", "cpu", "cpu_flags", "device", "threads", "data", "code")
    return {"config": to_mapping(config), **{key: facts[key] for key in kept}}


def announce(run: RunDir, config: Config, data: Data, state: TrainState) -> RunStarted:
    """What the header says before the first step."""
    parameters = sum(model.count_params() for model in state.models.values())
    return RunStarted(
        run=str(run),
        step=int(state.step),
        config=to_mapping(config),
        epochs=config.epochs,
        steps_per_epoch=data.steps_per_epoch,
        examples_per_epoch=data.examples("train"),
        metrics=state.metrics,
        facts={
            "dataset": f"{config.dataset.name} ({', '.join(f'{data.examples(s):,} {s}' for s in data.splits)})",
            "model": f"{config.model.name} ({parameters:,} parameters)",
            "optimizer": config.optimizer.name,
            "device": f"{config.device}, {config.threads} threads, {config.precision}, compile: {config.compile}",
        },
    )
