"""The promise: `--code my.py` adds a model, a dataset and a kind of training of one's own.

A run folder's copy of it runs only when one says so.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tfloop_cli.errors import ExitCode, TfloopError

# As a user would write it: a dataset of curves, a subclassed model, and an autoencoder's training step.
CODE = '''\
import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.registry.argument_types import PositiveFloat, PositiveInt
from tfloop_cli.registry import datasets, models, tasks


@datasets.register("waves")
def waves(*, examples: PositiveInt = 64, points: PositiveInt = 12):
    """Sine curves of any phase.

    Args:
        examples: in the training split.
        points: of each curve.
    """
    def split(count, seed):
        phases = np.random.default_rng(seed).uniform(0, 6.28, (count, 1))
        curves = np.sin(phases + np.linspace(0, 6.28, points)).astype(np.float32)
        return curves, np.zeros(count, np.float32)

    return from_arrays({"train": split(examples, 0), "test": split(20, 1)})


class Bottleneck(keras.Model):
    def __init__(self, size, points):
        super().__init__()
        self.squeeze, self.restore = keras.layers.Dense(size), keras.layers.Dense(points)

    def call(self, inputs, training=False):
        return self.restore(self.squeeze(inputs))


@models.register("bottleneck")
def bottleneck(spec, *, size: PositiveInt = 2):
    """Through a few numbers and back."""
    return Bottleneck(size, *spec.input_shape)


@tasks.register("autoencoder")
class Autoencoder:
    """Learns to give back what it was given."""

    models = ("model",)
    metrics = ("loss", "largest_error")
    monitor = ("loss", "min")

    def __init__(self, spec, *, scale: PositiveFloat = 1.0):
        self.scale = scale

    def train_step(self, state, batch):
        inputs, _ = batch
        with tf.GradientTape() as tape:
            values = self.measure(inputs, state.model(inputs, training=True))
            loss = tf.reduce_mean(values["loss"])
        variables = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, variables), variables, loss)
        return values

    def eval_step(self, state, batch):
        inputs, _ = batch
        return self.measure(inputs, state.model(inputs, training=False))

    def predict(self, state, inputs):
        return None

    def samples(self, state):
        return None

    def measure(self, inputs, outputs):
        error = tf.abs(inputs - outputs)
        return {"largest_error": tf.reduce_max(error, axis=1), "loss": self.scale * tf.reduce_mean(error**2, axis=1)}
'''

CONFIG = """\
dataset: {name: waves, examples: 96}
model: {name: bottleneck, size: 2}
task: autoencoder
epochs: 15
batch_size: 16
optimizer: {name: adam, learning_rate: 0.05}
device: cpu
threads: 1
"""


@pytest.fixture(scope="session")
def own_run(shell, tmp_path_factory):
    """A run with code of one's own; other tests copy its folder and change the copy."""
    cwd = tmp_path_factory.mktemp("own")
    (cwd / "my.py").write_text(CODE)
    (cwd / "waves.yaml").write_text(CONFIG)
    done = shell.run("train", "-c", "waves.yaml", "--code", "my.py", "-o", "run", "--json", cwd=cwd)
    assert done.code == 0, done.err
    return cwd, done


@pytest.fixture
def copied(own_run, tmp_path: Path) -> Path:
    """The run's folder by itself, as a colleague would get it."""
    shutil.copytree(own_run[0] / "run", tmp_path / "run", symlinks=True)
    return tmp_path


def test_own_code_trains(own_run) -> None:
    _, done = own_run
    epochs = [document for document in done.documents if document["event"] == "epoch"]
    assert len(epochs) == 15
    assert set(epochs[0]["train"]) == {"loss", "largest_error"}
    # Two numbers are enough for any phase, so nearly all of the error goes.
    assert epochs[-1]["validation"]["loss"] < 0.05 * epochs[0]["validation"]["loss"]
    for epoch in epochs:  # the columns are not mixed up: a largest error is larger than a mean square of errors below 1
        assert epoch["train"]["largest_error"] ** 2 > epoch["train"]["loss"]


