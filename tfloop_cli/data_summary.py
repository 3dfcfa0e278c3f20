"""What `tfloop inspect data` shows of data: plain numbers and strings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SplitSummary:
    """One split of inspected data.

    Attributes:
        name: of the split.
        examples: their number.
        classes: name of each class -> its number of examples; None without classes.
        targets: of targets that are numbers: "mean", "deviation", "minimum" and "maximum", each a number per target.
        repeated: how many examples equal an earlier one of the split, as the model sees them; None if not compared.
    """

    name: str
    examples: int
    classes: Mapping[str, int] | None = None
    targets: Mapping[str, list[float]] | None = None
    repeated: int | None = None


@dataclass(frozen=True)
class InputSummary:
    """One input of inspected data.

    Attributes:
        name: of the input; "" for the only one.
        shape: of one example; None for a length that differs.
        dtype: of the data.
        mean, deviation: over a sample of the training split, as the model receives the input before augmentation: one
            number per channel of images, else one number; empty for ids.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something about the data that is likely to be wrong.

    Attributes:
        kind: "invalid_examples", "missing_class", "single_class", "duplicates", "shared_groups", "constant_column" or
            "leak".
        message: one sentence.
        split, column: where, if it is one place.
        count: number of examples, if it is about some.
        places: file and line of each example that cannot be read or used, as far as they are known.
    """

    kind: str
    message: str
    split: str | None = None
    column: str | None = None
    count: int | None = None
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thumbnails:
    """Images side by side, for a terminal.

    Attributes:
        label: what they have in common.
        width: of the strip, in pixels.
        pixels: RGB, one byte per value, row by row.
    """

    label: str
    width: int
    pixels: bytes


@dataclass(frozen=True)
class DataSummary:
    """What a training run would read; see `tfloop inspect data`.

    Attributes:
        dataset, task: their names.
        splits: in the order train, validation, test, others.
        inputs: what an example has.
        columns: of a table: see `RunStarted`; numbers also have `mean` and `deviation`.
        notes: what was decided about the data, one sentence each.
        examples: the first training examples as they are in the file: name of a column -> its text.
        image: path of the image grid; None if there is none.
        rows: what the rows of the grid contain: names of classes; empty for any training images.
        findings: what is likely to be wrong.
        thumbnails: parts of the grid; not in documents.
    """

    dataset: str
    task: str
    splits: tuple[SplitSummary, ...]
    inputs: tuple[InputSummary, ...]
    columns: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    examples: tuple[Mapping[str, str], ...] = ()
    image: str | None = None
    rows: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    thumbnails: tuple[Thumbnails, ...] = ()
