"""Saves checkpoints in a background thread, from a copy of the training state."""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tfloop_cli.config.sections import CheckpointConfig
from tfloop_cli.engine.checkpoints.changes import apply_changes, has_new_learning_rate, require_same_epochs
from tfloop_cli.engine.checkpoints.storage import ModelMismatchError, restore, write_checkpoint
from tfloop_cli.engine.snapshot import Snapshot
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Event, Progress, Stopped
from tfloop_cli.files import disk_errors
from tfloop_cli.runs.checkpoints import (
    Checkpoint,
    damaged,
    list_checkpoints,
    remove,
    remove_leftovers,
    rename_as_backup,
    step_of,
)


class CheckpointManager:
    """Consumes events: saves as configured, and tracks the best and the last checkpoint.

    Training waits only for a copy of the state. A save waits for the previous one. A disk error is reported once, and
    saving is tried again the next time; it is an error only if the last state is not saved when training ends.

    Args:
        directory: the run's `checkpoints/`.
        state: the training state; it does not change while an event is handled.
        config: how often to save, and how many checkpoints to keep.
        facts: the rest of every manifest; see `write_checkpoint`. Its `run_id` identifies the checkpoints of this run.
        warn: prints a warning.
        encoders: how the data is encoded, as JSON; in every checkpoint.

    Attributes:
        facts: as above.
        changes: what new data or keys have changed in the restored state, one line each.
        best, last: folders of the best and the last checkpoint; None if there is none yet.
    """

    def __init__(
        self,
        directory: Path,
        state: TrainState,
        config: CheckpointConfig,
        facts: Mapping[str, Any],
        warn: Callable[[str], None],
        encoders: bytes | None = None,
    ) -> None:
        self._encoders = encoders
        self._directory, self._state, self._config = directory, state, config
        self.facts = dict(facts)
        self._warn, self._failed = warn, False
        # One thread, so that checkpoints are written in order.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="tfloop-save")
        self._pending: Future[None] | None = None
        self._saved = (-1, -1)  # step and epoch of the last requested save
        self._saved_at = time.monotonic()
        self._unsaved_best: Snapshot | None = None
        self._removal_failed = False
        self.changes: list[str] = []
        self.best: Path | None = None
        self.last: Path | None = None
        remove_leftovers(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Completes the current save, whatever ended the training; a divergence gets the checkpoint that is left."""
        self._writer.shutdown()
        if isinstance(error, TfloopError) and error.code == ExitCode.DIVERGED:
            error.add_hint(f"{self.last} is good" if self.last else "no checkpoint was saved before")

    def handle(self, event: Event) -> None:
        """Saves after an epoch or between two steps as configured, and when training stops.

        Raises:
            TfloopError: a value is not finite (exit code 5); at the end, a disk error (exit code 75).
        """
        match event:
            case EpochDone():
                best = event.best and self._config.best is not None
                if best or event.epoch % self._config.every_epochs == 0:
                    self._save(best)
            case Progress(phase="train"):
                steps, seconds = self._config.every_steps, self._config.every_seconds
                due = steps is not None and event.step % steps == 0
                if due or (seconds is not None and time.monotonic() - self._saved_at >= seconds):
                    self._save(best=False)
            case Stopped():
                self._save(best=False)
                self.finish()

    def finish(self) -> None:
        """Waits until everything is on disk.

        Raises:
            TfloopError: the last state could not be saved (exit code 75).
        """
        self._wait()
        if self._failed:
            self._save(best=False, again=True)
            self._wait()
        if self._failed:
            raise TfloopError(
                f"the last state could not be saved to {self._directory}",
                hint="earlier checkpoints are unchanged; free disk space or fix the folder, then use `--resume`",
                code=ExitCode.TRY_AGAIN,
            )

    def restore(self, path: Path | None, trace: Callable[[], None] = lambda: None) -> Checkpoint | None:
        """Restores the training state from a checkpoint, to resume the run from there.

        Later checkpoints are renamed as a backup, so that a later resume does not use them.

        Args:
            path: a checkpoint folder; None for the newest good one. Damaged ones are reported and skipped.
            trace: see `storage.restore`.

        Returns:
            The checkpoint; None if there is none yet.

        Raises:
            TfloopError: the given checkpoint, or each of them, is damaged or of another run (exit code 6); the data has
                another size within an epoch (exit code 2).
            ModelMismatchError: the checkpoint does not match the model.
        """
        available, skipped = list_checkpoints(self._directory), set()
        for candidate in [path] if path else reversed(available):
            try:
                checkpoint = Checkpoint.open(candidate)
                if checkpoint.manifest["run_id"] != self.facts["run_id"]:
                    raise damaged(candidate, "it belongs to another run")
                self._restore(checkpoint, trace)
            except ModelMismatchError:
                raise  # the others are of the same model
            except TfloopError as error:
                if path or error.code != ExitCode.CHECKPOINT:
                    raise
                self._warn(f"{error.problems[0].message}; skipped")
                skipped.add(candidate)
                continue
            self._back_up(_later(available, checkpoint), skipped)
            self.last = candidate
            self._saved = (int(self._state.step), int(self._state.epoch))
            self.best = checkpoint.best() if int(self._state.best_step) >= 0 else None
            if self.best is None and int(self._state.best_step) >= 0:
                self._warn(f"the checkpoint of the best epoch so far, step {int(self._state.best_step)}, is missing")
            return checkpoint
        if available:
            raise TfloopError(
                f"none of the {len(available)} checkpoints in {self._directory} can be used",
                hint="use another one with `--from PATH`, or start a new run without `--resume`",
                code=ExitCode.CHECKPOINT,
            )
        return None

    def restore_best(self) -> Path:
        """Restores the best weights if there is a validation split, else the last; returns the checkpoint's folder.

        Raises:
            TfloopError: neither can be read any more (exit code 6).
        """
        assert self.last is not None  # finish() was called
        if self.best and self.best != self.last:
            try:
                restore(Checkpoint.open(self.best), self._state)
                return self.best
            except TfloopError as error:
                self._warn(f"{error.problems[0].message}; the last weights are evaluated instead")
        restore(Checkpoint.open(self.last), self._state)
        return self.last

    def _restore(self, checkpoint: Checkpoint, trace: Callable[[], None]) -> None:
        manifest, state = checkpoint.manifest, self._state
        require_same_epochs(manifest, self.facts)
        new_rate = has_new_learning_rate(manifest, self.facts)
        restore(checkpoint, state, trace, fingerprint=self.facts["data"], new_learning_rate=new_rate)
        self.changes = apply_changes(manifest, self.facts, state)

    def _save(self, best: bool, again: bool = False) -> None:
        """Starts a save, unless the same state is saved or being saved."""
        now = (int(self._state.step), int(self._state.epoch))
        if self._saved == now and not again:
            return
        self._wait()  # so that the memory of the previous snapshot can be used again
        snapshot = self._state.snapshot()
        snapshot.require_finite()
        snapshot.in_use = True
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
            for job, is_best in jobs:
                self.last = write_checkpoint(self._directory, job, self.facts, self._encoders)
                job.in_use = False
                if is_best:
                    self.best, self._unsaved_best = self.last, None
        except OSError as error:
            self._unsaved_best = snapshot if best else self._unsaved_best
            snapshot.in_use = snapshot is self._unsaved_best
            if not self._failed:
                reason = error.strerror or error
                self._warn(f"step {snapshot.facts['step']} could not be saved to {self._directory}: {reason}")
                self._warn("training continues; the next save tries again")
            self._failed = True
            return
        self._failed = False
        self._prune()

    def _prune(self) -> None:
        """Removes all checkpoints except the newest `keep`, the best and the last.

        The last one was just written and is the newest, so a good checkpoint always remains.
        """
        try:
            everything = list_checkpoints(self._directory)
            kept = {self.best, self.last, *everything[-self._config.keep :]}
            for path in everything:
                if path not in kept:
                    remove(path)
        except OSError as error:
            if not self._removal_failed:
                self._warn(f"an old checkpoint could not be removed from {self._directory}: {error.strerror or error}")
            self._removal_failed = True

    def _back_up(self, paths: Sequence[Path], damaged_paths: Set[Path]) -> None:
        for path in paths:
            with disk_errors(path):
                rename_as_backup(path)
        if good := [path.name for path in paths if path not in damaged_paths]:
            self._warn(f"{', '.join(good)}: renamed to aside-... as a backup; the run resumes from an earlier step")


def _later(available: Sequence[Path], checkpoint: Checkpoint) -> list[Path]:
    """Returns those of a run's checkpoints that come after the given one, newest first."""
    same = [number for number, path in enumerate(available, 1) if path.resolve() == checkpoint.path.resolve()]
    earlier = [number for number, path in enumerate(available, 1) if step_of(path) <= checkpoint.manifest["step"]]
    return list(reversed(available[(same or earlier or [0])[-1] :]))
