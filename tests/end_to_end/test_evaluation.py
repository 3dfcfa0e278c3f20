"""The promise: an evaluation measures the trained model, with training=False, on every example once.

The tutorial that this grew from evaluates with training=True; these tests tell the two apart, by a model that has both
Dropout and batch norm, and by numbers that numpy computes.
"""

from pathlib import Path

import numpy as np
import pytest

NOISY = {"name": "conv_net", "filters": [4], "batch_norm": True, "hidden": [16], "dropout": 0.5}
TEST_EXAMPLES = 37  # with a batch of 16 the last one has 5


@pytest.fixture(scope="module")
def make(trainer):
    """Makes a run that has trained a little; `run.epochs` are its events."""

    def make(**changes):
        sizes = {"train_examples": 100, "test_examples": TEST_EXAMPLES}
        dataset = {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, **sizes}
        run = trainer(dataset=dataset, model=NOISY, validation=21, **changes)
        run.epochs = run.fit()
        return run

    return make


@pytest.fixture(scope="module")
def plain(make):
    """Evaluations change nothing (a test below), so the tests share it."""
    return make()


@pytest.fixture(scope="module")
def averaging(make):
    return make(ema_decay=0.8)


def arrays(run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The split as it was made, without the batches that the evaluation draws."""
    source, members = run.data._parts[split]
    return source.inputs.numpy()[members], source.targets.numpy()[members]


def by_hand(run, split: str, training: bool) -> tuple[np.ndarray, np.ndarray]:
    """Loss and accuracy of each example, from one forward pass over all of them."""
    inputs, labels = arrays(run, split)
    logits = run.state.model(inputs, training=training).numpy().astype(np.float64)
    likelihoods = np.exp(logits - logits.max(axis=1, keepdims=True))
    likelihoods /= likelihoods.sum(axis=1, keepdims=True)
    return -np.log(likelihoods[np.arange(len(labels)), labels]), np.argmax(logits, axis=1) == labels


def evaluate(run, split: str, data=None):
    from tfloop_cli.engine.evaluation import Evaluator

    return Evaluator(run.state, data or run.data, run.task, run.config).run_with_predictions(split)


@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_the_score_is_that_of_a_forward_pass_without_training(plain, split: str) -> None:
    run = plain
    got = evaluate(run, split).metrics
    loss, right = by_hand(run, split, training=False)
    assert got["loss"] == pytest.approx(loss.mean(), rel=1e-5)
    assert got["accuracy"] == pytest.approx(right.mean(), abs=1e-9)


def test_it_is_not_that_of_a_forward_pass_in_training(plain) -> None:
    """Or the test above could tell nothing."""
    run = plain
    before = run.everything()
    without, _ = by_hand(run, "test", training=False)
    within, _ = by_hand(run, "test", training=True)
    assert abs(within.mean() - without.mean()) > 0.02 * without.mean()
    assert evaluate(run, "test").metrics["loss"] != pytest.approx(within.mean(), rel=0.01)
    for name, variable in run.state.variables().items():
        variable.assign(before[name])


def test_every_example_is_measured_once_and_in_order(plain) -> None:
    run = plain
    got = evaluate(run, "test")
    _, labels = arrays(run, "test")
    assert got.examples == TEST_EXAMPLES
    assert got.labels.tolist() == labels.tolist()
    loss, right = by_hand(run, "test", training=False)
    np.testing.assert_allclose(got.values["loss"], loss, rtol=1e-4)
    np.testing.assert_array_equal(got.values["accuracy"], right)
    np.testing.assert_array_equal(got.predictions == labels, right)


def test_means_are_weighted_by_examples_and_not_by_batches(plain) -> None:
    run = plain
    loss, _ = by_hand(run, "test", training=False)
    of_batches = np.mean([loss[first : first + 16].mean() for first in range(0, TEST_EXAMPLES, 16)])
    assert abs(of_batches - loss.mean()) > 1e-3  # or this test could tell nothing
    assert evaluate(run, "test").metrics["loss"] == pytest.approx(loss.mean(), rel=1e-5)


@pytest.mark.parametrize("size", [1, 7, 37, 100])
def test_the_batch_size_changes_nothing(plain, size: int) -> None:
    from tfloop_cli.engine.data import build_data

    expected = evaluate(plain, "test")
    got = evaluate(plain, "test", build_data(plain.config.model_copy(update={"batch_size": size})))
    np.testing.assert_allclose(got.values["loss"], expected.values["loss"], rtol=1e-4, atol=1e-6)
    assert got.predictions.tolist() == expected.predictions.tolist()


def test_the_validation_in_training_is_the_evaluation_after_it(plain, averaging, make) -> None:
    for run in (plain, averaging, make(augment=["affine"])):
        assert run.epochs[-1].validation == evaluate(run, "validation").metrics


def test_averaged_weights_are_what_is_scored(averaging) -> None:
    run = averaging
    raw, _ = by_hand(run, "test", training=False)
    with run.state.use_ema_weights():
        averaged, _ = by_hand(run, "test", training=False)
    got = evaluate(run, "test").metrics["loss"]
    assert got == pytest.approx(averaged.mean(), rel=1e-5)
    assert got != pytest.approx(raw.mean(), rel=1e-3)


def test_an_evaluation_changes_nothing(averaging) -> None:
    run = averaging
    before = run.everything()
    first, second = evaluate(run, "test"), evaluate(run, "test")
    for name, value in run.everything().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    np.testing.assert_array_equal(first.values["loss"], second.values["loss"])


def test_validating_or_not_changes_no_weight(trainer) -> None:
    """The same examples are trained on either way: those that are held out are another split's."""
    import tfloop_cli.engine.loop as loop

    dataset = {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 60}
    with_validation = trainer(dataset=dataset, model=NOISY, validation=12)
    with_validation.fit()
    without = trainer(dataset=dataset, model=NOISY, validation=12)
    kept, loop.validate = loop.validate, lambda *arguments: iter(())
    try:
        without.fit()
    finally:
        loop.validate = kept
    assert with_validation.state.weights_sha256() == without.state.weights_sha256()


def test_training_metrics_are_means_over_the_epochs_examples(trainer) -> None:
    """As each step saw them, before its update, the ragged last batch by its size."""
    changes = {"model": "linear", "epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 0.5}}
    run, by_steps = trainer(**changes), trainer(**changes)
    values = [by_steps.task.train_step(by_steps.state, batch) for batch in by_steps.data.batches(0, 4)]
    assert [len(value["loss"]) for value in values] == [16, 16, 16, 12]
    (epoch,) = run.fit()
    for name in ("loss", "accuracy"):
        expected = np.concatenate([value[name].numpy() for value in values]).mean()
        assert epoch.train[name] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kernels", ["native", "tensorflow"])
def test_what_was_trained_with_kernels_of_our_own_is_scored_without_them(
    trainer, tmp_path: Path, monkeypatch, capsys, kernels: str
) -> None:
    from tfloop_cli.commands.evaluate import Options, evaluate
    from tfloop_cli.config.loading import to_mapping
    from tfloop_cli.engine.checkpoints.format import Snapshot, write_checkpoint
    from tfloop_cli.engine.kernels import native
    from tfloop_cli.terminal.console import Console

    run = trainer(kernels="tensorflow")
    run.fit()
    config = to_mapping(run.config) | {"kernels": kernels}
    about = {"config": config, "data": run.data.fingerprint, "code": {}, "run_id": "one", "total_steps": 8}
    monkeypatch.setattr(native, "unavailable_reason", lambda: "nobody built them")
    folder = write_checkpoint(tmp_path, Snapshot.of(run.state), about)
    assert evaluate(folder, Options(device="cpu"), Console()) == 0
    assert "(23 examples)" in capsys.readouterr().out
