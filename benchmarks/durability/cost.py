"""What it costs to lose nothing: checkpoints on MNIST, and the checks for numbers that are not finite."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.durability.common import Campaign, median

MNIST: dict[str, Any] = {"dataset": "mnist", "model": {"name": "conv_net", "filters": [32]}, "device": "cpu"}


def cost(campaign: Campaign, folder: Path) -> None:
    """Seconds of checkpoints an epoch; steps with and without the checks, taking turns."""
    from benchmarks.durability.resumes import Run
    from tfloop_cli.config.loading import to_mapping
    from tfloop_cli.engine.checkpoints.saver import CheckpointSaver
    from tfloop_cli.events import EpochDone

    run = Run(MNIST | {"epochs": 2 if campaign.quick else 5, "validation": 5000})
    about = {"config": to_mapping(run.config), "data": run.data.fingerprint, "code": {}, "run_id": "one"}
    waited: list[float] = []
    written: list[float] = []
    epochs: list[float] = []
    with CheckpointSaver(
        folder / "checkpoints", run.state, run.config.checkpoint, about | {"total_steps": 1}, print
    ) as saver:
        write = saver._write

        def timed(*arguments: Any) -> None:
            started = time.thread_time()
            write(*arguments)
            written.append(time.thread_time() - started)  # of a processor, which the training might have used

        saver._write = timed
        (folder / "checkpoints").parent.mkdir(exist_ok=True)
        started = time.perf_counter()
        for event in run.steps():
            before = time.perf_counter()
            saver.handle(event)
            if isinstance(event, EpochDone):
                waited.append(time.perf_counter() - before)
                epochs.append(time.perf_counter() - started)
                started = time.perf_counter()
    share = (median(waited) + median(written)) / median(epochs)
    figures = f"epoch {median(epochs):.2f} s; training waits {median(waited) * 1000:.1f} ms, the writer takes "
    figures += f"{median(written) * 1000:.1f} ms of a processor: {share:.2%}"
    campaign.hold("a checkpoint every epoch on MNIST costs under 1%", share < 0.01, figures)
    checks(campaign)


def checks(campaign: Campaign) -> None:
    """The same steps with and without the checks for numbers that are not finite: several pairs of loops.

    Where a loop's tensors happen to lie in memory gives or takes a percent for as long as it lives, so one pair says
    little.
    """
    pairs, turns = (1, 20) if campaign.quick else (7, 40)
    shares = [share_of_checks(turns, first=pair % 2 == 0) for pair in range(pairs)]
    figures = f"{median(shares):+.2%} of a step; {pairs} pairs of loops: {', '.join(f'{one:+.2%}' for one in shares)}"
    campaign.hold("the checks for numbers that are not finite cost under 1%", median(shares) < 0.01, figures)


def share_of_checks(turns: int, first: bool) -> float:
    """Of a step without them; a loop with them and one without take turns. `first` is built first."""
    import tensorflow as tf

    from benchmarks.durability.resumes import Run
    from tfloop_cli.engine.loop import compile_steps
    from tfloop_cli.engine.training.non_finite import NonFiniteGuard

    guards: dict[bool, Any] = {}
    for checked in (first, not first):
        run = Run(MNIST | {"epochs": 50, "validation": 5000})
        feed = run.data.batch_iterator(0, 10**5)
        with nullcontext() if checked else unchecked():
            steps = compile_steps(run.task, run.state, run.config)
            steps(feed.batches, tf.constant(0, tf.int64))  # traced within
        guards[checked] = (
            NonFiniteGuard(steps, run.state, run.data, feed, stop=True) if checked else Unguarded(steps, feed)
        )
    count = run.data.steps_per_epoch // 10  # a call, as many as training takes in 0.2 s
    assert count * 10 == run.data.steps_per_epoch
    spent: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns):
        for checked in ((True, False), (False, True))[turn % 2]:
            started = time.perf_counter()
            if turn % 10 == 0:
                guards[checked].set_epoch(turn // 10)
            guards[checked].take(count)
            spent[checked].append(time.perf_counter() - started)
    # Other work on the machine only ever adds.
    lower = {checked: sorted(times)[len(times) // 4] for checked, times in spent.items()}
    return lower[True] / lower[False] - 1


class Unguarded:
    """What is left of a `NonFiniteGuard` that neither looks nor copies."""

    def __init__(self, steps: Any, feed: Any) -> None:
        self._steps, self._feed = steps, feed
        self.turn_to = feed.turn_to

    def take(self, count: int) -> None:
        import tensorflow as tf

        bool(self._steps(self._feed.batches, tf.constant(count, tf.int64)))  # waits for it


@contextmanager
def unchecked() -> Iterator[None]:
    """Steps that are traced within it do not look for bad numbers."""
    from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
    from tfloop_cli.engine.state import TrainState

    def apply(self: Any, gradients: Any, variables: Any, loss: Any) -> None:
        self._update(gradients, variables)

    with (
        mock.patch.object(RunOptimizer, "_apply", apply),
        mock.patch.object(TrainState, "is_finite", return_value=True),
    ):
        yield
