"""A training that is not kept: for `tfloop train --dry-run` and `tfloop lr-find`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine import runtime
from tfloop_cli.engine.data import BatchIterator, Data, build_data
from tfloop_cli.engine.data.structures import named_values
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task, build_task, decide_task
from tfloop_cli.engine.training.executor import InnerLoop
from tfloop_cli.engine.training.metric_sums import values_of
from tfloop_cli.engine.training.setup import build_state, limit_epochs, settle_splits
from tfloop_cli.errors import ExitCode, TfloopError


@dataclass
class Trial:
    """A training state at step 0, as `tfloop train` would begin with it.

    Attributes:
        config: of the run, with what was decided.
        data, task, state: as in training.
    """

    config: Config
    data: Data
    task: Task
    state: TrainState

    def __post_init__(self) -> None:
        self._steps = TrainSteps(self.state, self.data, self.task, self.config)
        self._loop: tuple[InnerLoop, BatchIterator] | None = None  # when the first step has been trained
        self._epoch = -1

    @classmethod
    def set_up(
        cls, config: Config, note: Callable[[str], None], warn: Callable[[str], None], progress: Callable[..., None]
    ) -> "Trial":
        """Builds data, task and model; see `commands/train.py`.

        Raises:
            TfloopError: as in training.
        """
        config = runtime.setup(config, note)
        data = build_data(config, warn, progress=progress)
        config = config.model_copy(update={"task": decide_task(config.task, data.spec, note)})
        task = build_task(config.task, data.spec)
        config = limit_epochs(settle_splits(task, data, config, note, warn), data, (0, 0), note)
        state = build_state(task, data, config, data.first_step(config.epochs), note)
        return cls(config, data, task, state)

    def run(self, count: int) -> float:
        """Trains up to `count` steps, to the end of the epoch at most; returns the seconds.

        Raises:
            TfloopError: a step made the loss or the state infinite or NaN (exit code 5).
        """
        started, step = time.perf_counter(), int(self.state.step)
        self._loop = self._loop or self._steps.start()
        inner_loop, batches = self._loop
        epoch = step // self.data.steps_per_epoch
        if epoch != self._epoch:
            batches.set_epoch(epoch)
            self._epoch = epoch
        count = min(count, (epoch + 1) * self.data.steps_per_epoch - step)
        with self._steps.explain_errors(step, count), self.data.explain_errors():
            finite = bool(inner_loop(batches.batches, tf.constant(count, tf.int32)))
        if not finite:
            raise TfloopError(
                f"the loss or the training state is not finite after step {step + count}", code=ExitCode.DIVERGED
            )
        return time.perf_counter() - started

    def metrics(self) -> dict[str, float]:
        """Returns the metrics of the steps since the last call; NaN if there were none."""
        values = dict(values_of(self.state, self.task))
        self.state.metric_sums.assign(tf.zeros_like(self.state.metric_sums))
        return values

    def evaluate(self, seconds: float) -> tuple[str, int, float] | None:
        """Evaluates batches of the validation or the test split for some seconds; None if there is nothing to evaluate.

        Returns the split, the number of examples, and the seconds without those of the first batch, which is traced.
        """
        split = next((name for name in ("validation", "test") if self.data.examples(name)), None)
        evaluator = Evaluator(self.state, self.data, self.task, self.config)
        if split is None or not evaluator.available:
            return None
        chunks, examples, first, started = evaluator.chunks(split), 0, 0, time.perf_counter()
        with self.data.explain_errors():
            for chunk in chunks:
                sizes = [len(next(iter(part.values()))) for part in chunk]
                examples += sum(sizes)
                if not first:
                    first, started = examples, time.perf_counter()
                if time.perf_counter() - started > seconds:
                    break
        spent = time.perf_counter() - started
        return split, examples, spent * examples / (examples - first) if examples > first else spent

    @property
    def state_bytes(self) -> int:
        """The size of a checkpoint in bytes."""
        return sum(one.dtype.size * one.shape.num_elements() for one in self.state.variables().values())

    def splits(self) -> dict[str, int]:
        """Returns the number of examples of each split, the training split first."""
        names = sorted(self.data.splits, key=lambda name: (("train", "validation", "test", name).index(name), name))
        return {name: self.data.examples(name) for name in names}

    def layers(self) -> Iterator[tuple[str, str, str, int]]:
        """Yields model, layer, output shape and number of parameters of each layer."""
        for name, model in self.state.models.items():
            for layer in model.layers:
                yield name, layer.name, _shape(layer), layer.count_params()

    def parameters(self) -> tuple[int, int]:
        """Returns the numbers of trainable and of other parameters of all models."""
        models = self.state.models.values()
        trainable = sum(int(np.prod(one.shape)) for model in models for one in model.trainable_variables)
        return trainable, sum(model.count_params() for model in models) - trainable

    def shapes(self) -> dict[str, str]:
        """Returns shape and dtype of inputs and targets, without the batch."""
        spec = self.data.spec
        inputs = [f"{name} {one.dtype} {_text(one.shape)}".strip() for name, one in named_values(spec.inputs)]
        targets = [
            f"{name} {f'one of {one.classes} classes' if one.classes else f'numbers {_text(one.shape)}'}".strip()
            for name, one in named_values(spec.targets)
        ]
        return {"inputs": "; ".join(inputs), "targets": "; ".join(targets)}

    def learning_rate(self) -> keras.Variable:
        """Returns the variable of the learning rate.

        Raises:
            TfloopError: there are several models, or the optimizer has a schedule of its own (exit code 2).
        """
        if len(self.state.optimizers) != 1:
            names = ", ".join(self.state.optimizers)
            raise TfloopError(f"the task trains several models ({names}), each with a learning rate of its own")
        rate = next(iter(self.state.optimizers.values())).inner._learning_rate
        if not isinstance(rate, keras.Variable):
            raise TfloopError(f"the optimizer `{self.config.optimizer.name}` has its own learning rate schedule")
        return rate


def _shape(layer: keras.Layer) -> str:
    try:
        return _text(layer.output.shape[1:])
    except AttributeError:  # it was not called on a symbolic tensor, or has several outputs
        return ""


def _text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if length is None else str(length) for length in shape) + "]"
