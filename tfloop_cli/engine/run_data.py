"""The data of a trained run, as it was at training."""

import glob
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data, build_data
from tfloop_cli.engine.data.progress import Progress
from tfloop_cli.engine.data.read_files import phrases
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import run_of
from tfloop_cli.runs.metadata import load_data_files

Print = Callable[[str], None]


def build_run_data(
    checkpoint: Checkpoint,
    config: Config,
    encoders: Mapping[str, Any] | None,
    split: str,
    *,
    warn: Print,
    note: Print,
    progress: Progress = lambda *_: None,
) -> Data:
    """Builds the dataset of a run and its splits. What was added to its files after training is not used.

    A split with files of its own is read as it is now.

    Args:
        checkpoint: of the run.
        config: of the run on this machine.
        encoders: of the run, or None.
        split: the one that is needed.
        warn: prints that the data has changed otherwise, where a split is not held out.
        note: prints what was added.
        progress: shows how far slow work is.

    Raises:
        TfloopError: the data cannot be read, or the split is held out of a training split that has changed, so it would
            have other examples (exit code 4).
    """
    files = load_data_files(run_of(checkpoint.path.resolve()))
    try:
        data = build_data(config, warn, encoders, split=split, files=files, progress=progress)
    except TfloopError as error:
        if key := _missing(config):
            error.add_hint(f"if it was moved: `tfloop evaluate RUN --set dataset.{key}=NEW`")
        raise
    held_out, trained = checkpoint.manifest.get("held_out", {}), checkpoint.manifest["data"]
    if "train" not in data.splits:
        if split in held_out:
            raise _unknown(split, f"the dataset has a split `{split}` of its own now")
        return data
    selected = _selects_the_same(data, held_out)
    if data.fingerprint == trained and selected:
        for line in data.files.notes:
            note(f"{line}; `{split}` has the same {data.examples(split):,} examples as then")
        return data
    if split in held_out or data.run_splits.is_held_out(split):
        raise _unknown(split, phrases(data.files.changed or ["others would be held out"] * (not selected)))
    if data.files.trained:
        data = build_data(config, warn, encoders, split=split, progress=progress)
    warn("the data has changed since training: the metrics may not be comparable")
    return data


def _selects_the_same(data: Data, held_out: Mapping[str, Any]) -> bool:
    """Whether the same examples are held out as at training: the column of `group` or `split_by` may have changed."""
    now = data.run_splits.facts["held_out"]
    return all(one.get("sha256") in (None, now[split]["sha256"]) for split, one in held_out.items() if split in now)


def _missing(config: Config) -> str:
    """Returns the key of the dataset that names files or a folder, if there is nothing; else ""."""
    for key in ("train", "path"):
        names = config.dataset.arguments.get(key, ())
        for name in [names] if isinstance(names, str | Path) else names:
            path = str(Path(name).expanduser())
            if not (os.path.exists(path) or glob.glob(path, recursive=True)):  # noqa: PTH110, PTH207 (absolute)
                return key
    return ""


def _unknown(split: str, why: str) -> TfloopError:
    changed = f"has changed since training ({why})" if why else "has changed since training"
    return TfloopError(
        f"the training data, or how this version of tfloop reads it, {changed}, so the examples that were held out for "
        f"`{split}` are not known",
        hint="undo the change, or evaluate other data: `--data FILE_OR_FOLDER`",
        code=ExitCode.DATA,
    )
