"""What a report is made of: the files of a run folder, read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfloop_cli.engine.evaluation_files import Examples, TestOutputs, read_examples, read_outputs
from tfloop_cli.engine.image_shapes import has_image_shape
from tfloop_cli.files import read_json
from tfloop_cli.report.statistics import cross_entropy
from tfloop_cli.runs.records import RunRecord, listed, mapping


@dataclass(frozen=True)
class OtherData:
    """Data that a report shows in place of the test split.

    Attributes:
        name: of its file or folder.
        fingerprint: of its content.
        metrics: of the run on it, with the number of `examples`.
    """

    name: str
    fingerprint: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ReportedRun:
    """A run, with what it keeps of its test split, or with other data in place of it.

    Attributes:
        record: its folder.
        outputs: targets and outputs of the test split; None if the run has none that can be used.
        examples: some examples of the test split; None likewise.
        encoders: how the data was encoded; empty if the dataset has no encoders.
        other: the data that outputs and examples are of; None for the test split.
    """

    record: RunRecord
    outputs: TestOutputs | None
    examples: Examples | None
    encoders: Mapping[str, Any]
    other: OtherData | None = None

    @classmethod
    def read(cls, record: RunRecord) -> "ReportedRun":
        """Reads a run folder; what is missing or damaged is omitted."""
        outputs, examples = read_outputs(record.run.evaluation), read_examples(record.run.evaluation)
        if outputs is None or (examples and examples.positions.max(initial=0) >= len(outputs.scores)):
            examples = None
        return cls(record, outputs, examples, read_json(record.run.encoders))

    @property
    def shown(self) -> str:
        """What outputs and examples are of, for the reader: "test split" or the name of other data."""
        return self.other.name if self.other else "test split"

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics of these examples, with their number as `examples`; empty if the run has none."""
        if self.other:
            return self.other.metrics
        return mapping(mapping(self.record.summary.get("evaluations")).get("test"))

    @cached_property
    def target(self) -> Mapping[str, Any]:
        """The only target, as meta.json has it: `shape`, `class_names`, `one_hot`; empty for several."""
        targets = mapping(mapping(self.record.metadata.get("spec")).get("targets"))
        return targets if isinstance(targets.get("shape"), list) else {}

    @cached_property
    def class_names(self) -> Sequence[str]:
        """Names of the classes in the order of the scores; empty if the outputs are no probabilities of classes."""
        if self.outputs is None or self.outputs.scores.dtype != np.float32 or set(self.outputs.targets) != {""}:
            return ()
        names, count = listed(self.target.get("class_names")), self.outputs.scores.shape[1]
        if self.target and len(names) != count:
            return ()
        return [str(name) for name in names] or [str(number) for number in range(count)]

    @cached_property
    def labels(self) -> np.ndarray | None:
        """The true class of each example, int64 [examples]; None if the targets are no classes."""
        if not self.class_names or self.outputs is None:
            return None
        targets, count = self.outputs.targets[""], len(self.class_names)
        one_hot = targets.shape[1:] == (count,) and count > 1
        if not one_hot and targets.shape[1:] not in ((), (1,)):
            return None
        labels = targets.argmax(axis=1) if one_hot else targets.reshape(-1).astype(np.int64)
        return labels if labels.min() >= 0 and labels.max() < count else None

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Targets and predictions in own units, float64 [examples, numbers]; None if the targets are no numbers."""
        if self.outputs is None or self.outputs.scores.dtype != np.float64 or set(self.outputs.targets) != {""}:
            return None
        targets = self.outputs.targets[""].astype(np.float64).reshape(len(self.outputs.scores), -1)
        return (targets, self.outputs.scores) if targets.shape == self.outputs.scores.shape else None

    @cached_property
    def loss(self) -> np.ndarray | None:
        """What the examples are sorted by, [examples]: their loss, else how wrong the prediction is."""
        if self.outputs is not None and self.outputs.loss is not None and self.outputs.loss.ndim == 1:
            return self.outputs.loss
        if self.labels is not None and self.outputs is not None:
            return cross_entropy(self.outputs.scores, self.labels)
        return None if self.numbers is None else np.abs(self.numbers[1] - self.numbers[0]).mean(axis=1)

    @cached_property
    def image(self) -> np.ndarray | None:
        """The kept examples as images, [kept, height, width] or [kept, height, width, channels]; None for others."""
        if self.examples is None:
            return None
        return next((one for one in self.examples.inputs.values() if is_image(one.shape[1:])), None)


def is_image(shape: Sequence[int]) -> bool:
    """Whether an input has the shape of one image: [height, width], or with channels."""
    return len(shape) in (2, 3) and has_image_shape(shape) and min(shape[:2]) > 1
