"""Guarantee: an evaluation measures the trained model, with training=False, on every example exactly once.

The model has Dropout and batch norm, so that training=True gives other values. NumPy computes the expected values.
"""

from pathlib import Path

import numpy as np
import pytest

DATASET = {"name": "synthetic", "shape": [8, 8, 1], "classes": 3}
MODEL = {"name": "conv_net", "filters": [4], "batch_norm": True, "hidden": [16], "dropout": 0.5}
TEST_EXAMPLES = 37  # with a batch size of 16, the last batch has 5


@pytest.fixture(scope="module")
def train_model(trainer):
    """Returns a function that trains a model for two epochs; `run.epochs` has one event per epoch."""

    def train_model(**changes):
        dataset = DATASET | {"train_examples": 100, "test_examples": TEST_EXAMPLES}
        run = trainer(dataset=dataset, model=MODEL, validation=21, **changes)
        run.epochs = run.fit()
        return run

    return train_model


@pytest.fixture(scope="module")
def trained(train_model):
    """Shared by the tests, because an evaluation does not change the state."""
    return train_model()


@pytest.fixture(scope="module")
def trained_with_ema(train_model):
    return train_model(ema_decay=0.8)


def split_arrays(run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs and labels of a split from its source, not from the batches of the evaluation."""
    source, members = run.data._splits[split]
    return source.inputs.numpy()[members], source.targets.numpy()[members]


def expected_values(run, split: str, *, training: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns loss and accuracy of each example, from one forward pass over the split."""
    inputs, labels = split_arrays(run, split)
    logits = run.state.model(inputs, training=training).numpy().astype(np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels]), np.argmax(logits, axis=1) == labels


def evaluate(run, split: str, data=None):
    from tfloop_cli.engine.evaluation import Evaluator

    return Evaluator(run.state, data or run.data, run.task, run.config).run_with_predictions(split)


@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_metrics_match_a_forward_pass_with_training_false(trained, split: str) -> None:
    metrics = evaluate(trained, split).metrics
    loss, correct = expected_values(trained, split)
    assert metrics["loss"] == pytest.approx(loss.mean(), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(correct.mean(), abs=1e-9)


def test_metrics_differ_from_a_forward_pass_with_training_true(trained) -> None:
    """Otherwise the test above could not detect an evaluation with training=True."""
    before = trained.everything()
    inference, _ = expected_values(trained, "test")
    training, _ = expected_values(trained, "test", training=True)
    assert abs(training.mean() - inference.mean()) > 0.02 * inference.mean()
    assert evaluate(trained, "test").metrics["loss"] != pytest.approx(training.mean(), rel=0.01)
    for name, variable in trained.state.variables().items():
        variable.assign(before[name])


def test_every_example_is_evaluated_once_in_order(trained) -> None:
    evaluation = evaluate(trained, "test")
    _, labels = split_arrays(trained, "test")
    assert evaluation.examples == TEST_EXAMPLES
    assert evaluation.labels.tolist() == labels.tolist()
    loss, correct = expected_values(trained, "test")
    np.testing.assert_allclose(evaluation.values["loss"], loss, rtol=1e-4)
    np.testing.assert_array_equal(evaluation.values["accuracy"], correct)
    np.testing.assert_array_equal(evaluation.predictions == labels, correct)


def test_metrics_are_means_over_examples_not_batches(trained) -> None:
    loss, _ = expected_values(trained, "test")
    mean_over_batches = np.mean([loss[first : first + 16].mean() for first in range(0, TEST_EXAMPLES, 16)])
    assert abs(mean_over_batches - loss.mean()) > 1e-3  # otherwise this test could not detect the difference
    assert evaluate(trained, "test").metrics["loss"] == pytest.approx(loss.mean(), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 37, 100])
def test_batch_size_does_not_change_metrics(trained, batch_size: int) -> None:
    from tfloop_cli.engine.data import build_data

    expected = evaluate(trained, "test")
    data = build_data(trained.config.model_copy(update={"batch_size": batch_size}))
    evaluation = evaluate(trained, "test", data)
    np.testing.assert_allclose(evaluation.values["loss"], expected.values["loss"], rtol=1e-4, atol=1e-6)
    assert evaluation.predictions.tolist() == expected.predictions.tolist()


def test_validation_after_last_epoch_equals_evaluation(trained, trained_with_ema, train_model) -> None:
    for run in (trained, trained_with_ema, train_model(augment=["affine"])):
        assert run.epochs[-1].validation == evaluate(run, "validation").metrics


def test_evaluation_uses_ema_weights(trained_with_ema) -> None:
    run = trained_with_ema
    raw_loss, _ = expected_values(run, "test")
    with run.state.use_ema_weights():
        ema_loss, _ = expected_values(run, "test")
    loss = evaluate(run, "test").metrics["loss"]
    assert loss == pytest.approx(ema_loss.mean(), rel=1e-5)
    assert loss != pytest.approx(raw_loss.mean(), rel=1e-3)


def test_evaluation_does_not_change_the_state(trained_with_ema) -> None:
    run = trained_with_ema
    before = run.everything()
    first, second = evaluate(run, "test"), evaluate(run, "test")
    for name, value in run.everything().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    np.testing.assert_array_equal(first.values["loss"], second.values["loss"])


def test_validation_does_not_change_weights(trainer, monkeypatch) -> None:
    """Both runs train on the same examples, because both hold out a validation split."""
    from tfloop_cli.engine import loop

    config = {"dataset": DATASET | {"train_examples": 60}, "model": MODEL, "validation": 12}
    validated, not_validated = trainer(**config), trainer(**config)
    validated.fit()
    monkeypatch.setattr(loop, "validate", lambda *arguments: iter(()))
    not_validated.fit()
    assert validated.state.weights_sha256() == not_validated.state.weights_sha256()


def test_training_metrics_are_means_over_examples_of_the_epoch(trainer) -> None:
    """Each step measures its batch before the update; the smaller last batch counts by its size."""
    changes = {"model": "linear", "epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 0.5}}
    run, stepwise = trainer(**changes), trainer(**changes)
    values = [stepwise.task.train_step(stepwise.state, batch) for batch in stepwise.data.batches(0, 4)]
    assert [len(value["loss"]) for value in values] == [16, 16, 16, 12]
    (epoch,) = run.fit()
    for name in ("loss", "accuracy"):
        expected = np.concatenate([value[name].numpy() for value in values]).mean()
        assert epoch.train[name] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kernels", ["native", "tensorflow"])
def test_checkpoint_is_evaluated_without_native_kernels(
    trainer, tmp_path: Path, monkeypatch, capsys, kernels: str
) -> None:
    """A machine without the C++ operations can evaluate a run that was trained with them."""
    from tfloop_cli.commands.evaluate import Options, evaluate
    from tfloop_cli.config.loading import to_mapping
    from tfloop_cli.engine.checkpoints.storage import write_checkpoint
    from tfloop_cli.engine.kernels import native
    from tfloop_cli.terminal.console import Console

    run = trainer(kernels="tensorflow")
    run.fit()
    config = to_mapping(run.config) | {"kernels": kernels}
    facts = {
        "config": config,
        "data": run.data.fingerprint,
        "code": {},
        "run_id": "one",
        "total_steps": 8,
        "train_examples": 1,
    }
    monkeypatch.setattr(native, "unavailable_reason", lambda: "they were not built")
    checkpoint = write_checkpoint(tmp_path, run.state.snapshot(), facts)
    assert evaluate(checkpoint, Options(device="cpu"), Console()) == 0
    assert "(23 examples)" in capsys.readouterr().out
