"""Guarantee: state that user code keeps outside of the model is saved too, or named at the start."""

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.config.loading import to_mapping
from tfloop_cli.engine import evaluation
from tfloop_cli.engine.checkpoints.storage import ModelMismatchError, restore, write_checkpoint
from tfloop_cli.engine.data import ArraySource, from_arrays
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.engine.samples import Samples
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, MetricValues
from tfloop_cli.errors import TfloopError
from tfloop_cli.events import EpochDone, Event, Progress
from tfloop_cli.registry import augmentations
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import RunFolder

Results = tuple[dict[str, bytes], list[tuple]]  # variables by name, and epochs
SMALL = {
    "validation": 24, "epochs": 2, "batch_size": 12, "steps_per_execution": 1,
    "task": {"name": "classification", "metrics": []},  # replaced in `make_run`
}  # 3 steps per epoch  # fmt: skip


class Noise(keras.layers.Layer):
    """Adds noise in training and in evaluation, as a sampling layer does."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.generator = keras.random.SeedGenerator(5)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + keras.random.normal(tf.shape(inputs), stddev=0.1, seed=self.generator)


class UserTask:
    """A user's task: cross entropy of changed inputs."""

    models, metrics, monitor = ("model",), ("loss",), ("loss", "min")

    def change(self, inputs: tf.Tensor, state: TrainState) -> tf.Tensor:
        return inputs

    def train_step(self, state: TrainState, batch: Batch) -> MetricValues:
        inputs, labels = batch
        with tf.GradientTape() as tape:
            values = self.loss(labels, state.model(self.change(inputs, state), training=True))
            loss = tf.reduce_mean(values["loss"])
        variables = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, variables), variables, loss)
        return values

    def eval_step(self, state: TrainState, batch: Batch) -> MetricValues:
        return self.loss(batch[1], state.model(batch[0], training=False))

    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> MetricValues:
        return {"loss": tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)}

    def predict(self, state: TrainState, inputs: tf.Tensor) -> None:
        return None

    def samples(self, state: TrainState) -> Any:
        return state.model(tf.zeros([4, 8, 8, 1]), training=False).numpy().reshape(4, 1, 3, 1)


class GlobalGenerator(UserTask):
    def change(self, inputs: tf.Tensor, state: TrainState) -> tf.Tensor:
        return inputs + keras.random.normal(tf.shape(inputs))


class LayerOutsideOfModel(UserTask):
    def __init__(self) -> None:
        self.dropout = keras.layers.Dropout(0.4, seed=1)

    def change(self, inputs: tf.Tensor, state: TrainState) -> tf.Tensor:
        return self.dropout(inputs, training=True)


class GeneratorOfTensorFlow(UserTask):
    def __init__(self) -> None:
        self.generator = tf.random.Generator.from_seed(3)

    def change(self, inputs: tf.Tensor, state: TrainState) -> tf.Tensor:
        return inputs + self.generator.normal(tf.shape(inputs))


class OwnVariable(UserTask):
    def __init__(self) -> None:
        self.steps = tf.Variable(0, trainable=False)

    def change(self, inputs: tf.Tensor, state: TrainState) -> tf.Tensor:
        if self.steps >= 0:  # AutoGraph
            self.steps.assign_add(1)
        return inputs * tf.cast(self.steps, tf.float32)


class AveragedCopy(UserTask):
    """Evaluates an averaged copy of the model, which the first trace creates."""

    def __init__(self) -> None:
        self.copy: keras.Model | None = None

    def train_step(self, state: TrainState, batch: Batch) -> MetricValues:
        if self.copy is None:
            with tf.init_scope():
                self.copy = keras.models.clone_model(state.model)
                self.copy.set_weights(state.model.get_weights())
        values = super().train_step(state, batch)
        for average, weight in zip(self.copy.weights, state.model.weights, strict=True):
            average.assign(0.9 * average + 0.1 * weight)
        return values

    def eval_step(self, state: TrainState, batch: Batch) -> MetricValues:
        return self.loss(batch[1], self.copy(batch[0], training=False))


