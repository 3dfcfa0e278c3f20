"""The files of `RUN/evaluation/`: what a run keeps of its test split. Read and written with NumPy alone.

`test.npz` has the targets and the outputs of every example, `examples.npz` some raw examples, and `examples.jsonl` how
these are called; docs/run-folder-and-json.md describes them.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfloop_cli.files import json_text, parse_json, read_file, write_atomic

OUTPUTS, EXAMPLES, DESCRIPTIONS = "test.npz", "examples.npz", "examples.jsonl"
MAX_BYTES = 256 * 2**20  # of the scores, and of the raw examples
EVEN, EXTREME = 100, 50  # raw examples: evenly spaced ones; with the largest, and with the smallest loss
Arrays = Mapping[str, np.ndarray]  # name -> array; one array has the name ""


@dataclass(frozen=True)
class TestOutputs:
    """The targets and the outputs of the test split, in its order.

    Attributes:
        targets: [examples, ...], as the model's task has them; several by name, one has the name "".
        scores: probabilities float32 [examples, classes], or numbers in the targets' own units float64
            [examples, numbers].
        loss: of each example, [examples]; None if the task has no metric `loss`.
    """

    __test__ = False  # no class of tests, for pytest

    targets: Arrays
    scores: np.ndarray
    loss: np.ndarray | None


@dataclass(frozen=True)
class Examples:
    """Some examples of the test split as the dataset has them, in its order.

    Attributes:
        positions: in the test split, int64 [kept].
        inputs: uint8 images, encoded rows, padded ids, ...: [kept, ...]; several by name, one has the name "".
        targets: [kept, ...], likewise.
        descriptions: of each one, as far as known: `name` (of a file), `row` (column -> text of the cell), `text`.
    """

    positions: np.ndarray
    inputs: Arrays
    targets: Arrays
    descriptions: Sequence[Mapping[str, Any]] = ()


def evenly_spaced(examples: int, count: int = EVEN) -> np.ndarray:
    """Returns at most `count` evenly spaced positions of a split, ascending: int64."""
    return np.unique(np.linspace(0, examples - 1, min(count, examples)).astype(np.int64))


def extremes(loss: np.ndarray, count: int = EXTREME) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions with the largest loss, descending, and those with the smallest, ascending: int64.

    A loss that is NaN is the largest. An example is in one of them only.
    """
    order = np.argsort(np.where(np.isnan(loss), np.inf, loss), kind="stable")
    count = min(count, len(loss) // 2)
    return order[::-1][:count], order[:count]


def positions_to_keep(examples: int, loss: np.ndarray | None, limit: int) -> np.ndarray:
    """Returns which examples of a split are kept: int64, ascending.

    Args:
        examples: of the split.
        loss: of each one; None if unknown.
        limit: the largest number of examples to keep, at most `EVEN` + 2 * `EXTREME`; so many are all kept.
    """
    if examples <= limit:
        return np.arange(examples)
    kept = [evenly_spaced(examples, min(EVEN, -(-limit // 2)))]
    if loss is not None:
        kept += extremes(loss, min(EXTREME, limit // 4))
    return np.unique(np.concatenate(kept))


def write_outputs(folder: Path, outputs: TestOutputs) -> None:
    """Writes `test.npz` into a folder that is created if it does not exist. Raises OSError."""
    arrays = _named("targets", outputs.targets) | {"scores": outputs.scores}
    _write(folder / OUTPUTS, arrays | ({} if outputs.loss is None else {"loss": outputs.loss}))


def write_examples(folder: Path, examples: Examples) -> None:
    """Writes `examples.npz`, and `examples.jsonl` if the examples are described. Raises OSError."""
    named = _named("inputs", examples.inputs) | _named("targets", examples.targets)
    _write(folder / EXAMPLES, named | {"positions": examples.positions})
    if examples.descriptions:
        described = zip(examples.positions.tolist(), examples.descriptions, strict=True)
        lines = [json_text({"position": position, **about}) + "\n" for position, about in described]
        write_atomic(folder / DESCRIPTIONS, "".join(lines).encode())


def read_outputs(folder: Path) -> TestOutputs | None:
    """Returns the content of `test.npz`; None if it is missing or damaged."""
    arrays = _read(folder / OUTPUTS)
    targets, scores, loss = _several("targets", arrays), arrays.get("scores"), arrays.get("loss")
    if scores is None or scores.ndim != 2 or not targets or not len(scores):
        return None
    if any(len(one) != len(scores) for one in (*targets.values(), scores if loss is None else loss)):
        return None
    return TestOutputs(targets, scores, loss)


def read_examples(folder: Path) -> Examples | None:
    """Returns the content of `examples.npz` and `examples.jsonl`; None if the former is missing or damaged."""
    arrays = _read(folder / EXAMPLES)
    inputs, targets, positions = _several("inputs", arrays), _several("targets", arrays), arrays.get("positions")
    if positions is None or positions.ndim != 1 or positions.dtype != np.int64 or positions.min(initial=0) < 0:
        return None
    if not inputs or any(len(one) != len(positions) for one in (*inputs.values(), *targets.values())):
        return None
    described = _descriptions(folder / DESCRIPTIONS)
    about = [described.get(position, {}) for position in positions.tolist()]
    return Examples(positions, inputs, targets, about if described else ())


def _descriptions(path: Path) -> dict[int, dict[str, Any]]:
    """Returns the lines of `examples.jsonl` by position; none if it is missing or damaged."""
    try:
        lines = [parse_json(line) for line in read_file(path).splitlines()]
        return {line.pop("position"): line for line in lines}
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return {}


def _named(role: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {f"{role}/{name}" if name else role: array for name, array in arrays.items()}


def _several(role: str, arrays: Arrays) -> dict[str, np.ndarray]:
    parts = {key: key.partition("/") for key in arrays}
    return {name: arrays[key] for key, (found, _, name) in parts.items() if found == role}


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_atomic(path, content.getbuffer())


def _read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays in a file; none if it is missing or damaged, or needs more memory than a file of tfloop."""
    try:
        content = io.BytesIO(read_file(path, 4 * MAX_BYTES))
        with zipfile.ZipFile(content) as archive:
            if sum(one.file_size for one in archive.infolist()) > 4 * MAX_BYTES:
                return {}
        with np.load(content, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError):
        return {}
