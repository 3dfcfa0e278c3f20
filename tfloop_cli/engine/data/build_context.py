"""What the builder of a dataset may use besides its arguments: task and splits of the run, encoders of another."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfloop_cli.config.data_paths import DATA as DATA
from tfloop_cli.engine.data.choosing import SplitRules
from tfloop_cli.engine.data.read_files import ReadFiles


@dataclass(frozen=True)
class BuildContext:
    """The circumstances in which a dataset is built.

    Attributes:
        numbers: whether the task predicts numbers; otherwise the data decides.
        decides: whether the data decides it (`task: auto`), where whole numbers may be classes or numbers.
        encoders: of the run whose weights are used, as `Encoders.to_json` has them; None to fit them to the data.
        split: the only split that is needed, if the dataset has it as a split of its own; None for all splits. The
            files of other splits are not read then: they may be gone.
        data: a file or folder to read in place of the dataset's own, as its only split `DATA`; None for its own.
        rules: what is held out of the training split. Encoders are fitted to `training_rows`, and `Dataset.columns`
            has the columns that the rules name.
        classes: whether the task needs the classes of images.
        files: what is read, and what the run has read. A builder calls its methods for each split.
    """

    numbers: bool = False
    encoders: Mapping[str, Any] | None = None
    split: str | None = None
    data: Path | None = None
    rules: SplitRules = field(default_factory=SplitRules)
    classes: bool = True
    decides: bool = False
    files: ReadFiles = field(default_factory=ReadFiles)

    def needed(self, splits: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the splits that are read, of those that a dataset has; or `data` as the split `DATA`."""
        if self.data:
            return {DATA: self.data}
        splits = self.trained(splits)
        return {self.split: splits[self.split]} if self.split in splits else dict(splits)

    def trained(self, splits: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the splits that there were at training; all if that is not known."""
        known = self.files.trained
        return {split: one for split, one in splits.items() if not known or split in known}


_CURRENT: ContextVar[BuildContext | None] = ContextVar("build_context", default=None)


def build_context() -> BuildContext:
    """Returns the circumstances of the current build."""
    return _CURRENT.get() or BuildContext()


@contextmanager
def use_context(context: BuildContext) -> Iterator[None]:
    """A context in which a dataset is built."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)