class DrawsInEvaluation(UserTask):
    """Evaluation uses a generator that training does not use."""

    def eval_step(self, state: TrainState, batch: Batch) -> MetricValues:
        return super().eval_step(state, (batch[0] + keras.random.normal(tf.shape(batch[0])), batch[1]))


@pytest.fixture(scope="module")
def make_run(trainer) -> Callable[..., Any]:
    """Returns a function that creates a run of a task, whose model draws random numbers in evaluation too."""

    def make(task: type[UserTask], **changes: Any) -> Any:
        keras.utils.set_random_seed(0)
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), Noise(), keras.layers.Dense(3)]
        run = trainer(net=keras.Sequential(layers), **SMALL | changes)
        run.task = task()
        return run

    return make


def save(run: Any, folder: Path) -> Checkpoint:
    facts = {
        "config": to_mapping(run.config),
        "data": "",
        "code": {},
        "run_id": "",
        "total_steps": 1,
        "train_examples": 1,
    }
    return Checkpoint.open(write_checkpoint(folder, run.state.snapshot(), facts))


def restored(run: Any, checkpoint: Checkpoint) -> Any:
    restore(checkpoint, run.state, TrainSteps(run.state, run.data, run.task, run.config).trace)
    return run


def results(run: Any, folder: Path | None = None, stop: Callable[[Event], bool] = lambda event: False) -> Results:
    """Trains a run to its end; returns its state and its epochs.

    Saves a checkpoint to `folder` at the first event for which `stop` is true: that is the state of a stopped run.
    """
    epochs = []
    for event in run.events():
        if folder and not folder.exists() and stop(event):
            save(run, folder)
        if isinstance(event, EpochDone):
            epochs.append((event.epoch, event.train, event.validation))
    return {name: array.tobytes() for name, array in run.everything().items()}, epochs


def checkpoint_in(folder: Path) -> Checkpoint:
    (path,) = folder.iterdir()
    return Checkpoint.open(path)


@pytest.fixture(scope="module")
def uninterrupted(make_run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[type[UserTask]], tuple]:
    """Returns a function that trains a task once; its results, and a checkpoint of step 4, in the second epoch."""

    @functools.cache
    def train(task: type[UserTask]) -> tuple[Results, Checkpoint]:
        folder = tmp_path_factory.mktemp(task.__name__) / "checkpoints"
        found = results(make_run(task), folder, lambda event: isinstance(event, Progress) and event.step == 4)
        return found, checkpoint_in(folder)

    return train


TASKS = [
    UserTask, GlobalGenerator, LayerOutsideOfModel, GeneratorOfTensorFlow, OwnVariable, AveragedCopy, DrawsInEvaluation
]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_state_outside_of_the_model_continues_after_resume(make_run, uninterrupted, task: type[UserTask]) -> None:
    """The run is stopped in its second epoch, so the first one has been validated."""
    (everything, epochs), checkpoint = uninterrupted(task)
    assert results(restored(make_run(task), checkpoint)) == (everything, epochs[1:])


@pytest.mark.parametrize("task", [UserTask, DrawsInEvaluation])
def test_chunks_of_validation_and_a_stop_between_them_change_nothing(
    make_run, uninterrupted, tmp_path: Path, monkeypatch, task: type[UserTask]
) -> None:
    expected, _ = uninterrupted(task)
    monkeypatch.setattr(evaluation, "SECONDS_PER_CHUNK", 0.0)  # an event after every batch
    folder = tmp_path / "checkpoints"
    in_chunks = results(make_run(task), folder, lambda one: isinstance(one, Progress) and one.phase == "validation")
    assert in_chunks == expected
    assert results(restored(make_run(task), checkpoint_in(folder))) == expected


