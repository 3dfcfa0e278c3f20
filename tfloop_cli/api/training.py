"""`tfloop_cli.train`: the command of the same name, as a function."""

import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfloop_cli.api.process import ApiConsole, in_this_process
from tfloop_cli.api.run import Run
from tfloop_cli.commands.shared import resolve, with_data
from tfloop_cli.config.yaml_scalars import write
from tfloop_cli.errors import TfloopError
from tfloop_cli.events import Event, RunEnded
from tfloop_cli.runs import lookup
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.signals import CODES
from tfloop_cli.thresholds import parse_seconds
from tfloop_cli.tracking.children import require_packages

if TYPE_CHECKING:
    from tfloop_cli.config.data_paths import Layers
    from tfloop_cli.engine.data import Dataset

Config = str | Path | Mapping[str, Any]
IN_MEMORY = {"name": "in_memory"}
SIGNALS = {code: number for number, code in CODES.items()}


def train(
    config: Config | Sequence[Config] = (),
    *,
    data: "Dataset | Mapping[str, Sequence[Any]] | None" = None,
    output: str | Path | None = None,
    resume: bool = False,
    max_time: str | None = None,
    code: Sequence[str | Path] = (),
    progress: bool = True,
    **changes: Any,
) -> Run:
    """Trains a model, evaluates it on the test split, and returns the finished run.

    Nothing else changes in the process: Keras' settings and random generators are restored. In a notebook, progress is
    lines of text. Ctrl-C, or the interruption of a cell, stops after the current step, saves, and raises
    KeyboardInterrupt; `resume=True` continues that run.

    Args:
        config: a config file, a built-in config such as "mnist.yaml", or a mapping with the keys of one; also several,
            later ones take precedence. Or the path of data, as for `tfloop train`.
        data: arrays in place of the config's dataset: name of a split -> (inputs, targets), see `from_arrays`; or a
            `Dataset`. Without `config`, one that suits them.
        output: the run folder; it must be empty or not exist. None: a new folder in `runs_dir`.
        resume: whether to continue the newest run with the same config and data.
        max_time: stop and save after this time, such as "30m".
        code: Python files that register your own models, datasets, tasks, ... Components that this program has
            registered are known, but the run folder has no copy of their code.
        progress: whether to print progress and notes to stderr; warnings are always printed.
        **changes: keys of the config, which take precedence: `epochs=1`, `optimizer={"name": "sgd"}`; a dotted key is
            `**{"optimizer.learning_rate": 0.1}`.

    Raises:
        TfloopError: what `tfloop train` answers with an error; its `code` is the exit code.
        KeyboardInterrupt: training was interrupted; everything is saved.
    """
    console = ApiConsole(progress)
    with in_this_process(console, data) as dataset:
        from tfloop_cli.commands import train as command

        layers = _layers(config, dataset, changes)
        modules = [Path(file) for file in code]
        chosen = resolve(console, layers.configs, layers.sets, [], modules, {}).config
        require_packages(chosen.tracking)
        folder = Path(output) if output is not None else None
        named = lookup.require_run_or_free(folder, resume) if folder else None
        prefix = layers.name or lookup.prefix_of(
            chosen, [name for name in layers.configs if name.endswith((".yaml", ".yml"))] or ["python"]
        )
        last = LastEvents()
        how = TrainOptions(
            prefix, folder, named, None, parse_seconds(max_time), code=modules, consumers=(last,), ends_process=False
        )
        if resume:
            chosen, how = lookup.select_run(chosen, how, layers.configs, console.info, console.warn)
        exit_code = command.train(chosen, how, console)
    if exit_code in SIGNALS:  # everything is saved; what the program does at a signal is its own matter
        signal.raise_signal(SIGNALS[exit_code])
    assert last.run is not None
    return Run(last.run, modules)


class LastEvents:
    """A consumer of events that keeps the folder of the run."""

    def __init__(self) -> None:
        self.run: str | None = None

    def handle(self, event: Event) -> None:
        """Keeps what is needed of an event."""
        if isinstance(event, RunEnded):
            self.run = event.run


def _layers(config: Config | Sequence[Config], dataset: "Dataset | None", changes: Mapping[str, Any]) -> "Layers":
    """Returns config files and `--set` assignments; `changes` take precedence."""
    given = list(config) if isinstance(config, list | tuple) else [config]
    for one in given:
        if not isinstance(one, str | Path | Mapping):
            raise TfloopError(f"`config` is {one!r}, and has to be a file, a name, or a mapping")
    files = [str(one) for one in given if not isinstance(one, Mapping)]
    mappings = [dict(one) for one in given if isinstance(one, Mapping)]
    files += [str(one.pop("extends")) for one in mappings if "extends" in one]
    if dataset is not None and not given:
        files = ["images.yaml" if getattr(dataset.spec.inputs, "is_image", False) else "tabular.yaml"]
    sets = [f"{key}={write(_plain(value))}" for one in mappings for key, value in one.items()]
    if dataset is not None:
        sets.append(f"dataset={json.dumps(IN_MEMORY)}")
    sets += [f"{key}={write(_plain(value))}" for key, value in changes.items()]
    return with_data(files, [], None, None, sets)


def _plain(value: Any) -> Any:
    """Returns plain data for YAML: paths as texts, tuples as lists, NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value
