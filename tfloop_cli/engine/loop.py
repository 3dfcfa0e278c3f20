"""The training loop: for each epoch, for each batch, one training step; then one pass over the validation split.

It consists of two loops. The inner one is compiled and runs several steps per call. The outer one is this generator,
which yields events. It does not depend on disk, screen or model: consumers of the events save, record and draw.
One step is `Task.train_step`, see `engine/tasks/supervised.py`.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from functools import partial

import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import BatchIterator, Data
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.graph_failures import explain_graph_errors
from tfloop_cli.engine.kernels import fast_kernels
from tfloop_cli.engine.runtime import kernel_settings
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, MetricValues, Task, uses_autograph
from tfloop_cli.engine.traced_state import captured_variables, unsaved_states
from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
from tfloop_cli.engine.training.executor import InnerLoop, SingleThreadedExecutor, suits_single_thread
from tfloop_cli.engine.training.gradient_accumulation import accumulate_gradients
from tfloop_cli.engine.training.metric_sums import sums, values_of
from tfloop_cli.engine.training.non_finite import NonFiniteGuard
from tfloop_cli.engine.training.steps_per_execution import StepsPerExecution
from tfloop_cli.events import EpochDone, Event, Metrics, Progress, Stopped


class TrainSteps:
    """The compiled inner loop of a run, and its batches.

    Args:
        state, data, task, config: see `fit`.
        warn: prints a line for each operation whose state is not saved.
        profiled: whether TensorFlow's profiler will be used; it does not support the single-threaded executor.
    """

    def __init__(
        self, state: TrainState, data: Data, task: Task, config: Config,
        warn: Callable[[str], None] = lambda line: None, *, profiled: bool = False,
    ) -> None:  # fmt: skip
        self._state, self._data, self._task, self._config, self._warn = state, data, task, config, warn
        self._profiled = profiled
        self._traced: tuple[InnerLoop, BatchIterator] | None = None

    def trace(self) -> None:
        """Traces the inner loop, unless it is traced, and adds the variables that only the trace shows to the state.

        Called before a checkpoint with such variables is restored.

        Raises:
            TfloopError: a value of the state is not finite (exit code 5), or the restored checkpoint does not contain
                the variables (exit code 6).
        """
        if not self._traced:
            self._state.require_finite()
            batches = self._data.batch_iterator(0)
            inner_loop = compile_steps(self._task, self._state, self._config, single_threaded=not self._profiled)
            graph = inner_loop.get_concrete_function(batches.batches, tf.TensorSpec([], tf.int32)).graph
            self._state.add_others(captured_variables(graph), temporary=batches.variables)
            lines = unsaved_states(graph, own_iterators=0 if batches.variables else 1)
            lines += unsaved_states(loading, loads_batches=True) if (loading := self._data.loading_graph) else []
            for line in lines:
                self._warn(line)
            self._traced = inner_loop, batches

    def start(self) -> tuple[InnerLoop, BatchIterator]:
        """Returns the traced inner loop, and an iterator at the batch of the state's step."""
        self._data.continue_at(int(self._state.epoch), int(self._state.epoch_start))
        self.trace()
        assert self._traced is not None
        if step := int(self._state.step):
            self._traced[1].seek(step)
        return self._traced

    def explain_errors(self, step: int, count: int) -> AbstractContextManager[None]:
        """A context of `count` steps from `step` on, whose errors get the line of the user's code."""
        batches, xla = partial(self._data.batches, step, step + count), self._config.compile == "xla"
        return explain_graph_errors(self._task, self._task.train_step, self._state, batches, xla=xla)