def test_samples_do_not_change_the_state(make_run, tmp_path: Path) -> None:
    run = make_run(UserTask)
    before = {name: array.tobytes() for name, array in run.everything().items()}
    event = EpochDone(1, 1, {}, None, 1.0, 0.0, 1.0)
    Samples(RunFolder(tmp_path), run.state, run.task).handle(event)
    assert (tmp_path / "samples" / "epoch-0001.png").exists()
    assert {name: array.tobytes() for name, array in run.everything().items()} == before


def test_variable_of_a_task_is_rolled_back_with_a_skipped_step(make_run) -> None:
    run = make_run(OwnVariable, on_nonfinite="skip", steps_per_execution=3)
    inputs = run.data._splits["train"][0].inputs.numpy()
    inputs[run.data.examples_of(1)[0]] = np.nan
    source, indices = run.data._splits["train"]
    run.data._splits["train"] = ArraySource(inputs, source.targets), indices
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == 2  # one per epoch
    assert int(run.task.steps) == 4


def test_checkpoint_without_the_variables_of_a_task_is_an_error(make_run, tmp_path: Path) -> None:
    run = make_run(UserTask)
    run.fit_until(2)
    without = save(run, tmp_path)
    resumed = restored(make_run(OwnVariable), without)
    with pytest.raises(TfloopError, match="does not contain 1 variables that the training step uses"):
        resumed.fit()
    run = make_run(OwnVariable)
    run.fit_until(2)
    with pytest.raises(ModelMismatchError, match="it has `other/0000`, which this model does not have"):
        restored(make_run(UserTask), save(run, tmp_path))


class Stateful(UserTask):
    def __init__(self) -> None:
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, default_value=0)
        self.noise = iter(tf.data.Dataset.from_tensors(1.0).repeat())

    def change(self, inputs: tf.Tensor, state: TrainState) -> tf.Tensor:
        for _ in tf.range(2):
            inputs += tf.random.normal(tf.shape(inputs), seed=5)
        if tf.reduce_sum(inputs) > 0:
            inputs += tf.random.uniform(tf.shape(inputs))
        self.table.insert(tf.cast(state.step, tf.int64)[None], [1])
        inputs += next(self.noise)
        inputs += tf.reshape(tf.numpy_function(lambda: np.float32(1), [], tf.float32), [])
        return tf.nn.dropout(inputs, 0.5) + tf.random.stateless_normal(tf.shape(inputs), [state.seed, 1])


@pytest.mark.parametrize("augment", [[], ["flip"]], ids=["in-memory", "pipeline"])
def test_operations_with_a_state_of_their_own_are_named_once(make_run, augment: list[str]) -> None:
    run, lines = make_run(Stateful, augment=augment), []
    steps = TrainSteps(run.state, run.data, run.task, run.config, lines.append)
    steps.trace()
    steps.trace()
    names = sorted(line.split(" (")[0] for line in lines)
    # `tf.nn.dropout` draws with `tf.random.uniform`, in another line.
    random = ["`tf.random.normal`", "`tf.random.uniform`", "`tf.random.uniform`"]
    assert names == ["`tf.numpy_function`", *random, "a mutable lookup table", "an iterator over a dataset"]
    assert all(f"({__file__}:" in line for line in lines)
    assert all("stateless" in line for line in lines if "random" in line)


class StatefulSource(ArraySource):
    """Shuffles the targets, which is nonsense, and reads the inputs by Python code."""

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, targets = super().gather(indices)
        read = tf.py_function(lambda array: array, [inputs], inputs.dtype)
        return tf.ensure_shape(read, inputs.shape), tf.random.shuffle(targets)


