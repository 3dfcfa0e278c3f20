"""A run, as Python programs use it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfloop_cli.api.process import ApiConsole, in_this_process
from tfloop_cli.errors import TfloopError
from tfloop_cli.export_formats import check_formats
from tfloop_cli.files import read_json
from tfloop_cli.runs import folder
from tfloop_cli.runs.checkpoints import is_checkpoint
from tfloop_cli.runs.documents import read_epoch
from tfloop_cli.runs.folder import RunFolder, run_of
from tfloop_cli.runs.history import epoch_row
from tfloop_cli.runs.records import RunRecord

if TYPE_CHECKING:
    import keras

    from tfloop_cli.engine.trained_run import TrainedRun


def load(run: str | Path, *, runs_dir: str | Path = "runs") -> "Run":
    """Returns a run; TensorFlow is loaded only when the model is used.

    Args:
        run: a run folder, the name of a run in `runs_dir`, or "last": the newest that has a checkpoint. A warning is
            printed if there is a newer one.
        runs_dir: the parent folder of all runs.

    Raises:
        TfloopError: there is no such run.
    """
    found = folder.find(str(run), Path(runs_dir), ApiConsole(progress=False).warn)
    return Run(run_of(found).path if is_checkpoint(found) else found)


class Run:
    """A run: its results, and its model with the best weights.

    Args:
        path: the run folder.
        code: Python files that register components which the model needs, if this program has not registered them.

    Attributes:
        path, code: the arguments.
        trust_code: whether to run the copies of such files in the run folder.
    """

    def __init__(self, path: str | Path, code: Sequence[Path] = ()) -> None:
        self.path, self.code = Path(path), code
        self.trust_code = False
        self._opened: TrainedRun | None = None

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
        """One dict per epoch, with the columns of history.csv: `epoch`, `seconds`, `validation/accuracy`, ..."""
        try:
            lines = RunFolder(self.path).metrics.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [epoch_row(epoch) for line in lines if (epoch := read_epoch(line))]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, all defaults included, as plain data; empty if config.yaml is damaged."""
        return dict(RunRecord(RunFolder(self.path)).config)  # which needs no code of the user

    @property
    def _trained(self) -> "TrainedRun":
        """The model with the best weights, built once.

        It is no `cached_property`: before Python 3.12, that has a lock for all runs, which a thread would hold while it
        waits for one that trains, whose own code may need it for another run.
        """
        if self._opened is None:
            console = ApiConsole(progress=False)
            with in_this_process(console):
                from tfloop_cli.commands.opening import open_trained_run

                # Another thread may have built it while this one has waited.
                self._opened = self._opened or open_trained_run(
                    self.path, console, code=self.code, trust_code=self.trust_code
                )
        return self._opened

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

    def predict(
        self,
        inputs: Any,
        *,
        top: int = 1,
        probabilities: bool = False,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> list[dict[str, Any]]:
        """Returns one dict per input, with the columns of `tfloop predict`.

        Args:
            inputs: an array [examples, ...] as the run's dataset has them (several as a dict or a tuple of arrays);
                or a path, a table such as a pandas DataFrame, or a list of paths, of texts for a run on texts, or of
                rows as dicts.
            top: how many of the most probable classes are returned.
            probabilities: whether to return the probability of each class.
            batch_size: how many inputs the model sees at once; None for that of the run.
            progress: whether to print notes to stderr.

        Returns:
            Dicts with `input`, `prediction` and `probability`, or numbers in the target's units as `prediction`; with
            `error` if an input cannot be used.

        Raises:
            TfloopError: a file does not exist, the inputs do not suit the run, or there are none.
        """
        if batch_size is not None and batch_size < 1:
            raise TfloopError(f"`batch_size` is {batch_size}, and has to be 1 or more")
        console, trained = ApiConsole(progress), self._trained
        with in_this_process(console):
            from tfloop_cli.commands.prediction_file import json_rows
            from tfloop_cli.engine.inference.memory import inputs_in_memory
            from tfloop_cli.engine.inference.predicting import default_batch_size, predict
            from tfloop_cli.engine.inference.results import ResultColumns

            columns, size = ResultColumns.of(trained, top, probabilities), batch_size or default_batch_size(trained)
            chunks = predict(trained, inputs_in_memory(trained, inputs, size, console.note), size)
            return [row for chunk in chunks for row in json_rows(columns.table(chunk))]

    def evaluate(
        self, data: Any = None, *, split: str = "test", checkpoint: str | None = None, progress: bool = False
    ) -> dict[str, float]:
        """Returns the metrics on a split of the run's dataset, or on other data.

        Args:
            data: a file or folder with targets, as for `tfloop evaluate --data`; or (inputs, targets) as arrays, as the
                run's dataset has them. None for the split.
            split: "test", "validation", "train" or another split.
            checkpoint: "best", "last" or a step; None for the best. Arrays are evaluated with the best one only.
            progress: whether to print notes and progress to stderr.

        Raises:
            TfloopError: the data cannot be read, or does not suit the run; or `checkpoint` is used with arrays.
        """
        console = ApiConsole(progress)
        if isinstance(data, tuple | list):
            if checkpoint is not None:
                raise TfloopError("arrays are evaluated with the best checkpoint", hint="omit `checkpoint`")
            if len(data) != 2:
                raise TfloopError(f"`data` has {len(data)} value(s), and has to be a path, or (inputs, targets)")
            inputs, targets = data
            trained = self._trained
            with in_this_process(console):
                from tfloop_cli.engine.array_evaluation import evaluate_arrays

                return evaluate_arrays(trained, inputs, targets)
        with in_this_process(console):
            from tfloop_cli.commands import evaluate as command

            how = command.Options(
                split, None if data is None else Path(data), checkpoint=checkpoint, code=list(self.code),
                trust_code=self.trust_code,
            )  # fmt: skip
            return command.measure(self.path, how, console)[1].metrics

    def export(
        self,
        *formats: str,
        output: str | Path | None = None,
        quantize: str | None = None,
        logits: bool = False,
        max_drop: float = 0.005,
        progress: bool = False,
    ) -> list[Path]:
        """Writes the model in other formats, compares each file with the run, and returns their paths.

        Args:
            formats: "keras", "saved_model", "litert", "onnx", "openvino".
            output: the folder; None for `export` in the run folder.
            quantize: "float16" or "int8", for LiteRT.
            logits: whether the output of a classifier is logits in place of probabilities.
            max_drop: the largest drop of accuracy, or of R2.
            progress: whether to print notes to stderr.

        Raises:
            TfloopError: a package is missing, the model cannot be converted, or a metric drops too much.
        """
        check_formats(formats, quantize)
        console, trained = ApiConsole(progress), self._trained
        with in_this_process(console):
            from tfloop_cli.engine.exporting.export import Listener, export

            done = export(
                trained, formats, output=None if output is None else Path(output), quantize=quantize, logits=logits,
                max_drop=max_drop, listener=Listener(console.warn, console.note),
            )  # fmt: skip
            return [one.path for one in done]

    def raw_model(self) -> "keras.Model":
        """Returns a Keras model from raw inputs to probabilities or numbers in the target's units.

        Its inputs are those of `tfloop export`: uint8 images, the numbers of a table, or encoded rows and ids.

        Raises:
            TfloopError: the model is neither a classifier nor a regressor.
        """
        trained = self._trained
        with in_this_process(ApiConsole(progress=False)):
            from tfloop_cli.engine.exporting.model import build_model

            return build_model(trained, plain=False).keras_model


def _number(value: Any) -> float:
    """Restores NaN, which JSON does not have."""
    return float("nan") if value is None else float(value)
