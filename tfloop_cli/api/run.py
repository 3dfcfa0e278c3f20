"""A run, as Python programs use it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfloop_cli.api.process import ApiConsole, in_this_process
from tfloop_cli.config.loading import load as load_config
from tfloop_cli.config.loading import to_mapping
from tfloop_cli.errors import TfloopError
from tfloop_cli.files import read_json
from tfloop_cli.runs import folder
from tfloop_cli.runs.checkpoints import is_checkpoint
from tfloop_cli.runs.documents import read_epoch
from tfloop_cli.runs.folder import RunFolder, run_of

if TYPE_CHECKING:
    import keras

    from tfloop_cli.engine.trained_run import TrainedRun


def load(run: str | Path, *, runs_dir: str | Path = "runs") -> "Run":
    """Returns a run; TensorFlow is loaded only when the model is used.

    Args:
        run: a run folder, the name of a run in `runs_dir`, or "last".
        runs_dir: the parent folder of all runs.

    Raises:
        TfloopError: there is no such run.
    """
    found = folder.find(str(run), Path(runs_dir))
    return Run(run_of(found).path if is_checkpoint(found) else found)


class Run:
    """A run: its results, and its model with the best weights.

    Args:
        path: the run folder.

    Attributes:
        path: likewise.
        code: Python files that register components which the model needs, if this program has not registered them.
        trust_code: whether to run the copies of such files in the run folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.code: Sequence[Path] = ()
        self.trust_code = False

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json: final and best metrics, why the run ended; empty while it trains."""
        return dict(read_json(RunFolder(self.path).summary))

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the test split with the best weights; empty if it was not evaluated."""
        test = (self.summary.get("evaluations") or {}).get("test") or {}
        return {name: _number(value) for name, value in test.items() if name != "examples"}

    @property
    def history(self) -> list[dict[str, float]]:
        """One dict per epoch: `epoch`, `step`, `train/loss`, `validation/accuracy`, ..., `train_seconds`."""
        try:
            lines = RunFolder(self.path).metrics.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        rows = []
        for epoch in filter(None, map(read_epoch, lines)):
            row: dict[str, float] = {"epoch": epoch.epoch, "step": epoch.step}
            row |= {f"train/{name}": value for name, value in epoch.train.items()}
            row |= {f"validation/{name}": value for name, value in (epoch.validation or {}).items()}
            rows.append(row | {"train_seconds": epoch.train_seconds})
        return rows

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, all defaults included."""
        return to_mapping(load_config([str(RunFolder(self.path).config)]).config)

    @cached_property
    def _trained(self) -> "TrainedRun":
        """The model with the best weights, built once."""
        console = ApiConsole(progress=False)
        with in_this_process(console):
            from tfloop_cli.commands.opening import open_trained_run

            return open_trained_run(self.path, console, code=self.code, trust_code=self.trust_code)

    def model(self) -> "keras.Model":
        """Returns the Keras model with the best weights (EMA weights, if the run has them).

        Its inputs are those of training: images as floats from 0 to 1, encoded rows; its outputs are logits, or
        standardized numbers. `raw_model` takes raw inputs.

        Raises:
            TfloopError: the task has several models, or the checkpoint cannot be used.
        """
        models = self._trained.state.models
        if len(models) != 1:
            raise TfloopError(f"the run has several models, {', '.join(models)}", hint="use `run.models()`")
        return next(iter(models.values()))

    def models(self) -> "Mapping[str, keras.Model]":
        """Returns all Keras models by name, such as `generator` and `discriminator`."""
        return dict(self._trained.state.models)


def _number(value: Any) -> float:
    """Restores NaN, which JSON does not have."""
    return float("nan") if value is None else float(value)