def test_operations_of_augmentation_and_dataset_are_named_once(trainer, monkeypatch) -> None:
    for attribute in ("_added", "_builders"):
        monkeypatch.setattr(augmentations, attribute, dict(getattr(augmentations, attribute)))
    flip = keras.layers.RandomFlip()

    @augmentations.register("stateful")
    def stateful() -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            images = tf.image.random_brightness(flip(images, training=True), 0.2)
            return images + tf.random.stateless_normal(tf.shape(images), seed)

        return augment

    arrays = np.zeros((40, 8, 8, 1), np.float32), np.zeros(40, np.int32)
    dataset = from_arrays({"train": arrays}, class_names="abc")
    dataset = replace(dataset, splits={"train": StatefulSource(*arrays)})
    run, lines = trainer(dataset, augment=["stateful", "flip"]), []
    TrainSteps(run.state, run.data, run.task, run.config, lines.append).trace()
    names = sorted(line.split(" (")[0] for line in lines)
    assert names == ["`tf.py_function`", "`tf.random.shuffle`", "`tf.random.uniform`", "a variable"]
    assert all(f"({__file__}:" in line for line in lines)
    assert sum("with the `seed` that an augmentation receives" in line for line in lines) == 3


@pytest.mark.parametrize("changes", [{}, {"model": {"name": "conv_net", "dropout": 0.3}, "augment": ["flip"]}])
def test_built_in_tasks_have_all_their_state_in_the_checkpoint(trainer, changes: dict[str, Any]) -> None:
    run, lines = trainer(**changes), []
    TrainSteps(run.state, run.data, run.task, run.config, lines.append).trace()
    assert lines == []
    assert run.state.others == []


# The command

CODE = '''
import keras
import tensorflow as tf
from tfloop_cli import DataSpec, tasks

NOISE = keras.layers.GaussianNoise(0.1, seed=3)


@tasks.register("averaging")
class Averaging:
    """Evaluates an averaged copy of the weights."""

    models, metrics, monitor = ("model",), ("loss",), ("loss", "min")

    def __init__(self, spec: DataSpec) -> None:
        self.average = None

    def train_step(self, state, batch):
        inputs, labels = batch
        if self.average is None:
            with tf.init_scope():
                self.average = [tf.Variable(weight.value) for weight in state.model.trainable_variables]
        inputs = NOISE(inputs, training=True) + 0 * tf.random.normal([])
        with tf.GradientTape() as tape:
            values = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, state.model(inputs, training=True))
            loss = tf.reduce_mean(values)
        weights = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, weights), weights, loss)
        for average, weight in zip(self.average, weights, strict=True):
            average.assign(0.9 * average + 0.1 * weight.value)
        return {"loss": values}

    def eval_step(self, state, batch):
        kernel, bias = self.average
        logits = tf.reshape(batch[0], [-1, 64]) @ kernel + bias
        return {"loss": tf.nn.sparse_softmax_cross_entropy_with_logits(batch[1], logits)}

    def predict(self, state, inputs):
        return None

    def samples(self, state):
        return None
'''


def test_command_resumes_and_evaluates_an_averaged_copy(shell, tmp_path: Path, monkeypatch) -> None:
    dataset = {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 64, "test_examples": 16}
    config = {"dataset": dataset, "model": "linear", "task": "averaging", "epochs": 2, "batch_size": 16}
    config |= {"validation": 16, "checkpoint": {"every_steps": 1, "keep": 9}, "device": "cpu", "threads": 1}
    (tmp_path / "own.yaml").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(CODE)

    def run(*arguments: str) -> Any:  # in a process
        process = shell.run(*arguments, "--code", "own.py", cwd=tmp_path)
        assert process.code == 0, process.err
        return process

    def history() -> list[Any]:
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        return [[line.get(key) for key in ("train", "validation", "metrics", "weights_sha256")] for line in lines]

    process = run("train", "own.yaml", "-o", "run")
    assert process.err.count("warning: `tf.random.normal` (") == 1
    expected = history()
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        if int(path.name.split("-")[1]) > 2:
            shutil.rmtree(path)
    (tmp_path / "run" / "summary.json").unlink()
    assert "step-00000002" in run("train", "own.yaml", "-o", "run", "--resume").err
    assert history() == expected
    (metrics,) = [line[2] for line in expected if line[2]]
    monkeypatch.chdir(tmp_path)
    process = CliRunner().invoke(app, ["evaluate", "run", "--code", "own.py"])  # in this process, which is faster
    assert f"loss {metrics['loss']:.4f}" in process.stdout
