"""tfloop: a configurable command-line trainer for TensorFlow.

User code imports everything from here: `from tfloop_cli import models, DataSpec, PositiveInt`. Each name is loaded when
it is first used, so that `import tfloop_cli` does not load TensorFlow. Other modules are internal.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfloop_cli.api.run import Run as Run
    from tfloop_cli.api.run import load as load
    from tfloop_cli.api.training import train as train
    from tfloop_cli.engine.data import ArraySource as ArraySource
    from tfloop_cli.engine.data import Dataset as Dataset
    from tfloop_cli.engine.data import DataSpec as DataSpec
    from tfloop_cli.engine.data import InputSpec as InputSpec
    from tfloop_cli.engine.data import Source as Source
    from tfloop_cli.engine.data import TargetSpec as TargetSpec
    from tfloop_cli.engine.data import from_arrays as from_arrays
    from tfloop_cli.engine.data import skip_example as skip_example
    from tfloop_cli.engine.data import skips_invalid_examples as skips_invalid_examples
    from tfloop_cli.engine.state import TrainState as TrainState
    from tfloop_cli.engine.tasks import Batch as Batch
    from tfloop_cli.engine.tasks import MetricValues as MetricValues
    from tfloop_cli.engine.tasks import SumMetric as SumMetric
    from tfloop_cli.engine.tasks import Task as Task
    from tfloop_cli.errors import ExitCode as ExitCode
    from tfloop_cli.errors import TfloopError as TfloopError
    from tfloop_cli.registry import augmentations as augmentations
    from tfloop_cli.registry import datasets as datasets
    from tfloop_cli.registry import models as models
    from tfloop_cli.registry import optimizers as optimizers
    from tfloop_cli.registry import schedules as schedules
    from tfloop_cli.registry import tasks as tasks
    from tfloop_cli.registry import trackers as trackers
    from tfloop_cli.registry.argument_types import Description as Description
    from tfloop_cli.registry.argument_types import ExclusiveFraction as ExclusiveFraction
    from tfloop_cli.registry.argument_types import Fraction as Fraction
    from tfloop_cli.registry.argument_types import FractionBelowOne as FractionBelowOne
    from tfloop_cli.registry.argument_types import NonNegativeFloat as NonNegativeFloat
    from tfloop_cli.registry.argument_types import NonNegativeInt as NonNegativeInt
    from tfloop_cli.registry.argument_types import NonPositiveFloat as NonPositiveFloat
    from tfloop_cli.registry.argument_types import OnResume as OnResume
    from tfloop_cli.registry.argument_types import PositiveFloat as PositiveFloat
    from tfloop_cli.registry.argument_types import PositiveInt as PositiveInt
    from tfloop_cli.registry.argument_types import Probability as Probability
    from tfloop_cli.tracking.tracker import TrackedRun as TrackedRun

__version__ = "0.1.0"

REGISTRIES = ("augmentations", "datasets", "models", "optimizers", "schedules", "tasks", "trackers")
ARGUMENT_TYPES = (
    "Description", "ExclusiveFraction", "Fraction", "FractionBelowOne", "NonNegativeFloat", "NonNegativeInt",
    "NonPositiveFloat", "OnResume", "PositiveFloat", "PositiveInt", "Probability",
)  # fmt: skip
# Every public name -> the module that defines it.
PUBLIC = {
    **dict.fromkeys(REGISTRIES, "tfloop_cli.registry"),
    **dict.fromkeys(ARGUMENT_TYPES, "tfloop_cli.registry.argument_types"),
    **dict.fromkeys(
        (
            "ArraySource",
            "Dataset",
            "DataSpec",
            "InputSpec",
            "Source",
            "TargetSpec",
            "from_arrays",
            "skip_example",
            "skips_invalid_examples",
        ),
        "tfloop_cli.engine.data",
    ),
    "TrainState": "tfloop_cli.engine.state",
    **dict.fromkeys(("Batch", "MetricValues", "SumMetric", "Task"), "tfloop_cli.engine.tasks"),
    **dict.fromkeys(("ExitCode", "TfloopError"), "tfloop_cli.errors"),
    **dict.fromkeys(("Run", "load"), "tfloop_cli.api.run"),
    "train": "tfloop_cli.api.training",
    "TrackedRun": "tfloop_cli.tracking.tracker",
}


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module `tfloop_cli` has no attribute `{name}`")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
