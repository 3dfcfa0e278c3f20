"""User code: `--code my.py` adds a model, a dataset and a task; the copy in a run folder runs only if it is trusted."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tfloop_cli.errors import ExitCode, TfloopError

# As a user would write it: a dataset of curves, a subclassed model, and a task with its own training step.
CODE = '''\
import keras
import numpy as np
import tensorflow as tf
from shapes.sines import curves

from tfloop_cli import PositiveFloat, PositiveInt, datasets, from_arrays, models, tasks


@datasets.register("waves")
def waves(*, examples: PositiveInt = 64, points: PositiveInt = 12):
    """Sine curves with random phases.

    Args:
        examples: size of the training split.
        points: number of points per curve.
    """
    def split(count, seed):
        phases = np.random.default_rng(seed).uniform(0, 6.28, (count, 1))
        return curves(phases, points), np.zeros(count, np.float32)

    return from_arrays({"train": split(examples, 0), "test": split(20, 1)})


class Bottleneck(keras.Model):
    def __init__(self, size, points):
        super().__init__()
        self.encode, self.decode = keras.layers.Dense(size), keras.layers.Dense(points)

    def call(self, inputs, training=False):
        return self.decode(self.encode(inputs))


@models.register("bottleneck")
def bottleneck(spec, *, size: PositiveInt = 2):
    """Compresses each input to a few numbers, and reconstructs it."""
    return Bottleneck(size, *spec.input_shape)


@tasks.register("autoencoder")
class Autoencoder:
    """Reconstructs the inputs."""

    models = ("model",)
    metrics = ("loss", "largest_error")
    monitor = ("loss", "min")

    def __init__(self, spec, *, scale: PositiveFloat = 1.0):
        self.scale = scale

    def train_step(self, state, batch):
        inputs, _ = batch
        with tf.GradientTape() as tape:
            values = self.compute_metrics(inputs, state.model(inputs, training=True))
            loss = tf.reduce_mean(values["loss"])
        variables = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, variables), variables, loss)
        return values

    def eval_step(self, state, batch):
        inputs, _ = batch
        return self.compute_metrics(inputs, state.model(inputs, training=False))

    def predict(self, state, inputs):
        return None

    def samples(self, state):
        return None

    def compute_metrics(self, inputs, outputs):
        error = tf.abs(inputs - outputs)
        return {"largest_error": tf.reduce_max(error, axis=1), "loss": self.scale * tf.reduce_mean(error**2, axis=1)}
'''

# A module beside the code, in a folder: shapes/sines.py.
SINES = """\
import numpy as np

def curves(phases, points):
    return np.sin(phases + np.linspace(0, 6.28, points)).astype(np.float32)
