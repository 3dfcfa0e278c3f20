"""Registries of components: models, datasets, tasks, optimizers, schedules, augmentations, trackers."""

from tfloop_cli.registry.registry import (
    REGISTRIES,
    Component,
    Datasets,
    Registry,
    augmentations,
    datasets,
    models,
    optimizers,
    schedules,
    tasks,
    trackers,
)

__all__ = [
    "REGISTRIES",
    "Component",
    "Datasets",
    "Registry",
    "augmentations",
    "datasets",
    "models",
    "optimizers",
    "schedules",
    "tasks",
    "trackers",
]
