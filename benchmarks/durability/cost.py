"""The cost of fault tolerance: checkpoints on MNIST, and the checks for non-finite values."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.durability.common import Campaign, median

MNIST: dict[str, Any] = {"dataset": "mnist", "model": {"name": "conv_net", "filters": [32]}, "device": "cpu"}
CALLS_PER_EPOCH = 10  # of about 0.2 s, as in training


def cost(campaign: Campaign, folder: Path) -> None:
    """Measures the time of checkpoints per epoch, and the time of steps with and without checks."""
    from benchmarks.durability.resumes import Run
    from tfloop_cli.engine.checkpoints.manager import CheckpointManager
    from tfloop_cli.events import EpochDone

    run = Run(MNIST | {"epochs": 2 if campaign.quick else 5, "validation": 5000})
    waiting: list[float] = []
    writing: list[float] = []
    epochs: list[float] = []
    checkpoints = folder / "checkpoints"
    with CheckpointManager(checkpoints, run.state, run.config.checkpoint, run.manifest_facts(), print) as manager:
        write = manager._write

        def timed_write(*arguments: Any) -> None:
            started = time.thread_time()
            write(*arguments)
            writing.append(time.thread_time() - started)  # CPU time, which the training could have used

        manager._write = timed_write
        checkpoints.parent.mkdir(exist_ok=True)
        started = time.perf_counter()
        for event in run.events():
            before = time.perf_counter()
            manager.handle(event)
            if isinstance(event, EpochDone):
                waiting.append(time.perf_counter() - before)
                epochs.append(time.perf_counter() - started)
                started = time.perf_counter()
    fraction = (median(waiting) + median(writing)) / median(epochs)
    details = f"epoch {median(epochs):.2f} s; training waits {median(waiting) * 1000:.1f} ms, the writer uses "
    details += f"{median(writing) * 1000:.1f} ms of CPU time: {fraction:.2%}"
    campaign.check("one checkpoint per epoch on MNIST takes less than 1% of the time", fraction < 0.01, details)
    check_cost(campaign)


def check_cost(campaign: Campaign) -> None:
    """Compares steps with and without the checks for non-finite values, in several pairs of loops.

    The placement of tensors in memory changes the speed of a loop by about a percent for its lifetime, so one pair is
    not sufficient.
    """
    pairs, turns = (1, 20) if campaign.quick else (7, 40)
    fractions = [measure_checks(turns, checked_first=pair % 2 == 0) for pair in range(pairs)]
    each = ", ".join(f"{one:+.2%}" for one in fractions)
    details = f"{median(fractions):+.2%} of a step; {pairs} pairs of loops: {each}"
    campaign.check("the checks for non-finite values take less than 1% of the time", median(fractions) < 0.01, details)


def measure_checks(turns: int, checked_first: bool) -> float:
    """Returns the time of the checks as a fraction of a step without them.

    Args:
        turns: calls per loop; the two loops take turns.
        checked_first: whether the loop with checks is built first.
    """
    import tensorflow as tf

    from benchmarks.durability.resumes import Run
    from tfloop_cli.engine.loop import compile_steps
    from tfloop_cli.engine.training.non_finite import NonFiniteGuard

    guards: dict[bool, Any] = {}
    for checked in (checked_first, not checked_first):
        run = Run(MNIST | {"epochs": 50, "validation": 5000})
        batches = run.data.batch_iterator(0, 10**5)
        with nullcontext() if checked else without_checks():
            inner_loop = compile_steps(run.task, run.state, run.config)
            inner_loop(batches.batches, tf.constant(0, tf.int32))  # traced in this context
        if checked:
            guards[checked] = NonFiniteGuard(inner_loop, run.state, run.data, batches, stop=True)
        else:
            guards[checked] = Unguarded(inner_loop, batches)
    count = run.data.steps_per_epoch // CALLS_PER_EPOCH
    assert count * CALLS_PER_EPOCH == run.data.steps_per_epoch
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns):
        for checked in ((True, False), (False, True))[turn % 2]:
            started = time.perf_counter()
            if turn % CALLS_PER_EPOCH == 0:
                guards[checked].start_epoch(turn // CALLS_PER_EPOCH)
            guards[checked].run_steps(count)
            seconds[checked].append(time.perf_counter() - started)
    # The lower quartile, because other load on the machine only adds time.
    quartile = {checked: sorted(times)[len(times) // 4] for checked, times in seconds.items()}
    return quartile[True] / quartile[False] - 1


class Unguarded:
    """A replacement for `NonFiniteGuard` without checks and snapshots."""

    def __init__(self, inner_loop: Any, batches: Any) -> None:
        self._inner_loop, self._batches = inner_loop, batches
        self.start_epoch = batches.set_epoch

    def run_steps(self, count: int) -> None:
        """Runs `count` steps and waits for the result."""
        import tensorflow as tf

        bool(self._inner_loop(self._batches.batches, tf.constant(count, tf.int32)))


@contextmanager
def without_checks() -> Iterator[None]:
    """A context in which steps are traced without the checks for non-finite values."""
    from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
    from tfloop_cli.engine.state import TrainState

    def apply(self: Any, gradients: Any, variables: Any, loss: Any) -> None:
        self._update(gradients, variables)

    with (
        mock.patch.object(RunOptimizer, "_apply", apply),
        mock.patch.object(TrainState, "is_finite", return_value=True),
    ):
        yield
