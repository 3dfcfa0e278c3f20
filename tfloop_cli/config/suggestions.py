"""Suggestions for misspelled and misplaced keys and options: "did you mean `optimizer.learning_rate`?"."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from tfloop_cli.config.schema import Config
from tfloop_cli.registry import Registry, augmentations, datasets, models, optimizers, schedules, tasks, trackers
from tfloop_cli.registry.declarations import Declaration

# Config key -> the registry of its components.
COMPONENT_KEYS: Mapping[str, Registry] = {
    "dataset": datasets,
    "model": models,
    "task": tasks,
    "optimizer": optimizers,
    "schedule": schedules,
    "augment": augmentations,
    "tracking": trackers,
}
LISTS = ("augment", "tracking")  # the keys of them whose value is a list of components
# Former names of arguments of components; `steps_per_call` is in `SYNONYMS`.
RENAMED_ARGUMENTS: Mapping[tuple[str, str], Mapping[str, str]] = {
    **{("datasets", name): {"label": "target", "labels": "target"} for name in ("arrays", "table", "text", "tfds")},
    ("schedules", "cosine"): {"final": "alpha", "steps": "decay_steps"},
    ("schedules", "exponential"): {"decay": "decay_rate", "every_steps": "decay_steps"},
}
# Former names, and names in other tools -> the key here, as a dotted path or as the last part of one.
SYNONYMS: Mapping[str, str] = {
    "accumulate_grad_batches": "micro_batch_size",
    "amp": "precision",
    "augmentation": "augment",
    "augmentations": "augment",
    "batch": "batch_size",
    "bs": "batch_size",
    "clipnorm": "clip_norm",
    "criterion": "task.loss",
    "data": "dataset",
    "ema": "ema_decay",
    "global_clipnorm": "clip_norm",
    "gpu": "device",
    "gpus": "device",
    "grad_clip": "clip_norm",
    "gradient_accumulation_steps": "micro_batch_size",
    "gradient_clip_val": "clip_norm",
    "loss": "task.loss",
    "loss_fn": "task.loss",
    "lr": "learning_rate",
    "lr_schedule": "schedule",
    "lr_scheduler": "schedule",
    "max_epochs": "epochs",
    "max_grad_norm": "clip_norm",
    "metrics": "task.metrics",
    "mixed_precision": "precision",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "optim": "optimizer",
    "output_dir": "runs_dir",
    "patience": "early_stopping.patience_epochs",
    "random_seed": "seed",
    "save_every": "checkpoint.every_epochs",
    "scheduler": "schedule",
    "steps_per_call": "steps_per_execution",
    "logger": "tracking",
    "loggers": "tracking",
    "report_to": "tracking",
    "test_size": "test",
    "test_split": "test",
    "trackers": "tracking",
    "val_split": "validation",
    "validation_split": "validation",
    "warmup": "warmup_steps",
}


def nearest(word: str, known: Iterable[str], label: str) -> str:
    """Returns a hint with the most similar name, or with all names after `label` if none is similar."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"{label} {', '.join(f'`{one}`' for one in names)}" if names else f"{label} no arguments"


def key_hint(word: str, chosen: Mapping[str, Declaration]) -> str:
    """Returns a hint for an unknown top-level key.

    Args:
        word: the key.
        chosen: config key -> the component that the config uses for it; their arguments are searched too.
    """
    if word == "code":
        return "use the option `--code FILE`"
    path = key_path(word, chosen)
    return f"did you mean `{path}`?" if path else nearest(word, Config.model_fields, "the keys are")


def argument_hint(word: str, declaration: Declaration, registry: Registry) -> str:
    """Returns a hint for an unknown argument of a component."""
    known = [one.name for one in declaration.parameters]
    if declaration.name == "auto" and (names := _tasks_with(word)):
        return f"choose the task first: `task: {{name: {names[0]}, {word}: ...}}`"
    renamed = RENAMED_ARGUMENTS.get((registry.plural, declaration.name), {}).get(word, SYNONYMS.get(word, word))
    if renamed in known:
        return f"did you mean `{renamed}`?"
    if renamed in Config.model_fields:
        return f"`{renamed}` is a top-level key"
    return nearest(word, known, f"the arguments of `{declaration.name}` are" if known else f"`{declaration.name}` has")


def option_hint(option: str, known: Iterable[str]) -> str | None:
    """Returns a hint for an unknown command line option: the most similar option, or `--set KEY=VALUE`.

    Args:
        option: such as "--lr".
        known: the options of the command.
    """
    names = [name.lstrip("-") for name in known]
    word = option.lstrip("-").replace("-", "_")
    if "set" in names and (path := key_path(word, {}) or _path_in_any_component(SYNONYMS.get(word, word))):
        return f"use `--set {path}=VALUE`"
    close = difflib.get_close_matches(option.lstrip("-"), names, n=1)
    return f"did you mean `--{close[0]}`?" if close else None


def key_path(word: str, chosen: Mapping[str, Declaration]) -> str | None:
    """Returns the dotted path of a key by its name, by a synonym, or by its last part; None if there is none."""
    word = SYNONYMS.get(word, word)
    component, _, argument = word.rpartition(".")
    if component in chosen and argument not in [one.name for one in chosen[component].parameters]:
        return word if chosen[component].name == "auto" and _tasks_with(argument) else None
    if word in Config.model_fields or component:
        return word
    for key, declaration in chosen.items():
        if any(one.name == word for one in declaration.parameters):
            return f"{key}.{word}"
    for key, field in Config.model_fields.items():
        for inner in nested_fields(field.annotation):
            if inner == word:
                return f"{key}.{word}"
    return None


def nested_fields(annotation: Any) -> list[str]:
    """Returns the keys of the mapping that a config key accepts (`checkpoint`, `early_stopping`); else []."""
    kinds = [annotation, *get_args(annotation)]
    return [
        name for kind in kinds if inspect.isclass(kind) and issubclass(kind, BaseModel) for name in kind.model_fields
    ]


def _tasks_with(argument: str) -> list[str]:
    """Returns the names of the tasks that have an argument."""
    return [task.name for task in tasks.declarations() if argument in [one.name for one in task.parameters]]


def _path_in_any_component(word: str) -> str | None:
    for key in ("optimizer", "model", "task", "dataset", "schedule"):
        for declaration in COMPONENT_KEYS[key].declarations():
            if any(one.name == word for one in declaration.parameters):
                return f"{key}.{word}"
    return None
