"""When checkpoints are written: off the training thread, from a copy of the state."""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tfloop_cli.config import CheckpointConfig
from tfloop_cli.engine.checkpoint import (
    Checkpoint,
    Snapshot,
    best_of,
    commit,
    damaged,
    list_checkpoints,
    remove,
    set_aside,
    step_of,
    sweep,
)
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Event, Progress, Stopped
from tfloop_cli.rundir import disk_faults


class Checkpoints:
    """Consumes events: saves as the schedule says, and knows the best and the last checkpoint.

    The training waits only for a copy of the state. A save waits for the one before it. A disk that fails is told of
    once and tried again at the next save; only what is left unsaved when training ends is an error.

    Args:
        directory: the run's `checkpoints/`.
        state: saved and restored; at rest whenever an event comes.
        schedule: how often to save, and how many to keep.
        about: what every manifest says besides; see `commit`. Its `run_id` tells this run's checkpoints from others.
        warn: shows a line.

    Attributes:
        about: as above.
        best, last: the best and the last checkpoint's folder; None where there is none yet.
    """

    def __init__(
        self,
        directory: Path,
        state: TrainState,
        schedule: CheckpointConfig,
        about: Mapping[str, Any],
        warn: Callable[[str], None],
    ) -> None:
        self._directory, self._state, self._schedule = directory, state, schedule
        self.about = dict(about)
        self._warn, self._failed = warn, False
        # One thread, so that saves come in order.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="tfloop-save")
        self._pending: Future[None] | None = None
        self._saved = (-1, -1)  # step and epoch of the last save that was asked for
        self._saved_at = time.monotonic()
        self._unsaved_best: Snapshot | None = None
        self._littered = False
        self.best: Path | None = None
        self.last: Path | None = None
        sweep(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()  # what is being written is finished, whatever ended the training

    def handle(self, event: Event) -> None:
        """Saves at an epoch's end or between two steps where the schedule says so, and when training stops.

        Raises:
            TfloopError: a number is not finite (exit code 5); at the end, the disk failed (exit code 75).
        """
        match event:
            case EpochDone():
                best = event.best and self._schedule.best is not None
                if best or event.epoch % self._schedule.every_epochs == 0:
                    self._save(best)
            case Progress(phase="train"):
                steps, seconds = self._schedule.every_steps, self._schedule.every_seconds
                due = steps is not None and event.step % steps == 0
                if due or (seconds is not None and time.monotonic() - self._saved_at >= seconds):
                    self._save(best=False)
            case Stopped():
                self._save(best=False)
                self.finish()

    def finish(self) -> None:
        """Waits until everything is on disk.

        Raises:
            TfloopError: the newest state is not (exit code 75).
        """
        self._wait()
        if self._failed:
            self._save(best=False, again=True)
            self._wait()
        if self._failed:
            raise TfloopError(
                f"the last state could not be saved to {self._directory}",
                hint="earlier checkpoints are untouched; make room or mend the folder, and go on with `--resume`",
                code=ExitCode.TRY_AGAIN,
            )

    def resume(self, checkpoint: Path | None) -> Checkpoint | None:
        """Puts a checkpoint into the state.

        Args:
            checkpoint: a folder; None for the newest good one, the damaged ones named and passed over.

        Returns:
            The checkpoint that was taken; None where there is none yet. The run goes on from there: what came after it
            is set aside, lest a later resume should take up what was left behind.

        Raises:
            TfloopError: the given checkpoint is damaged, or of another model or run, or all are (exit code 6).
        """
        there, passed = list_checkpoints(self._directory), set()
        for path in [checkpoint] if checkpoint else reversed(there):
            try:
                taken = Checkpoint.open(path)
                if taken.manifest["run_id"] != self.about["run_id"]:
                    raise damaged(path, "it is of another run")
                taken.restore(self._state)
            except TfloopError as error:
                if checkpoint:
                    raise
                self._warn(f"{error.problems[0].message}; passed over")
                passed.add(path)
                continue
            self._set_aside(_newer(there, taken), passed)
            self.last = path
            self._saved = (int(self._state.step), int(self._state.epoch))
            self.best = best_of(taken)
            if self.best is None and int(self._state.best_step) >= 0:
                self._warn(f"the checkpoint of the best epoch so far, step {int(self._state.best_step)}, is gone")
            return taken
        if there:
            raise TfloopError(
                f"none of the {len(there)} checkpoints in {self._directory} can be used",
                hint="`--from PATH` takes another one; without `--resume` a new run begins",
                code=ExitCode.CHECKPOINT,
            )
        return None

    def restore_best(self) -> Path:
        """Puts the best weights into the state where a validation chose them, else the last; returns the checkpoint.

        Raises:
            TfloopError: neither can be read any more (exit code 6).
        """
        assert self.last is not None  # finish() was called
        if self.best and self.best != self.last:
            try:
                Checkpoint.open(self.best).restore(self._state)
                return self.best
            except TfloopError as error:
                self._warn(f"{error.problems[0].message}; the last weights are scored instead")
        Checkpoint.open(self.last).restore(self._state)
        return self.last

    def _save(self, best: bool, again: bool = False) -> None:
        """Starts a save, unless this very state is saved or being saved."""
        now = (int(self._state.step), int(self._state.epoch))
        if self._saved == now and not again:
            return
        snapshot = Snapshot.of(self._state)
        snapshot.require_finite()
        self._wait()
        self._saved, self._saved_at = now, time.monotonic()
        self._pending = self._writer.submit(self._write, snapshot, best)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _write(self, snapshot: Snapshot, best: bool) -> None:
        jobs = [(snapshot, best)]
        if self._unsaved_best and not best:
            jobs.insert(0, (self._unsaved_best, True))
        try:
            for taken, is_best in jobs:
                self.last = commit(self._directory, taken, self.about)
                if is_best:
                    self.best, self._unsaved_best = self.last, None
        except OSError as error:
            self._unsaved_best = snapshot if best else self._unsaved_best
            if not self._failed:
                reason = error.strerror or error
                self._warn(f"step {snapshot.facts['step']} could not be saved to {self._directory}: {reason}")
                self._warn("training goes on; it will be tried again at the next save")
            self._failed = True
            return
        self._failed = False
        self._prune()

    def _prune(self) -> None:
        """Removes all but the newest `keep` checkpoints, the best and the last.

        The last was written a moment ago and lies after all others: a good one stays, whatever befell those.
        """
        try:
            everything = list_checkpoints(self._directory)
            kept = {self.best, self.last, *everything[-self._schedule.keep :]}
            for path in everything:
                if path not in kept:
                    remove(path)
        except OSError as error:
            if not self._littered:
                self._warn(f"an old checkpoint could not be removed from {self._directory}: {error.strerror or error}")
            self._littered = True

    def _set_aside(self, paths: Sequence[Path], passed: Set[Path]) -> None:
        for path in paths:
            with disk_faults(path):
                set_aside(path)
        if left := [path.name for path in paths if path not in passed]:
            self._warn(f"{', '.join(left)}: kept beside, as aside-..., for the run goes on from an earlier step")


def _newer(there: Sequence[Path], taken: Checkpoint) -> list[Path]:
    """Those of a run's checkpoints that lie after the one that is taken, the newest first."""
    places = [number for number, path in enumerate(there, 1) if path.resolve() == taken.path.resolve()]
    steps = [number for number, path in enumerate(there, 1) if step_of(path) <= taken.manifest["step"]]
    return list(reversed(there[(places or steps or [0])[-1] :]))
