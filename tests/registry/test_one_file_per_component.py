"""A new built-in component is one new file in the folder of its registry; no other file changes."""

import json
import shutil
from pathlib import Path

import pytest

import tfloop_cli
from tfloop_cli.registry import REGISTRIES

PACKAGE = Path(tfloop_cli.__file__).parent

# Registry -> the new file. Each builder writes the name of its registry to `built.txt`.
FILES = {
    "models": '''\
import keras

from tfloop_cli import DataSpec, PositiveInt, models


@models.register("new_model")
def new_model(spec: DataSpec, *, units: PositiveInt = 3) -> keras.Model:
    """A new model."""
    LOG
    return keras.Sequential([
        keras.Input(spec.input_shape), keras.layers.Flatten(), keras.layers.Dense(units), keras.layers.Dense(1),
    ])
''',
    "datasets": '''\
import numpy as np

from tfloop_cli import Dataset, PositiveInt, datasets, from_arrays


@datasets.register("new_dataset")
def new_dataset(*, examples: PositiveInt = 24) -> Dataset:
    """A new dataset."""
    LOG
    images = np.zeros([examples, 4, 4, 1], np.uint8)
    labels = np.arange(examples, dtype=np.int32) % 2
    return from_arrays({"train": (images, labels), "test": (images[:8], labels[:8])})
''',
    "tasks": '''\
import tensorflow as tf

from tfloop_cli import Batch, DataSpec, Fraction, MetricValues, TrainState, tasks


@tasks.register("new_task")
class NewTask:
    """A new task."""

    models = ("model",)
    metrics = ("loss",)
    monitor = ("loss", "min")

    def __init__(self, spec: DataSpec, *, target: Fraction = 0.5) -> None:
        LOG
        self.target = target

    def train_step(self, state: TrainState, batch: Batch) -> MetricValues:
        with tf.GradientTape() as tape:
            values = self.compute_metrics(state.model(batch[0], training=True))
            loss = tf.reduce_mean(values["loss"])
        variables = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, variables, state.optimizer.loss_scale), variables, loss)
        return values

    def eval_step(self, state: TrainState, batch: Batch) -> MetricValues:
        return self.compute_metrics(state.model(batch[0], training=False))

    def predict(self, state: TrainState, inputs: tf.Tensor) -> None:
        return None

    def samples(self, state: TrainState) -> None:
        return None

    def compute_metrics(self, outputs: tf.Tensor) -> MetricValues:
        return {"loss": tf.reduce_mean(tf.square(outputs - self.target), axis=1)}
''',
    "optimizers": '''\
import keras

from tfloop_cli import NonNegativeFloat, optimizers


@optimizers.register("new_optimizer")
def new_optimizer(*, learning_rate: NonNegativeFloat = 0.1) -> keras.optimizers.Optimizer:
    """A new optimizer."""
    LOG
    return keras.optimizers.SGD(learning_rate)
''',
    "schedules": '''\
from tfloop_cli import Fraction, schedules


@schedules.register("new_schedule")
def new_schedule(total_steps: int, *, factor: Fraction = 0.5):
    """A new schedule."""
    LOG
    return lambda step: factor * step / total_steps
''',
    "augmentations": '''\
from tfloop_cli import Fraction, augmentations


@augmentations.register("new_augmentation")
def new_augmentation(*, offset: Fraction = 0.1):
    """A new augmentation."""
    LOG
    return lambda images, seed: images + offset
''',
    "trackers": '''\
from tfloop_cli import trackers


@trackers.register("new_tracker")
class NewTracker:
    """A new tracker."""

    packages = {}

    def __init__(self, *, suffix: str = "txt"):
        LOG

    def start(self, run):
        return "nowhere"

    def log(self, step, metrics, time):
        """Not kept."""

    def finish(self, status):
        """Nothing is open."""
''',
}

CONFIG = {
    "dataset": "new_dataset",
    "model": {"name": "new_model", "units": 2},
    "task": "new_task",
    "optimizer": "new_optimizer",
    "schedule": {"name": "new_schedule", "factor": 1.0},
    "augment": ["new_augmentation"],
    "tracking": ["new_tracker"],
    "epochs": 1,
    "batch_size": 8,
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(scope="module")
def copied_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package and one new file per registry."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, root / "tfloop_cli", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    (root / "tfloop_cli" / "assets").symlink_to(PACKAGE / "assets")
    if (configs := PACKAGE.parent / "configs").is_dir():  # a checkout; an installed package contains them
        shutil.copytree(configs, root / "configs")
    for kind, text in FILES.items():
        path = root / "tfloop_cli" / "engine" / kind / "new_file.py"
        path.write_text(text.replace("LOG", f"open('built.txt', 'a').write('{kind} ')"))
    return root


def test_files_cover_all_registries() -> None:
    assert set(FILES) == set(REGISTRIES)


@pytest.mark.parametrize("kind", FILES)
def test_new_component_is_listed(shell, copied_package: Path, kind: str, tmp_path: Path) -> None:
    process = shell.run("list", kind, "--json", cwd=tmp_path, PYTHONPATH=str(copied_package))
    assert process.code == 0, process.err
    found = {one["name"]: one for one in json.loads(process.out)["components"]}
    registry = REGISTRIES[kind]
    assert set(found) == {*registry.names(), f"new_{registry.kind}"}
    new = found[f"new_{registry.kind}"]
    assert new["summary"] == f"A new {registry.kind}."
    assert new["source"].startswith(str(copied_package / "tfloop_cli" / "engine" / kind / "new_file.py"))
    assert not (tmp_path / "built.txt").exists()


def test_training_uses_all_new_components(shell, copied_package: Path, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(json.dumps(CONFIG))
    process = shell.run("train", "new.yaml", "--json", cwd=tmp_path, PYTHONPATH=str(copied_package))
    assert process.code == 0, process.err
    assert [one["event"] for one in process.documents] == ["start", "epoch", "evaluation", "end"]
    config = process.documents[0]["config"]
    assert config["model"] == {"name": "new_model", "units": 2}
    assert config["optimizer"] == {"name": "new_optimizer", "learning_rate": 0.1}
    assert process.documents[0]["run"].startswith("runs/new-")  # the name of the positional config
    assert set((tmp_path / "built.txt").read_text().split()) == set(FILES)
