"""Regression: standardized targets, metrics in the targets' own units, exact over ragged batches and interruptions."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.checkpoints.storage import restore, write_checkpoint
from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.tasks import regression as module
from tfloop_cli.engine.tasks.target_scale import TargetScale
from tfloop_cli.engine.training.setup import build_state
from tfloop_cli.registry import tasks
from tfloop_cli.runs.checkpoints import Checkpoint

COUNT = 50
FACTS = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9, "train_examples": 1}


def years(targets: int, count: int = COUNT):
    """Returns a dataset whose targets are far from 0: years around 2000, and millionths around 0."""
    random = np.random.default_rng(0)
    inputs = random.standard_normal((count + 23, 3)).astype(np.float32)
    noise = random.standard_normal((count + 23, 2)) * 0.1
    numbers = np.float32([2000, 0] + (inputs[:, :2] + noise) * [8, 1e-6])[:, :targets]
    numbers = numbers[:, 0] if targets == 1 else numbers
    return from_arrays(
        {"train": (inputs[:count], numbers[:count]), "test": (inputs[count:], numbers[count:])}, fingerprint="years"
    )


@pytest.fixture
def make(trainer):
    def create(targets: int = 1, **changes):
        optimizer = {"name": "adam", "learning_rate": 0.05}
        return trainer(years(targets), **{"model": "linear", "optimizer": optimizer, "batch_size": 16} | changes)

    return create


def expected_metrics(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Returns rmse, mae and r2 as scikit-learn defines them, uniform averages over several targets."""
    targets, predictions = (np.float64(one).reshape(len(targets), -1) for one in (targets, predictions))
    squares = (targets - predictions) ** 2
    total = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    return {
        "rmse": np.sqrt(squares.mean(axis=0)).mean(),
        "mae": np.abs(targets - predictions).mean(),
        "r2": (1 - squares.sum(axis=0) / total).mean(),
    }


def evaluate(run, split: str = "test") -> dict[str, float]:
    return Evaluator(run.state, run.data, run.task, run.config).run(split, stop=lambda: False).metrics


@pytest.mark.parametrize("targets", [1, 2])
def test_metrics_are_in_own_units_and_exact_over_a_smaller_last_batch(make, targets: int) -> None:
    run = make(targets, epochs=15)
    epochs = run.fit()
    metrics = evaluate(run)
    assert list(metrics) == ["loss", "rmse", "mae", "r2"]
    inputs, numbers = next(iter(run.data.evaluation("test").unbatch().batch(23)))
    expected = expected_metrics(numbers.numpy(), run.task.predict(run.state, inputs).numpy())
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert metrics["r2"] > 0.9  # without standardization, 2000 is 40,000 steps of Adam away
    assert epochs[-1].train["r2"] > 0.9
    assert epochs[-1].train["loss"] < 0.1 < epochs[0].train["loss"]


def test_scale_is_that_of_the_training_split(make) -> None:
    run = make(2, validation=20)
    (source, indices), scale = run.data.split("train"), run.task.scale
    numbers = np.asarray(source.all_targets, np.float64)[indices]
    np.testing.assert_allclose(scale.mean, numbers.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale.deviation, numbers.std(axis=0), rtol=1e-9)
    assert set(run.state.variables()) >= {"task/target_mean", "task/target_deviation"}


def test_targets_on_disk_are_read_for_the_scale(make, monkeypatch) -> None:
    run = make()
    whole = module.training_targets(run.data)
    source, _ = run.data.split("train")
    monkeypatch.delattr(type(source), "all_targets")
    np.testing.assert_array_equal(module.training_targets(run.data), whole)
    monkeypatch.setattr(module, "MAX_READ", 20)
    np.testing.assert_array_equal(module.training_targets(run.data), whole[::3])


def test_checkpoint_has_the_scale_so_that_other_data_can_be_evaluated(make, trainer, tmp_path: Path) -> None:
    run = make(epochs=3)
    run.fit()
    saved = Checkpoint.open(write_checkpoint(tmp_path, run.state.snapshot(), FACTS))
    moved = from_arrays({"train": ([[0.0] * 3] * 20, [1.0, 2.0] * 10), "test": ([[0.0] * 3], [3.0])})
    other = trainer(moved, model="linear", task="auto")
    restore(saved, other.state)
    inputs = tf.ones([4, 3])
    np.testing.assert_array_equal(other.task.predict(other.state, inputs), run.task.predict(run.state, inputs))


def test_resume_within_an_epoch_has_the_same_metrics(make, tmp_path: Path) -> None:
    changes = {"steps_per_execution": 1, "epochs": 2}
    whole, first, second = make(2, **changes), make(2, **changes), make(2, **changes)
    epochs = whole.fit()
    first.fit_until(2)
    restore(Checkpoint.open(write_checkpoint(tmp_path, first.state.snapshot(), FACTS)), second.state)
    assert [epoch.train for epoch in second.fit()] == [epoch.train for epoch in epochs]
    assert second.state.weights_sha256() == whole.state.weights_sha256()


def test_metrics_do_not_depend_on_micro_batches(make) -> None:
    metrics = [make(2, epochs=1, micro_batch_size=size).fit()[0].train for size in ("auto", 5)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)


