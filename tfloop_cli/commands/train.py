"""The `tfloop train` command, in order: data, task, model, training loop, test evaluation. Imports lead to the code."""

import time

from tfloop_cli.commands.before_training import warn_before_training
from tfloop_cli.commands.final_evaluation import evaluate_test
from tfloop_cli.commands.finished_run import show_result
from tfloop_cli.commands.resumed_run import announce_resume
from tfloop_cli.config.schema import Config
from tfloop_cli.engine import runtime
from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.engine.checkpoints.restore import restore_run
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.loop import TrainSteps, fit
from tfloop_cli.engine.profiling import Profiler
from tfloop_cli.engine.samples import Samples
from tfloop_cli.engine.start_event import start_event
from tfloop_cli.engine.tasks import build_task, decide_task, evaluated_metrics
from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
from tfloop_cli.engine.training.setup import build_state, limit_epochs, settle_splits
from tfloop_cli.errors import ExitCode
from tfloop_cli.events import FINISHED, Evaluated, RunEnded, Stopped, to_each
from tfloop_cli.runs.lookup import choose_run
from tfloop_cli.runs.metadata import known_data, load_metadata, manifest_facts, save_metadata
from tfloop_cli.runs.recorder import Recorder
from tfloop_cli.runs.resume import last_epoch, total_steps
from tfloop_cli.runs.start import TrainOptions, open_run
from tfloop_cli.signals import Interrupts, until_stopped
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display
from tfloop_cli.thresholds import exit_code, require_metrics
from tfloop_cli.tracking.children import Trackers
from tfloop_cli.watchdog import warn_if_stuck


def train(config: Config, options: TrainOptions, console: Console) -> ExitCode:
    """Trains a model, evaluates the best weights on the test split, and writes a run folder.

    Returns: DONE, or the code of the signal that stopped the run.
    Raises: TfloopError, exit codes: config 2, threshold 3, data 4, diverged 5, checkpoint 6, user code 7, disk 75.
    """
    started, note, warn = time.monotonic(), console.note, console.warn
    with console.quiet_stderr():  # TensorFlow logs its search for devices to stderr
        config = runtime.setup(config, note)
    data = build_data(config, warn, **known_data(options), progress=console.show_progress)
    config = config.model_copy(update={"task": decide_task(config.task, data.spec, note)})
    task = build_task(config.task, data.spec)
    asked, config = config, settle_splits(task, data, config, note, warn)
    options = choose_run(asked, options, data.facts, warn)
    metadata, config = load_metadata(options.resume), limit_epochs(config, data, last_epoch(options.resume), note)
    saved = load_metadata(options.reproduces or options.resume)
    steps = total_steps(config, data.first_step(config.epochs), saved, note)
    state = build_state(task, data, config, steps, note)
    require_metrics(options.thresholds, evaluated_metrics(task), "test", data.splits)
    best_metric, early_stopping = BestMetric(task, config), EarlyStopping(task, config)
    warn_before_training(config, data, task, note, warn)
    train_steps = TrainSteps(state, data, task, config, warn, profiled=options.profile_steps > 0)

    run = open_run(config, options)
    trackers = Trackers(run, config.tracking, options.code, warn, console.info)
    interrupts = Interrupts(warn, idle=True, ends_process=options.ends_process)
    with run.lock(), trackers, Recorder(run, warn) as recorder, interrupts:
        facts = manifest_facts(asked, metadata, steps, data.facts | best_metric.facts | early_stopping.facts)
        checkpoints = CheckpointManager(run.checkpoints, state, config.checkpoint, facts, warn, data.encoders_json())
        profiler = Profiler(run.profile, options.profile_steps, console.info)
        # Record, then save: a checkpoint must not contain an epoch that the history lacks.
        consumers = (recorder, checkpoints, Samples(run, state, task, warn), profiler, trackers, *options.consumers)
        emit = to_each(*consumers, display := make_display(console))
        with display, checkpoints, data.explain_errors():
            if restored := restore_run(checkpoints, options, train_steps.trace, console.info, warn):
                finished = int(state.epoch) >= config.epochs or early_stopping.should_stop(state)
                if finished and show_result(run, config, restored, options, state.weights_sha256(), display, console):
                    return ExitCode.DONE
                announce_resume(run, config, restored, options.changes, checkpoints.changes, finished, console)
            checkpoints.facts = save_metadata(run, asked, options, facts, int(state.step), *data.documents())
            emit(start_event(run, asked, data, state, options.code, evaluates=bool(task.eval_step)))
            for epoch in recorder.restore_history(int(state.epoch), int(state.best_step)):
                display.handle(epoch)

            events = fit(state, data, task, config, best_metric, early_stopping, train_steps)
            events = warn_if_stuck(events, warn)
            for event in until_stopped(events, interrupts, started + options.max_seconds, options.last_epoch):
                emit(event)
            assert isinstance(event, Stopped)
            reason, last, weights_sha256 = event.reason, checkpoints.last, state.weights_sha256()

            test, evaluates = None, reason in FINISHED or (options.thresholds and reason == "max_time")
            if evaluates and data.examples("test") and task.eval_step:
                best = checkpoints.restore_best()
                if test := evaluate_test(run, state, data, task, config, lambda: interrupts.signal, console):
                    emit(Evaluated("test", test.examples, test.metrics, str(best)))
                else:
                    reason = interrupts.reason
            emit(RunEnded(reason, str(run), str(last), weights_sha256, time.monotonic() - started))
    return exit_code(options.thresholds, test.metrics if test else {}, interrupts.code(reason), reason, warn)