"""

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
def code_run(shell, tmp_path_factory):
    """A run with user code: its working directory and its process. Tests copy the run folder before they change it."""
    cwd = tmp_path_factory.mktemp("code")
    (cwd / "my.py").write_text(CODE)
    (cwd / "shapes").mkdir()
    (cwd / "shapes" / "sines.py").write_text(SINES)
    (cwd / "waves.yaml").write_text(CONFIG)
    process = shell.run("train", "-c", "waves.yaml", "--code", "my.py", "-o", "run", "--json", cwd=cwd)
    assert process.code == 0, process.err
    return cwd, process


@pytest.fixture
def copied(code_run, tmp_path: Path) -> Path:
    """A folder with a copy of the run folder and nothing else."""
    shutil.copytree(code_run[0] / "run", tmp_path / "run", symlinks=True)
    return tmp_path


def test_user_code_trains(code_run) -> None:
    _, process = code_run
    epochs = [document for document in process.documents if document["event"] == "epoch"]
    assert len(epochs) == 15
    assert set(epochs[0]["train"]) == {"loss", "largest_error"}
    # Two numbers encode any phase, so the loss becomes small.
    assert epochs[-1]["validation"]["loss"] < 0.05 * epochs[0]["validation"]["loss"]
    for epoch in epochs:  # the metrics are not mixed up: of errors below 1, the largest exceeds the mean square
        assert epoch["train"]["largest_error"] ** 2 > epoch["train"]["loss"]


def test_run_folder_contains_copy_of_code(code_run) -> None:
    cwd, _ = code_run
    assert (cwd / "run" / "code" / "my.py").read_text() == CODE
    metadata = json.loads((cwd / "run" / "meta.json").read_text())
    assert metadata["code"] == {"my.py": hashlib.sha256(CODE.encode()).hexdigest()}
    assert (cwd / "run" / "code" / "shapes" / "sines.py").read_text() == SINES
    assert metadata["code_modules"] == {"shapes/sines.py": hashlib.sha256(SINES.encode()).hexdigest()}


def evaluation_error(folder: Path, **options) -> str:
    """Returns the error of an evaluation in this process, which is faster than a new process."""
    from tfloop_cli.commands.evaluate import Options, evaluate
    from tfloop_cli.terminal.console import Console

    with pytest.raises(TfloopError) as caught:
        evaluate(folder, Options(**options), Console())
    assert caught.value.code == ExitCode.USAGE
    return str(caught.value)


def test_copy_is_not_executed_without_trust_code(copied: Path) -> None:
    message = evaluation_error(copied / "run")
    assert "trained with custom code: my.py" in message
    assert "--trust-code" in message
    assert "--code FILE" in message


def test_trusted_copy_evaluates_like_training(shell, code_run, copied: Path) -> None:
    process = shell.run("evaluate", "run", "--trust-code", "--json", cwd=copied)
    assert process.code == 0, process.err
    evaluated = next(document for document in code_run[1].documents if document["event"] == "evaluation")
    assert process.documents[0]["metrics"] == evaluated["metrics"]
    assert process.documents[0]["examples"] == 20


def test_code_option_replaces_copy(shell, code_run, copied: Path) -> None:
    (copied / "run" / "code" / "my.py").write_text("raise SystemExit(99)")
    (copied / "mine.py").write_text(CODE.replace("self.scale * tf", "1000 * self.scale * tf"))
    shutil.copytree(code_run[0] / "shapes", copied / "shapes")
    process = shell.run("evaluate", "run", "--code", "mine.py", "--json", cwd=copied)
    assert process.code == 0, process.err
    evaluated = next(document for document in code_run[1].documents if document["event"] == "evaluation")
    assert process.documents[0]["metrics"]["loss"] == pytest.approx(1000 * evaluated["metrics"]["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["my.py", "shapes/sines.py"])
def test_changed_copy_is_not_executed(copied: Path, name: str) -> None:
    with (copied / "run" / "code" / name).open("a") as file:
        file.write(f"\nopen({str(copied / 'executed')!r}, 'w')\n")
    assert f"code/{name}" in evaluation_error(copied / "run", trust_code=True)
    assert not (copied / "executed").exists()


def test_arguments_of_user_components_are_validated_before_training(shell, code_run, tmp_path: Path) -> None:
    cwd, _ = code_run
    process = shell.run(
        "train", "-c", cwd / "waves.yaml", "--code", cwd / "my.py", "--set", "model.size=none", "--set", "task.skale=2",
        cwd=tmp_path,
    )  # fmt: skip
    assert process.code == 2
    assert "`model.size` must be an integer, at least 1; found" in process.err
    assert "did you mean `scale`?" in process.err
    assert list(tmp_path.iterdir()) == []


def test_missing_code_option_is_usage_error(shell, code_run, tmp_path: Path) -> None:
    process = shell.run("train", "-c", code_run[0] / "waves.yaml", cwd=tmp_path)
    assert process.code == 2
    assert "unknown dataset `waves`" in process.err
    assert "--code FILE" in process.err


def contents(run: Path) -> dict[str, tuple[bytes, int]]:
    """Returns the contents and modification times of all files in a run folder."""
    files = [path for path in run.rglob("*") if path.is_file()]
    return {str(path.relative_to(run)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("config", [["-c", "waves.yaml"], []])
def test_resume_without_code_does_not_change_run(shell, code_run, copied: Path, config: list[str]) -> None:
    """With the config file, and with the run folder alone."""
    shutil.copy(code_run[0] / "waves.yaml", copied)
    before = contents(copied / "run")
    process = shell.run("train", *config, "-o", "run", "--resume", "--epochs", "16", cwd=copied)
    assert process.code == ExitCode.USAGE
    assert "unknown dataset `waves`" in process.err
    assert "--code FILE" in process.err
    assert "Traceback" not in process.err
    assert contents(copied / "run") == before


def test_resume_with_code_trains_more_epochs(shell, code_run, copied: Path) -> None:
    code = "run/code/my.py"  # the copy, since the original is gone
    process = shell.run("train", "-o", "run", "--resume", "--code", code, "--epochs", "16", "--json", cwd=copied)
    assert process.code == 0, process.err
    assert process.documents[0]["step"] == 15 * 6
    assert [document["epoch"] for document in process.documents if document["event"] == "epoch"][-1] == 16
