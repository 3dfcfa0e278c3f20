"""Checkpoints: every variable that a step changes, as data, each complete or absent.

A checkpoint is a folder with `state.safetensors` and `manifest.json`. It is written beside its place, file by file to
the disk itself, and renamed into place last: whoever finds it finds it whole. Nothing read from it can name code.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  safetensors needs it to know bfloat16
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from tfloop_cli.config import CheckpointConfig
from tfloop_cli.engine.state import NEVER, TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Event, Stopped
from tfloop_cli.rundir import MANIFEST, sync_folder

SCHEMA = 1
STATE = "state.safetensors"
LARGEST_MANIFEST = 64 * 2**20  # bytes; a larger one was not written by tfloop
NAME = re.compile(r"step-(\d{8,})(?:-(\d+))?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder whose manifest has been read; its state is verified when it is loaded.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` says.
    """

    path: Path
    manifest: Mapping[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config of the run that wrote it."""
        return dict(self.manifest["config"])

    @property
    def step(self) -> int:
        return int(self.manifest["step"])

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Reads a checkpoint's manifest.

        Raises:
            TfloopError: there is none, or it is damaged (exit code 6).
        """
        file = path / MANIFEST
        try:
            if file.stat().st_size > LARGEST_MANIFEST:
                raise ValueError("it is too large")
            manifest = json.loads(file.read_bytes())
            if manifest["schema"] != SCHEMA:
                raise ValueError(f"it has schema {manifest['schema']!r}, and this tfloop reads {SCHEMA}")
            for key, kind in (("step", int), ("config", dict), ("sha256", str), ("size", int), ("data", str), ("code", dict)):
                if type(manifest[key]) is not kind:
                    raise ValueError(f"its `{key}` is no {kind.__name__}")
        except FileNotFoundError as error:
            raise damaged(path, f"it has no {error.filename and Path(error.filename).name}") from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise damaged(path, f"{MANIFEST}: {error}") from error
        return cls(path, manifest)

    def arrays(self) -> dict[str, np.ndarray]:
        """The state's arrays by name, verified against the manifest.

        Raises:
            TfloopError: the file is missing, damaged or another one (exit code 6).
        """
        file = self.path / STATE
        try:
            if file.stat().st_size != self.manifest["size"]:
                raise ValueError(f"it has {file.stat().st_size} bytes, not {self.manifest['size']}")
            if sha256_of(file) != self.manifest["sha256"]:
                raise ValueError("its sha256 is not the manifest's")
            return load_file(file)
        except (OSError, ValueError, SafetensorError) as error:
            raise damaged(self.path, f"{STATE}: {error}") from error

    def restore(self, state: TrainState) -> None:
        """Puts the checkpoint's values into `state`; all of them, or none.

        Raises:
            TfloopError: the checkpoint is damaged, or of another model (exit code 6).
        """
        arrays, variables = self.arrays(), state.variables()
        for name in sorted(arrays.keys() | variables.keys()):
            held, wanted = arrays.get(name), variables.get(name)
            if held is None or wanted is None:
                problem = f"it has no `{name}`" if held is None else f"it has `{name}`, which this model has not"
            elif (held.shape, held.dtype) != (tuple(wanted.shape), wanted.dtype.as_numpy_dtype):
                problem = f"`{name}` is {held.dtype} {held.shape} in it and {wanted.dtype.name} {wanted.shape} here"
            else:
                continue
            raise TfloopError(
                f"checkpoint {self.path} is of another model: {problem}",
                hint="is the model built from the same config and the same code?",
                code=ExitCode.CHECKPOINT,
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])


