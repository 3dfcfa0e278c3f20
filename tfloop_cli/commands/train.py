"""`tfloop train`: the map of the program. Whoever reads this page knows where everything is."""

import time

from tfloop_cli.bars import require_cleared, require_metrics
from tfloop_cli.commands.opening import (
    FINISHED,
    Options,
    announce,
    describe,
    horizon,
    is_finished,
    open_data,
    open_run,
    take_up,
    write_down,
)
from tfloop_cli.config import Config
from tfloop_cli.console import Console
from tfloop_cli.display import make_display
from tfloop_cli.engine import runtime
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.judge import Judge
from tfloop_cli.engine.loop import fit
from tfloop_cli.engine.samples import Samples
from tfloop_cli.engine.saving import Checkpoints
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode
from tfloop_cli.events import Evaluated, Event, RunEnded, Stopped
from tfloop_cli.interrupts import Interrupts, until_stopped
from tfloop_cli.recorder import Recorder
from tfloop_cli.registry import models, tasks


def train(config: Config, options: Options, console: Console) -> ExitCode:
    """Trains, scores the best weights on the test split, and leaves a run folder behind."""
    started = time.monotonic()
    with console.quiet_stderr():  # TensorFlow looks for devices
        config = runtime.setup(config)
    data = open_data(config, console)
    task = tasks.build(config.task, data.spec)
    require_metrics(options.bars, task.metrics, "test", data.splits)
    judge, steps = Judge(task, config), horizon(config, options, data, console)
    state = TrainState.create(models.build(config.model, data.spec), task, data.spec, config, steps)

    run = open_run(config, options)
    with run.lock(), Interrupts(console.warn, idle=True) as interrupts, make_display(console) as display:
        about = describe(config, data, options, steps)
        checkpoints = Checkpoints(run.checkpoints, state, config.checkpoint, about, console.warn)
        recorder = Recorder(run, console)
        # Record, then save: no checkpoint may tell of an epoch that the history does not know.
        consumers = (recorder, checkpoints, Samples(run, state, task, console.warn), display)

        def tell(event: Event) -> None:
            for consumer in consumers:
                consumer.handle(event)

        with checkpoints, recorder, data.explained():
            if take_up(checkpoints, options, console) and is_finished(options, state, judge, config, console, display):
                return ExitCode.DONE
            checkpoints.about = write_down(run, config, options, about)
            tell(announce(run, config, data, state))
            for epoch in recorder.go_on(int(state.epoch)):
                display.handle(epoch)

            for event in until_stopped(
                fit(state, data, task, judge, config), interrupts, started + options.max_seconds
            ):
                tell(event)
            assert isinstance(event, Stopped)
            reason, last, weights_sha256 = event.reason, checkpoints.last, state.weights_sha256()

            if reason in FINISHED and data.examples("test"):
                best = checkpoints.restore_best()
                if test := Evaluator(state, data, task).run("test", stop=lambda: interrupts.signal):
                    tell(Evaluated("test", test.examples, test.metrics, str(best)))
                else:
                    reason = interrupts.reason
            tell(RunEnded(reason, str(run), str(last), weights_sha256, time.monotonic() - started))
    if reason in FINISHED and options.bars:
        require_cleared(options.bars, "test", test.metrics)
    return interrupts.code(reason)
