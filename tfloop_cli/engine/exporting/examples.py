"""Real examples on which an exported model is compared with its run, and int8 is calibrated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import InputSpec, build_data
from tfloop_cli.engine.data.build_context import DATA
from tfloop_cli.engine.data.structures import Structure, is_several, map_structure, named_values, structure_like
from tfloop_cli.engine.evaluation_files import read_examples
from tfloop_cli.engine.run_data import build_run_data
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import TfloopError
from tfloop_cli.runs.folder import run_of

MAX_EXAMPLES = 1000  # of a split
RANDOM_EXAMPLES, RANDOM_LENGTH = 200, 20


@dataclass(frozen=True)
class ExportExamples:
    """Examples as the run's dataset has them.

    Attributes:
        inputs: [examples, ...].
        targets: the class of each one, int32 [examples], or numbers float64 [examples, numbers]; None if unknown.
        origin: where they come from, for the user.
    """

    inputs: Structure
    targets: np.ndarray | None
    origin: str


def find_examples(
    run: TrainedRun,
    *,
    split: str | None = None,
    data: Path | None = None,
    warn: Callable[[str], None] = lambda line: None,
    note: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> ExportExamples:
    """Returns examples of other data, of a split, of those that the run keeps, of its test split, or random inputs.

    Args:
        run: whose dataset, encoders and folder are used.
        split: to read up to `MAX_EXAMPLES` of, evenly spaced; None for the kept ones.
        data: a file or folder to read in place of a split.
        warn, note: print warnings and notes about the data.
        progress: shows how far slow work is.

    Raises:
        TfloopError: `data` or `split` cannot be read (exit code 4), or the dataset has no such split (exit code 2).
    """
    how = {"warn": warn, "note": note, "progress": progress}
    if data or split:
        return _of_split(run, split or DATA, data, how)
    if kept := _kept(run):
        return kept
    try:
        return _of_split(run, "test", None, how)
    except TfloopError as error:
        warn(f"no test examples: {error.problems[0].message}; use `--data FILE_OR_FOLDER`")
    random = {name: _random(name, one, run) for name, one in named_values(run.spec.inputs)}
    return ExportExamples(structure_like(run.spec.inputs, random), None, "random")


def _kept(run: TrainedRun) -> ExportExamples | None:
    """Returns the examples in the run folder; None if there are none that suit the model."""
    found = read_examples(run_of(run.checkpoint.path.resolve()).evaluation)
    if found is None:
        return None
    try:
        inputs = map_structure(_checked, structure_like(run.spec.inputs, found.inputs), run.spec.inputs)
    except (KeyError, ValueError):
        return None
    targets = found.targets.get("") if not is_several(run.spec.targets) else None
    return ExportExamples(inputs, _targets(run, targets), "kept of the test split, with its worst and best")


def _checked(values: np.ndarray, spec: InputSpec) -> np.ndarray:
    tf.TensorShape([None, *spec.shape]).assert_is_compatible_with(values.shape)
    if values.dtype != spec.dtype:
        raise ValueError("another dtype")
    return values


def _of_split(run: TrainedRun, split: str, data: Path | None, how: Mapping[str, Any]) -> ExportExamples:
    encoders = run.encoders or None
    if data:
        built = build_data(run.config, how["warn"], encoders, other=data, progress=how["progress"])
    else:
        built = build_run_data(run.checkpoint, run.config, encoders, split, **how)
    if not built.examples(split):
        raise TfloopError(f"there is no split `{split}`", hint=f"this dataset has {', '.join(built.splits)}")
    source, indices = built.split(split)
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), MAX_EXAMPLES)).astype(np.int64))
    with built.explain_errors():
        inputs, targets, *_ = source.gather(tf.constant(indices[chosen]))
    known = None if is_several(run.spec.targets) else np.asarray(targets)
    return ExportExamples(map_structure(np.asarray, inputs), _targets(run, known), str(data or f"{split} split"))


def _targets(run: TrainedRun, targets: np.ndarray | None) -> np.ndarray | None:
    if targets is None:
        return None
    if run.spec.classes:
        return np.asarray(run.spec.labels_of(tf.constant(targets)))
    return np.asarray(targets, np.float64).reshape(len(targets), -1)


def _random(key: str, spec: InputSpec, run: TrainedRun) -> np.ndarray:
    """Returns inputs that a model can receive: [RANDOM_EXAMPLES, ...]."""
    random = np.random.default_rng(len(key))
    shape = [RANDOM_EXAMPLES, *(RANDOM_LENGTH if length is None else length for length in spec.shape)]
    if np.issubdtype(spec.dtype, np.integer) or spec.dtype == "bool":
        limit = run.spec.vocabulary or {"uint8": 256, "bool": 2}.get(spec.dtype, 1)
        return random.integers(0, limit, shape).astype(spec.dtype)
    values = random.standard_normal(shape)
    for column in run.spec.columns:
        if column.kind != "number":
            part = (len(values), column.stop - column.start)
            values[:, column.start : column.stop] = random.integers(0, column.ids or 2, part)
    return np.abs(values).astype(spec.dtype) if key == "weights" else values.astype(spec.dtype)