class Checkpoints:
    """Consumes events: saves the state after epochs and when training stops, and knows the best and the last one.

    Args:
        directory: the run's `checkpoints/`; made when the first one is saved.
        state: saved and restored; at rest whenever an event comes.
        schedule: how often to save, and how many to keep.
        about: what the manifest says besides: the resolved config, the data's fingerprint, versions, machine.
    """

    def __init__(
        self, directory: Path, state: TrainState, schedule: CheckpointConfig, about: Mapping[str, Any]
    ) -> None:
        self._directory, self._state, self._schedule, self._about = directory, state, schedule, dict(about)
        self.best: Path | None = None
        self.last: Path | None = None
        self._saved_at: tuple[int, int] | None = None
        sweep(directory)

    def handle(self, event: Event) -> None:
        """Saves at the end of an epoch that the schedule names or that is the best, and at the end of training."""
        match event:
            case EpochDone(best=True):
                self.save()
                self._point("best", self.last)
                self.best = self.last
                self._prune()
            case EpochDone(epoch=epoch) if epoch % self._schedule.every_epochs == 0:
                self.save()
                self._prune()
            case Stopped():
                self.save()
                self._prune()

    def save(self) -> Path:
        """Commits the state as it is now, unless it is on disk already; returns the checkpoint's folder."""
        step, epoch = int(self._state.step), int(self._state.epoch)
        if self._saved_at != (step, epoch) or self.last is None:
            self.last = commit(self._directory, self._state, self._about)
            self._saved_at = (step, epoch)
            self._point("last", self.last)
        return self.last

    def restore_best(self) -> Path:
        """Puts the best weights into the state, where a validation said which; otherwise keeps the last."""
        path = self.best or self.save()
        Checkpoint.open(path).restore(self._state)
        return path

    def _point(self, name: str, target: Path | None) -> None:
        """Makes the link `best` or `last` name a checkpoint, in one step."""
        assert target is not None
        fresh = self._directory / f".{name}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target.name)
        fresh.replace(self._directory / name)
        sync_folder(self._directory)

    def _prune(self) -> None:
        """Removes all but the newest `keep` checkpoints, the best and the last."""
        everything = list_checkpoints(self._directory)
        wanted = {self.best, self.last, *everything[-self._schedule.keep :]}
        for path in everything:
            if path not in wanted:
                remove(path)


def commit(directory: Path, state: TrainState, about: Mapping[str, Any]) -> Path:
    """Writes a checkpoint durably: files, manifest, folder, rename, parent; in this order each is on the disk itself.

    Returns:
        The new folder, `step-` and the number of steps done.

    Raises:
        TfloopError: a number in the state is not finite (exit code 5), or the disk refuses (exit code 75).
    """
    if not state.all_finite():
        raise TfloopError(
            f"after step {int(state.step)} the weights or the optimizer's state are not finite; not saved",
            hint="the last good checkpoint is kept; lower `optimizer.learning_rate` or set `clip_norm: 1.0`",
            code=ExitCode.DIVERGED,
        )
    step = int(state.step)
    # A copy of every array, contiguous: safetensors saves other layouts wrong without a word.
    arrays = {name: np.array(variable.numpy(), order="C") for name, variable in state.variables().items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        staging = directory / f".staging-{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        content = save(arrays)
        _write(staging / STATE, content)
        manifest = {
            "schema": SCHEMA,
            "step": step,
            "epoch": int(state.epoch),
            "best_epoch": None if int(state.best_epoch) == NEVER else int(state.best_epoch),
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "weights_sha256": state.weights_sha256(),
            **about,
        }
        _write(staging / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
        sync_folder(staging)
        final = _free_name(directory, step)
        staging.rename(final)
        sync_folder(directory)
    except OSError as error:
        raise TfloopError(
            f"the checkpoint of step {step} could not be written to {directory}: {error.strerror or error}",
            hint="earlier checkpoints are untouched; make room or mend the folder, and go on with `--resume`",
            code=ExitCode.TRY_AGAIN,
        ) from error
    return final


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first."""
    found = [(match, path) for path in directory.glob("step-*") if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda item: (int(item[0][1]), int(item[0][2] or 1)))]


def sweep(directory: Path) -> None:
    """Removes what an interrupted save left behind."""
    for path in directory.glob(".staging-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in directory.glob(".removed-*"):
        shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Removes a checkpoint; it is whole or gone at every moment in between."""
    hidden = path.with_name(f".removed-{path.name}")
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def damaged(path: Path, problem: str) -> TfloopError:
    return TfloopError(
        f"checkpoint {path} is missing or damaged: {problem}",
        hint="take another checkpoint of the run: `--checkpoint last`, `best` or a step",
        code=ExitCode.CHECKPOINT,
    )


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(file: Path, content: bytes) -> None:
    """Returns when the disk itself has it."""
    with file.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _free_name(directory: Path, step: int) -> Path:
    """`step-00002345`, or with a number behind it where that step has been saved in another state (an epoch's end)."""
    path, number = directory / f"step-{step:08d}", 2
    while path.exists():
        path, number = directory / f"step-{step:08d}-{number}", number + 1
    return path
