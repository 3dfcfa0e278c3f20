"""Ensembles: each member learns from its own loss and examples, their predictions are combined, resume is exact."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.checkpoints.storage import restore, write_checkpoint
from tfloop_cli.engine.data import DataSpec, from_arrays
from tfloop_cli.engine.data.encoders import Column
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.start_event import start_event
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, models
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import RunFolder

ENSEMBLE = {"name": "tabular_ensemble", "members": 4, "hidden": [16]}
FACTS = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9, "train_examples": 1}
COLUMNS = (Column("x", "number", 0, 2), Column("kind", "flags", 2, 5), Column("town", "id", 5, 6, ids=20))


def table(classes: bool, rows: int = 300):
    """Returns a table of numbers, flags and ids; the target is no linear function of them."""
    random = np.random.default_rng(0)
    x, kind, town = random.standard_normal((rows, 2)), random.integers(3, size=rows), random.integers(20, size=rows)
    inputs = np.concatenate([x, np.eye(3)[kind], town[:, None]], axis=1).astype(np.float32)
    numbers = 100 + 20 * np.sin(2 * x[:, 0]) + 10 * (kind == 1) * x[:, 1] + town % 2 * 10
    targets = (numbers > np.median(numbers)).astype(np.int32) if classes else numbers.astype(np.float32)
    dataset = from_arrays({"train": (inputs[50:], targets[50:]), "test": (inputs[:50], targets[:50])}, fingerprint="t")
    object.__setattr__(dataset.spec, "columns", COLUMNS)
    return dataset


@pytest.fixture
def make(trainer):
    def create(classes: bool, **changes):
        optimizer = {"name": "adam", "learning_rate": 0.01}
        base = {"model": ENSEMBLE, "optimizer": optimizer, "batch_size": 16, "validation": "auto"}
        return trainer(table(classes), **base | changes)

    return create


def evaluate(run, split: str = "test") -> dict[str, float]:
    return Evaluator(run.state, run.data, run.task, run.config).run(split, stop=lambda: False).metrics


@pytest.mark.parametrize(("classes", "metric", "enough"), [(True, "accuracy", 0.9), (False, "r2", 0.85)])
def test_ensemble_learns(make, classes: bool, metric: str, enough: float) -> None:
    run = make(classes, epochs=12)
    epochs = run.fit()
    assert evaluate(run)[metric] > enough
    assert epochs[-1].validation[metric] > enough - 0.1
    assert epochs[-1].validation["loss"] < epochs[0].validation["loss"]


def test_header_has_the_folds_as_training_examples(make, tmp_path: Path) -> None:
    run = make(True)
    event = start_event(RunFolder(tmp_path), run.config, run.data, run.state, ())
    assert event.facts["dataset"].endswith(" (250 train in 4 folds, 50 test)")
    assert event.evaluated == "test"


def test_member_does_not_learn_from_its_fold(make) -> None:
    run = make(True)
    inputs, targets, weights = next(iter(run.data.batches(0, 1)))
    outputs = run.task.ensemble.members(inputs, training=False).numpy()
    run.task.train_step(run.state, (inputs, targets, weights * [0, 1, 1, 1]))
    changed = np.abs(run.task.ensemble.members(inputs, training=False).numpy() - outputs).max(axis=(0, 2))
    assert (changed > 0).tolist() == [False, True, True, True] * 2


def test_fewer_examples_than_members(trainer) -> None:
    arrays = (np.arange(7, dtype=np.float32)[:, None], np.arange(7, dtype=np.float32))
    model = ENSEMBLE | {"members": 5}
    run = trainer(from_arrays({"train": arrays}), model=model, test=4, validation="auto", batch_size=16, epochs=1)
    assert run.data.run_splits.folds.count == 3
    assert run.fit()[0].validation["loss"] > 0


def test_validation_is_that_of_members_without_the_example(make) -> None:
    run = make(False, epochs=1)
    run.fit()
    inputs, targets, weights = next(iter(run.data.evaluation("validation").unbatch().batch(500)))
    outputs = run.task.ensemble.members(inputs, training=False).numpy()[:, :, 0]
    fold, share = np.argmax(weights, axis=1), 1 / (1 + np.exp(-10 * run.state.model.layers[-1].share.numpy()))
    rows = np.arange(len(outputs))
    scaled = run.task.scale.mean.numpy() + run.task.scale.deviation.numpy() * (
        (1 - share) * outputs[rows, fold] + share * outputs[rows, 4 + fold]
    )
    assert evaluate(run, "validation")["mae"] == pytest.approx(np.abs(scaled - targets.numpy()).mean(), rel=1e-5)
    np.testing.assert_allclose(run.task.predict(run.state, inputs, weights)[:, 0], scaled, rtol=1e-6)


def test_predictions_are_the_mean_of_the_members(make) -> None:
    run = make(True)
    inputs = next(iter(run.data.evaluation("test")))[0]
    run.state.model.layers[-1].share.assign(0.1)
    logits = run.task.ensemble.members(inputs, training=False)
    probabilities = tf.nn.softmax(logits + np.random.default_rng(0).standard_normal(logits.shape)).numpy()
    combined = run.task.ensemble.combine(tf.math.log(probabilities), None)
    share = 1 / (1 + np.exp(-1))
    expected = (1 - share) * probabilities[:, :4].mean(axis=1) + share * probabilities[:, 4:].mean(axis=1)
    np.testing.assert_allclose(tf.nn.softmax(combined), expected, rtol=1e-5)


@pytest.mark.parametrize("classes", [True, False])
def test_gradient_of_the_combination_is_finite_and_that_of_the_share_only(classes: bool) -> None:
    outputs = 4 if classes else 1
    spec = DataSpec((6,), "float32", () if classes else (1,), tuple("abcd") if classes else (), columns=COLUMNS)
    model = models.build(Component("tabular_ensemble", {"members": 4, "hidden": [8]}), spec)
    layer = model.layers[-1]
    members = tf.Variable(tf.random.stateless_normal([5, 8, outputs], [1, 2]))
    counts = tf.tile(1 - tf.one_hot([0, 1, 2, 3, 0], 4), [1, 2])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(layer.combine(members, counts)))
    gradients = tape.gradient(loss, [members, layer.share])
    assert np.isfinite(gradients[0]).all()
    assert np.abs(gradients[1]) > 0
    np.testing.assert_array_equal((np.abs(gradients[0]).sum(axis=2) > 0), counts.numpy() > 0)


def test_resume_within_an_epoch_is_exact(make, tmp_path: Path) -> None:
    whole, first, second = (make(True, epochs=2, steps_per_execution=1) for _ in range(3))
    whole.fit()
    first.fit_until(5)
    restore(Checkpoint.open(write_checkpoint(tmp_path, first.state.snapshot(), FACTS)), second.state)
    second.fit()
    assert second.state.weights_sha256() == whole.state.weights_sha256()


def test_micro_batches_have_the_same_gradient(make) -> None:
    model = ENSEMBLE | {"dropout": 0.0}
    metrics = [make(True, epochs=1, model=model, micro_batch_size=size).fit()[0].validation for size in ("auto", 5)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-3)


def test_model_of_the_user_without_members_is_an_error(make, monkeypatch) -> None:
    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    monkeypatch.setattr(models, "build", lambda component, spec: plain)
    with pytest.raises(TfloopError, match="combines no members") as caught:
        make(True)
    assert caught.value.code == ExitCode.USAGE


def test_images_are_an_error() -> None:
    with pytest.raises(TfloopError, match="`tabular_ensemble` needs a table"):
        models.build(Component("tabular_ensemble", {}), DataSpec((8, 8, 1), "uint8", (), ("a", "b")))
