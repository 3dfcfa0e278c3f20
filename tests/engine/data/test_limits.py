"""Shorter epochs: which batches are trained and evaluated, and that a resumed run trains the same ones."""

from collections.abc import Callable

import numpy as np


def test_limited_epochs_train_the_first_batches_of_each_order(trainer: Callable) -> None:
    run = trainer(limit_train_batches=2, epochs=3)
    assert run.data.steps_per_epoch == 2
    seen = [run.data.examples_of(step).tolist() for step in range(6)]
    assert [seen[2 * epoch : 2 * epoch + 2] for epoch in range(3)] == [
        [run.data.order(epoch)[:16].tolist(), run.data.order(epoch)[16:32].tolist()] for epoch in range(3)
    ]
    epochs = run.fit()
    assert [epoch.step for epoch in epochs] == [2, 4, 6]
    assert run.state.metric_sums[-1] == 0


def test_limit_above_the_epoch_changes_nothing(trainer: Callable) -> None:
    whole, limited = trainer(), trainer(limit_train_batches=100, limit_validation_batches=100)
    whole.fit(), limited.fit()
    assert all(np.array_equal(*pair) for pair in zip(whole.weights(), limited.weights(), strict=True))


def test_validation_is_limited_to_examples_from_all_of_it(trainer: Callable) -> None:
    whole, run = trainer(validation=40), trainer(validation=40, limit_validation_batches=1)
    indices, of = run.data.split("validation")[1], whole.data.split("validation")[1]
    assert len(indices) == 16
    assert set(indices) <= set(of)
    assert (indices[0], indices[-1]) == (of[0], of[-1])
    assert "limit_validation_batches: 16 of 40 validation examples" in run.data.run_splits.notes


def test_overfitting_trains_and_validates_on_the_same_examples(trainer: Callable) -> None:
    run = trainer(
        overfit_batches=1, epochs=40, seed=3, augment=["flip"], optimizer={"name": "adam", "learning_rate": 0.05}
    )
    trained, validated = (run.data.split(split)[1] for split in ("train", "validation"))
    assert len(trained) == 16
    assert np.array_equal(trained, validated)
    assert np.array_equal(trained, trainer(overfit_batches=1).data.split("train")[1])  # whatever the seed
    epochs = run.fit()
    assert epochs[-1].validation["loss"] < 0.1 < epochs[0].train["loss"]