def fit(
    state: TrainState, data: Data, task: Task, config: Config, best_metric: BestMetric, early_stopping: EarlyStopping,
    train_steps: TrainSteps | None = None,
) -> Iterator[Event]:  # fmt: skip
    """Trains `state` until all epochs are completed or early stopping ends it.

    Args:
        state: trained in place; training continues at its step and epoch.
        data: training batches by index, and the validation split.
        task: the training step and the metrics.
        config: epochs, steps_per_execution, compile, on_nonfinite.
        best_metric, early_stopping: find the best epoch, and decide when to stop before the last one.
        train_steps: of the same run, traced or not; None to create them.

    Yields:
        Progress during training and validation, EpochDone after each epoch's validation, Stopped at the end. The state
        does not change while an event is handled, so the consumer may save it, or stop iterating.

    Raises:
        TfloopError: with `on_nonfinite: stop`, a value is not finite (exit code 5).
    """
    started, steps = time.perf_counter(), data.steps_per_epoch  # the first epoch includes tracing
    train_steps = train_steps or TrainSteps(state, data, task, config)
    inner_loop, batches = train_steps.start()
    guard = NonFiniteGuard(inner_loop, state, data, batches, stop=config.on_nonfinite == "stop")
    evaluator = Evaluator(state, data, task, config)
    executions, traces = StepsPerExecution(config.steps_per_execution, config.checkpoint.every_steps), guard.traces
    for epoch in range(int(state.epoch) + 1, config.epochs + 1):
        if early_stopping.should_stop(state):
            break
        guard.start_epoch(epoch - 1)
        earlier_examples = float(state.metric_sums[-1])
        while (left := int(state.epoch_start) + steps - int(state.step)) > 0:
            with executions.next(first := int(state.step), left) as count, train_steps.explain_errors(first, count):
                guard.run_steps(count)
            rate = count * data.batch_size / executions.seconds
            yield Progress(epoch, int(state.step), steps - left + count, values_of(state, task), rate, "train", steps)
        train_seconds = time.perf_counter() - started
        # `train` covers the whole epoch, `examples` only those trained by this process
        train, examples = values_of(state, task), float(state.metric_sums[-1]) - earlier_examples
        started = time.perf_counter()
        validation = yield from validate(evaluator, data, epoch, state)
        is_best = best_metric.update(state, validation)
        early_stopping.update(state, validation)
        state.end_epoch(epoch)
        yield EpochDone(
            epoch=epoch,
            step=int(state.step),
            train=train,
            validation=validation,
            train_seconds=train_seconds,
            validation_seconds=time.perf_counter() - started,
            examples_per_second=examples / max(train_seconds, 1e-9),
            best=is_best,
            retraces=guard.traces - traces,
            skipped_batches=int(state.skipped_steps[0]),
            learning_rate=state.learning_rate(),
        )
        started = time.perf_counter()
    yield Stopped("early_stopping" if early_stopping.should_stop(state) else "completed", int(state.step))


def compile_steps(task: Task, state: TrainState, config: Config, *, single_threaded: bool = True) -> InnerLoop:
    """Returns the inner loop, (batches, count) -> bool: `count` training steps in one call of a compiled function.

    `batches` yields (inputs, targets); `count` is int32 []. The result is whether all values are still finite, bool [].
    """
    one_step, xla, autograph = task.train_step, config.compile == "xla", uses_autograph(task)
    settings = kernel_settings(config)
    if xla or autograph:
        one_step = tf.function(one_step, jit_compile=xla, autograph=autograph)

    def measured_step(batch: Batch) -> tf.Tensor:
        return sums(one_step(state, batch), state.metrics)

    if config.accumulates_gradients:
        measured_step = accumulate_gradients(measured_step, state, config.micro_batch_size)

    def train_steps(batches: Iterator[Batch], count: tf.Tensor) -> tf.Tensor:
        metric_sums = state.metric_sums.value()
        for _ in tf.range(count):
            metric_sums += measured_step(next(batches))
            state.step.assign_add(1)
        state.metric_sums.assign(metric_sums)
        return state.is_finite()

    # Only the `for` above needs AutoGraph. Converting everything that it calls would take longer than tracing it.
    in_graph = tf.autograph.to_graph(train_steps, recursive=False)

    def trace(batches: Iterator[Batch], count: tf.Tensor) -> tf.Tensor:
        with fast_kernels(settings):
            return in_graph(batches, count)

    # AutoGraph and the loss scale of float16 need nested functions, which the single-threaded executor cannot run.
    single_threaded &= config.device == "cpu" and not (xla or autograph or config.precision == "float16")
    if single_threaded and suits_single_thread(state, use_native=settings.native_threads > 0):
        return SingleThreadedExecutor(trace)
    return tf.function(trace, autograph=False)


def validate(evaluator: Evaluator, data: Data, epoch: int, state: TrainState) -> Generator[Event, None, Metrics | None]:
    """Evaluates the validation split, yielding Progress; returns its metrics, None without."""
    examples = data.examples("validation")
    if not examples or not evaluator.available:
        return None
    parts: list[MetricValues] = []
    for chunk in evaluator.chunks("validation"):
        parts += chunk
        done = evaluator.joined("validation", parts)
        yield Progress(epoch, int(state.step), done.examples, done.metrics, 0.0, "validation", examples)
    return evaluator.joined("validation", parts).metrics
