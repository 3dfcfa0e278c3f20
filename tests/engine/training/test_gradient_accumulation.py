"""A batch in parts learns what the whole batch learns."""

import numpy as np
import pytest

from tfloop_cli.errors import ExitCode, TfloopError

RUN = {
    "model": {"name": "conv_net", "filters": [4], "hidden": [6]},
    "precision": "float64",
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "ema_decay": 0.9,
}


@pytest.mark.parametrize("size", [1, 5, 8, 15])
def test_the_weights_are_those_of_the_whole_batch(trainer, size: int) -> None:
    """60 examples in batches of 16, the last one of 12: parts of every kind of raggedness."""
    whole, parts = trainer(**RUN), trainer(**RUN, micro_batch_size=size)
    tables = whole.fit(), parts.fit()
    everything = parts.everything()
    for name, value in whole.everything().items():
        np.testing.assert_allclose(everything[name], value, rtol=1e-9, atol=1e-9, err_msg=name)
    for one, other in zip(*tables, strict=True):
        assert one.train == pytest.approx(other.train, abs=1e-9)


def test_a_gradient_norm_is_clipped_as_the_whole_batchs(trainer) -> None:
    run = RUN | {"clip_norm": 0.1, "optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9}}
    whole, parts = trainer(**run), trainer(**run, micro_batch_size=7)
    whole.fit(), parts.fit()
    for one, other in zip(whole.weights(), parts.weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_parts_as_large_as_the_batch_are_the_batch(trainer) -> None:
    whole, same = trainer(**RUN), trainer(**RUN, micro_batch_size=16)
    whole.fit(), same.fit()
    assert whole.state.weights_sha256() == same.state.weights_sha256()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_learns_in_parts_too(trainer, precision: str) -> None:
    run = trainer(**RUN | {"precision": precision}, micro_batch_size=6)
    first, *_, last = run.fit()
    assert last.train["loss"] < first.train["loss"]


def test_one_bad_part_refuses_the_whole_step(trainer) -> None:
    from tfloop_cli.engine.data import from_arrays

    inputs = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    inputs[3] = np.nan
    data = from_arrays({"train": (inputs, np.arange(32, dtype=np.int32) % 2)})
    run = trainer(data, model="linear", epochs=1, micro_batch_size=5, on_nonfinite="skip")
    (epoch,) = run.fit()
    assert epoch.skipped_batches == 1
    assert float(run.state.metric_sums[-1]) == 0  # cleared at the epoch's end
    assert all(np.isfinite(weight).all() for weight in run.weights())
    assert np.isfinite(epoch.train["loss"])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": {"name": "conv_net", "filters": [4], "batch_norm": True}}, "`conv_net` keeps averages"),
        ({"model": {"name": "dcgan", "width": 2}, "task": "gan"}, "keeps averages"),
    ],
)
def test_batches_whose_examples_meet_are_not_divided(trainer, changes: dict, what: str) -> None:
    trainer(**changes)
    with pytest.raises(TfloopError, match=what) as caught:
        trainer(**changes, micro_batch_size=4)
    assert caught.value.code == ExitCode.USAGE


def test_a_task_says_that_its_batches_are_whole(trainer, monkeypatch) -> None:
    from tfloop_cli.engine.tasks.supervised import Supervised

    monkeypatch.setattr(Supervised, "whole_batches", True, raising=False)
    with pytest.raises(TfloopError, match="task `classification`"):
        trainer(micro_batch_size=4)