def test_the_run_keeps_a_copy_of_the_code(own_run) -> None:
    cwd, _ = own_run
    assert (cwd / "run" / "code" / "my.py").read_text() == CODE
    meta = json.loads((cwd / "run" / "meta.json").read_text())
    assert meta["code"] == {"my.py": hashlib.sha256(CODE.encode()).hexdigest()}


def refused(folder: Path, **options) -> str:
    """Evaluates in this process, which spares the seconds that TensorFlow takes to load; what the error says."""
    from tfloop_cli.commands.evaluate import Options, evaluate
    from tfloop_cli.terminal.console import Console

    with pytest.raises(TfloopError) as caught:
        evaluate(folder, Options(**options), Console())
    assert caught.value.code == ExitCode.USAGE
    return str(caught.value)


def test_the_copy_does_not_run_unasked(copied: Path) -> None:
    said = refused(copied / "run")
    assert "my.py" in said
    assert "--trust-code" in said
    assert "--code" in said


def test_the_copy_runs_when_it_is_trusted(shell, own_run, copied: Path) -> None:
    done = shell.run("evaluate", "run", "--trust-code", "--json", cwd=copied)
    assert done.code == 0, done.err
    scored = next(document for document in own_run[1].documents if document["event"] == "evaluation")
    assert done.documents[0]["metrics"] == scored["metrics"]
    assert done.documents[0]["examples"] == 20


def test_code_of_ones_own_runs_instead_of_the_copy(shell, own_run, copied: Path) -> None:
    (copied / "run" / "code" / "my.py").write_text("raise SystemExit(99)")
    (copied / "mine.py").write_text(CODE.replace("self.scale * tf", "1000 * self.scale * tf"))
    done = shell.run("evaluate", "run", "--code", "mine.py", "--json", cwd=copied)
    assert done.code == 0, done.err
    scored = next(document for document in own_run[1].documents if document["event"] == "evaluation")
    assert done.documents[0]["metrics"]["loss"] == pytest.approx(1000 * scored["metrics"]["loss"], rel=1e-5)


def test_a_copy_that_was_changed_is_not_run(copied: Path) -> None:
    with (copied / "run" / "code" / "my.py").open("a") as file:
        file.write(f"\nopen({str(copied / 'evidence')!r}, 'w')\n")
    assert "code/my.py" in refused(copied / "run", trust_code=True)
    assert not (copied / "evidence").exists()


def test_the_arguments_of_own_components_are_checked_before_anything_runs(shell, own_run, tmp_path: Path) -> None:
    cwd, _ = own_run
    done = shell.run(
        "train", "-c", cwd / "waves.yaml", "--code", cwd / "my.py", "--set", "model.size=none", "--set", "task.skale=2",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 2
    assert "`model.size` must be an integer, at least 1; found" in done.err
    assert "did you mean `scale`?" in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_own_component_needs_its_code(shell, own_run, tmp_path: Path) -> None:
    done = shell.run("train", "-c", own_run[0] / "waves.yaml", cwd=tmp_path)
    assert done.code == 2
    assert "unknown dataset `waves`" in done.err
    assert "--code FILE" in done.err


def everything(run: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and times of all files in a run folder."""
    files = [path for path in run.rglob("*") if path.is_file()]
    return {str(path.relative_to(run)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("config", [["-c", "waves.yaml"], []])
def test_going_on_without_the_code_changes_nothing(shell, own_run, copied: Path, config: list[str]) -> None:
    """With the config at hand, and with the run folder alone."""
    shutil.copy(own_run[0] / "waves.yaml", copied)
    before = everything(copied / "run")
    done = shell.run("train", *config, "-o", "run", "--resume", "--epochs", "16", cwd=copied)
    assert done.code == ExitCode.USAGE
    assert "unknown dataset `waves`" in done.err
    assert "--code FILE" in done.err
    assert "Traceback" not in done.err
    assert everything(copied / "run") == before


def test_going_on_with_the_code_trains_on(shell, own_run, copied: Path) -> None:
    shutil.copy(own_run[0] / "my.py", copied)
    done = shell.run("train", "-o", "run", "--resume", "--code", "my.py", "--epochs", "16", "--json", cwd=copied)
    assert done.code == 0, done.err
    assert done.documents[0]["step"] == 15 * 6
    assert [document["epoch"] for document in done.documents if document["event"] == "epoch"][-1] == 16
