"""Resumes a run from each of its steps, with all stateful components of the registries."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.durability.common import SMALL, Campaign

# Arguments of components that have no default. A new component with such arguments must be added here.
REQUIRED_ARGUMENTS: dict[str, dict[str, Any]] = {"piecewise": {"boundaries_steps": [3], "factors": [1.0, 0.1]}}
REGRESSION = {"dataset": SMALL["dataset"] | {"classes": 0, "targets": 2}}
ROWS = {"dataset": SMALL["dataset"] | {"shape": [5]}}
NUMBERS = {"dataset": REGRESSION["dataset"] | {"shape": [5]}}
TEXTS = {"dataset": {"name": "synthetic_text", "words": 48, "longest": 9, "train_examples": 64, "test_examples": 16}}


class Run:
    """A training in this process.

    Args:
        config: plain data; TensorFlow is set up for it.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        from tfloop_cli.config.loading import from_mapping
        from tfloop_cli.engine import runtime
        from tfloop_cli.engine.data import build_data
        from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
        from tfloop_cli.engine.training.setup import create_state
        from tfloop_cli.registry import models, tasks

        self.config = runtime.setup(from_mapping(config, "benchmarks.durability"))
        self.data = build_data(self.config)
        self.task = tasks.build(self.config.task, self.data.spec)
        self.best_metric = BestMetric(self.task, self.config)
        self.early_stopping = EarlyStopping(self.task, self.config)
        total_steps = self.config.epochs * self.data.steps_per_epoch
        model = models.build(self.config.model, self.data.spec)
        self.state = create_state(model, self.task, self.data.spec, self.config, total_steps)

    def events(self) -> Iterator[Any]:
        """Trains to the end and yields the events."""
        from tfloop_cli.engine.loop import fit

        return fit(self.state, self.data, self.task, self.config, self.best_metric, self.early_stopping)

    def manifest_facts(self) -> dict[str, Any]:
        """Returns the facts for the manifest of a checkpoint."""
        from tfloop_cli.config.loading import to_mapping

        config = to_mapping(self.config)
        return {
            "config": config,
            "data": self.data.fingerprint,
            "code": {},
            "run_id": "one",
            "total_steps": 1,
            "train_examples": 1,
        }

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint of the current state; returns its folder."""
        from tfloop_cli.engine.checkpoints.storage import write_checkpoint

        folder.mkdir(parents=True, exist_ok=True)
        return write_checkpoint(folder, self.state.snapshot(), self.manifest_facts())

    def values(self) -> dict[str, bytes]:
        """Returns the bytes of all variables of the training state."""
        return {name: variable.numpy().tobytes() for name, variable in self.state.variables().items()}


def epochs_of(events: list[Any]) -> list[Any]:
    """Returns the content of the events of epochs, without times."""
    from tfloop_cli.events import EpochDone

    return [
        (e.epoch, e.step, e.train, e.validation, e.best, e.skipped_batches) for e in events if isinstance(e, EpochDone)
    ]


def features() -> dict[str, dict[str, Any]]:
    """Returns a config for each component of every registry, with all optional features of the component enabled."""
    from tfloop_cli.registry import augmentations, models, optimizers, schedules, tasks

    base = SMALL | {"steps_per_execution": 1, "early_stopping": {"patience_epochs": 9}, "ema_decay": 0.9}
    found: dict[str, dict[str, Any]] = {}
    pairs = [(model, task) for model in models.names() for task in tasks.names()]
    for model, task in pairs:
        found[f"{model} {task}"] = base | {"model": all_enabled(models, model), "task": task}
    for optimizer in optimizers.names():
        found[optimizer] = base | {"optimizer": all_enabled(optimizers, optimizer)}
    for schedule in schedules.names():
        found[schedule] = base | {"schedule": all_enabled(schedules, schedule), "warmup_steps": 2}
    for augmentation in augmentations.names():
        found[augmentation] = base | {"augment": [all_enabled(augmentations, augmentation)]}
    for precision in ("float16", "bfloat16", "float64"):
        found[precision] = base | {"precision": precision}
    return found


def all_enabled(registry: Any, name: str) -> dict[str, Any]:
    """Returns a component with its features enabled: flags are True, dropout and momentum are 0.5."""
    arguments: dict[str, Any] = {"name": name, **REQUIRED_ARGUMENTS.get(name, {})}
    for parameter in registry.declaration(name).parameters:
        if parameter.name in arguments:
            continue
        if parameter.required:
            raise LookupError(f"`{name}` requires `{parameter.name}`: add it to REQUIRED_ARGUMENTS in {__file__}")
        if parameter.default is False:
            arguments[parameter.name] = True
        elif (
            parameter.default == 0.0
            and isinstance(parameter.default, float)
            and parameter.name in ("dropout", "momentum")
        ):
            arguments[parameter.name] = 0.5
    return arguments


def fitting(configs: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], Run]]:
    """Yields the configs that can be built, with a suitable dataset; skips models that do not support the task."""
    from tfloop_cli.errors import TfloopError

    for name, config in configs.items():
        # The last one is for tasks without a default metric.
        for changes in ({}, REGRESSION, TEXTS, ROWS, NUMBERS, {"early_stopping": None}):
            try:
                run = Run(config | changes)
            except (TfloopError, ValueError):
                continue
            yield name, config | changes, run
            break


def resume(campaign: Campaign, folder: Path) -> None:
    """Saves at every step and in every validation of two epochs, resumes from each, and compares all variables."""
    configs = features()
    if campaign.quick:  # one config that combines features, and three others
        selected = ("conv_net classification", "text_classifier classification", "dcgan gan", "float16")
        configs = {name: configs[name] for name in selected}
        for name in selected[1:]:
            configs[name]["epochs"] = 1
        combined = configs["conv_net classification"]
        combined |= {"augment": ["flip", "shift", "affine"], "schedule": "cosine", "warmup_steps": 2, "clip_norm": 1.0}
    tested, resumed, different = set[str](), 0, []
    for name, config, run in fitting(configs):
        saved, events = [], []
        for event in run.events():
            events.append(event)
            saved.append((run.save(folder / "checkpoints"), len(epochs_of(events))))
        different += [f"{name} from {checkpoint}" for checkpoint in differing(config, run, events, saved)]
        resumed += len(saved)
        tested |= set(name.split())
        campaign.log(f"{name}: {len(saved)} checkpoints, {len(different)} different so far")
        shutil.rmtree(folder / "checkpoints")
    untested = {word for name in configs for word in name.split()} - tested
    details = f"{resumed} resumes, {len(tested)} components ({', '.join(sorted(tested))}), different: {different or 0}"
    details += f", not tested: {', '.join(untested)}" if untested else ""
    campaign.check("resume from every step: all variables are equal", not different and not untested, details)


def differing(
    config: dict[str, Any], uninterrupted: Run, events: list[Any], saved: list[tuple[Path, int]]
) -> Iterator[str]:
    """Yields the names of checkpoints from which a resumed run ends differently from the uninterrupted one."""
    from tfloop_cli.engine.checkpoints.storage import restore
    from tfloop_cli.runs.checkpoints import Checkpoint

    expected = uninterrupted.values()
    other = Run(config | {"seed": 0})
    for path, epochs in saved:
        # Wrong values on purpose, so that a variable that the checkpoint lacks is found.
        for variable in other.state.variables().values():
            variable.assign(variable + 1 if variable.dtype.name != "bool" else variable)
        restore(Checkpoint.open(path), other.state)
        rest = list(other.events())
        if other.values() != expected or epochs_of(rest) != epochs_of(events)[epochs:]:
            yield path.name
