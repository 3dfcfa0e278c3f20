"""Resuming from every step of a run, with every stateful feature that the registries know."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.durability.common import SMALL, Campaign

# Arguments of components that have no default: a new component that needs some is asked for here.
REQUIRED_CPU_FLAGS: dict[str, dict[str, Any]] = {"piecewise": {"boundaries_steps": [3], "factors": [1.0, 0.1]}}
REGRESSION = {"dataset": SMALL["dataset"] | {"classes": 0, "targets": 2}}
TEXTS = {"dataset": {"name": "synthetic_text", "words": 48, "longest": 9, "train_examples": 64, "test_examples": 16}}


class Run:
    """A training in this process, from a config.

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

        self.config = runtime.setup(from_mapping(config, "the campaign"))
        self.data = build_data(self.config)
        self.task = tasks.build(self.config.task, self.data.spec)
        self.choices = BestMetric(self.task, self.config), EarlyStopping(self.task, self.config)
        total = self.config.epochs * self.data.steps_per_epoch
        model = models.build(self.config.model, self.data.spec)
        self.state = create_state(model, self.task, self.data.spec, self.config, total)

    def steps(self) -> Iterator[Any]:
        """The events of the training, to its end."""
        from tfloop_cli.engine.loop import fit

        return fit(self.state, self.data, self.task, self.config, *self.choices)

    def save(self, folder: Path) -> Path:
        from tfloop_cli.config.loading import to_mapping
        from tfloop_cli.engine.checkpoints.format import Snapshot, write_checkpoint

        about = {"config": to_mapping(self.config), "data": self.data.fingerprint, "code": {}, "run_id": "one"}
        folder.mkdir(parents=True, exist_ok=True)
        return write_checkpoint(folder, Snapshot.of(self.state), about | {"total_steps": 1})

    def everything(self) -> dict[str, bytes]:
        return {name: variable.numpy().tobytes() for name, variable in self.state.variables().items()}


def told(events: list[Any]) -> list[Any]:
    """What the epochs' events say, without what the clock decides."""
    from tfloop_cli.events import EpochDone

    return [
        (e.epoch, e.step, e.train, e.validation, e.best, e.skipped_batches) for e in events if isinstance(e, EpochDone)
    ]


def features() -> dict[str, dict[str, Any]]:
    """A config for each component of every registry, with whatever of it can be turned on turned on."""
    from tfloop_cli.registry import augmentations, models, optimizers, schedules, tasks

    base = SMALL | {"steps_per_execution": 1, "early_stopping": {"patience_epochs": 9}, "ema_decay": 0.9}
    found: dict[str, dict[str, Any]] = {}
    pairs = [(model, task) for model in models.names() for task in tasks.names()]
    for model, task in pairs:
        found[f"{model} {task}"] = base | {"model": turned_on(models, model), "task": task}
    for optimizer in optimizers.names():
        found[optimizer] = base | {"optimizer": turned_on(optimizers, optimizer)}
    for schedule in schedules.names():
        found[schedule] = base | {"schedule": turned_on(schedules, schedule), "warmup_steps": 2}
    for augmentation in augmentations.names():
        found[augmentation] = base | {"augment": [turned_on(augmentations, augmentation)]}
    for precision in ("float16", "bfloat16", "float64"):
        found[precision] = base | {"precision": precision}
    return found


def turned_on(registry: Any, name: str) -> dict[str, Any]:
    """A component with its switches on: what is False becomes True, a rate that is 0 a half."""
    chosen: dict[str, Any] = {"name": name, **REQUIRED_CPU_FLAGS.get(name, {})}
    for parameter in registry.declaration(name).parameters:
        if parameter.name in chosen:
            continue
        if parameter.required:
            raise LookupError(
                f"`{name}` needs `{parameter.name}`: give an example of it in {__file__}, REQUIRED_CPU_FLAGS"
            )
        if parameter.default is False:
            chosen[parameter.name] = True
        elif (
            parameter.default == 0.0
            and isinstance(parameter.default, float)
            and parameter.name in ("dropout", "momentum")
        ):
            chosen[parameter.name] = 0.5
    return chosen


def fitting(configs: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], Run]]:
    """Those that can be built: a model and a task that do not belong together are left out."""
    from tfloop_cli.errors import TfloopError

    for name, config in configs.items():
        for changes in ({}, REGRESSION, TEXTS, {"early_stopping": None}):  # the last for a task that judges nothing
            try:
                run = Run(config | changes)
            except (TfloopError, ValueError):
                continue
            yield name, config | changes, run
            break


def resume(campaign: Campaign, folder: Path) -> None:
    """Saves at every step and in every validation of two epochs, goes on from each, and compares every bit."""
    configs = features()
    if campaign.quick:  # one of everything, instead of everything
        chosen = ("conv_net classification", "text_classifier classification", "dcgan gan", "float16")
        configs = {name: configs[name] for name in chosen}
        for name in chosen[1:]:
            configs[name]["epochs"] = 1
        full = configs["conv_net classification"]
        full |= {"augment": ["flip", "shift", "affine"], "schedule": "cosine", "warmup_steps": 2, "clip_norm": 1.0}
    parts, resumed, wrong = set[str](), 0, []
    for name, config, run in fitting(configs):
        saved, events = [], []
        for event in run.steps():
            events.append(event)
            saved.append((run.save(folder / "checkpoints"), len(told(events))))
        wrong += [f"{name} from {where}" for where in differing(config, run, events, saved)]
        resumed += len(saved)
        parts |= set(name.split())
        campaign.say(f"{name}: {len(saved)} places, {len(wrong)} wrong so far")
        shutil.rmtree(folder / "checkpoints")
    missed = {word for name in configs for word in name.split()} - parts
    figures = f"{resumed} resumes, {len(parts)} components ({', '.join(sorted(parts))}), not equal: {wrong or 0}"
    figures += f", not tried: {', '.join(missed)}" if missed else ""
    campaign.hold("resume from every step, every bit equal", not wrong and not missed, figures)


def differing(config: dict[str, Any], unbroken: Run, events: list[Any], saved: list[tuple[Path, int]]) -> Iterator[str]:
    """Where a resumed run ends otherwise than the unbroken one."""
    from tfloop_cli.engine.checkpoints.format import restore
    from tfloop_cli.runs.checkpoints import Checkpoint

    expected = unbroken.everything()
    other = Run(config | {"seed": 0})
    for path, epochs in saved:
        # What is not in the checkpoint is wrong on purpose.
        for variable in other.state.variables().values():
            variable.assign(variable + 1 if variable.dtype.name != "bool" else variable)
        restore(Checkpoint.open(path), other.state)
        rest = list(other.steps())
        if other.everything() != expected or told(rest) != told(events)[epochs:]:
            yield path.name