@pytest.mark.parametrize(
    ("numbers", "mean", "deviation"),
    [([5.0, 5.0], 5, 1), ([1e6, np.nextafter(np.float32(1e6), np.float32(2e6))], 1e6, 1), ([1, 3, np.inf], 2, 1)],
)
def test_constant_and_infinite_targets_have_a_scale(numbers: list[float], mean: float, deviation: float) -> None:
    scale = TargetScale(1)
    scale.measure(np.float32(numbers)[:, None])
    assert float(scale.mean[0]) == pytest.approx(mean, rel=1e-6)
    assert float(scale.deviation[0]) == deviation


def test_logarithm_of_positive_skewed_targets() -> None:
    random = np.random.default_rng(0)
    normal, skewed = random.standard_normal(5000), np.exp(random.standard_normal(5000) * 0.7)
    targets = np.stack([skewed, 5 + normal, -skewed, 1 + 0.01 * skewed], axis=1)
    scale = TargetScale(4)
    scale.measure(targets)
    assert scale.log.numpy().tolist() == [1, 0, 0, 0]  # the logarithm of the last one is as skewed
    standardized = scale.standardized(targets)
    np.testing.assert_allclose(standardized[:, 0], (np.log(skewed) - scale.mean[0]) / scale.deviation[0], rtol=1e-12)
    np.testing.assert_allclose(scale.in_own_units(standardized), targets, rtol=1e-12)
    far = scale.in_own_units(tf.constant([[1e4] * 4, [-1e4] * 4]))
    assert far[:, 0].numpy() == pytest.approx([skewed.max(), skewed.min()])
    assert np.isfinite(scale.standardized(np.float32([[-3, 0, 0, 0]]))).all()
    scale.measure(targets, log=False)
    assert not scale.log.numpy().any()
    scale.measure(targets, log=True)
    assert scale.log.numpy().tolist() == [1, 1, 0, 1]


def test_metrics_of_learned_logarithms_are_in_own_units(trainer) -> None:
    random = np.random.default_rng(0)
    inputs = random.standard_normal((300, 3)).astype(np.float32)
    numbers = (1000 * np.exp(inputs[:, 0])).astype(np.float32)
    data = from_arrays({"train": (inputs[:200], numbers[:200]), "test": (inputs[200:], numbers[200:])})
    run = trainer(data, model="linear", epochs=40, optimizer={"name": "adam", "learning_rate": 0.05}, task="regression")
    run.fit()
    metrics = evaluate(run)
    expected = expected_metrics(numbers[200:], run.task.predict(run.state, inputs[200:]).numpy())
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert metrics["r2"] > 0.9
    assert any("its logarithm is learned" in note for note in run.state.notes)


def test_metrics_of_constant_targets_are_those_of_scikit_learn() -> None:
    assert module.r2_of_sums(np.array([0.0, 0, 0]), 4) == 1
    assert module.r2_of_sums(np.array([2.0, 0, 0]), 4) == 0
    assert np.isnan(module.r2_of_sums(np.array([2.0, 1, 1]), 1))


# The metric contract for a user's task


class Correlation:
    """Has a metric that is a function of sums: of x, y, x * y, x * x and y * y."""

    metrics = ("loss", "correlation")

    def __init__(self, sum_metrics) -> None:
        self.sum_metrics = sum_metrics

    def train_step(self, state, batch):
        inputs, targets = batch[0], batch[1][:, 0]
        with tf.GradientTape() as tape:
            outputs = state.model(inputs, training=True)[:, 0]
            loss = tf.reduce_mean(tf.square(outputs - targets))
        variables = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, variables), variables, loss)
        columns = [outputs, targets, outputs * targets, outputs**2, targets**2]
        return {"loss": loss, "correlation": tf.stack(columns, axis=1)}


def test_task_of_the_user_has_a_metric_that_is_no_mean(trainer, monkeypatch) -> None:
    from tfloop_cli import SumMetric

    def correlation(sums: np.ndarray, examples: float) -> float:
        x, y, xy, xx, yy = sums / examples
        return float((xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y)))

    numbers = {"name": "synthetic", "shape": [3], "classes": 0, "train_examples": 50}
    for size in (5, 4):
        task = Correlation({"correlation": SumMetric(size, correlation)})
        monkeypatch.setattr(tasks, "build", lambda component, spec, task=task: task)
        run = trainer(dataset=numbers, task="gan", epochs=1, optimizer={"name": "sgd", "learning_rate": 1e-9})
        if size == 4:
            with pytest.raises(Exception, match=r"`correlation` with shape \[\?, 5\]"):
                run.fit()
            return
        inputs, targets = next(iter(run.data.evaluation("train").unbatch().batch(50)))
        expected = np.corrcoef(run.state.model(inputs)[:, 0], tf.reshape(targets, [-1]))[0, 1]
        assert run.fit()[0].train["correlation"] == pytest.approx(expected, rel=1e-4)


def test_scale_that_a_checkpoint_replaces_is_not_measured(make, monkeypatch: pytest.MonkeyPatch) -> None:
    run, measured = make(), []
    monkeypatch.setattr(TargetScale, "measure", lambda self, targets, log: measured.append(len(targets)))
    build_state(run.task, run.data, run.config, 1, restored=True)
    assert measured == []
    build_state(run.task, run.data, run.config, 1)
    assert measured == [COUNT]
