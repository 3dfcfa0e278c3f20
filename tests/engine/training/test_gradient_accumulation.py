"""Gradient accumulation trains the same weights as full batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.tasks.supervised import Supervised
from tfloop_cli.errors import ExitCode, TfloopError

RUN = {
    "model": {"name": "conv_net", "filters": [4], "hidden": [6]},
    "precision": "float64",
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "ema_decay": 0.9,
}


@pytest.mark.parametrize("size", [1, 5, 8, 15])
def test_micro_batches_equal_full_batches(trainer, size: int) -> None:
    """The batches have 16 examples, and the last one has 12, so sizes divide them with and without a remainder."""
    full, divided = trainer(**RUN), trainer(**RUN, micro_batch_size=size)
    epochs = zip(divided.fit(), full.fit(), strict=True)
    variables = divided.everything()
    for name, expected in full.everything().items():
        np.testing.assert_allclose(variables[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)
    for got, expected in epochs:
        assert got.train == pytest.approx(expected.train, abs=1e-9)


def test_clip_norm_applies_to_accumulated_gradient(trainer) -> None:
    changes = RUN | {"clip_norm": 0.1, "optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9}}
    full, divided = trainer(**changes), trainer(**changes, micro_batch_size=7)
    full.fit(), divided.fit()
    for got, expected in zip(divided.weights(), full.weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_micro_batch_of_full_size_is_bitwise_equal(trainer) -> None:
    full, divided = trainer(**RUN), trainer(**RUN, micro_batch_size=16)
    full.fit(), divided.fit()
    assert full.state.weights_sha256() == divided.state.weights_sha256()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_with_micro_batches_lowers_loss(trainer, precision: str) -> None:
    run = trainer(**RUN | {"precision": precision}, micro_batch_size=6)
    first, *_, last = run.fit()
    assert last.train["loss"] < first.train["loss"]


def test_non_finite_micro_batch_skips_whole_step(trainer) -> None:
    inputs = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    inputs[3] = np.nan
    data = from_arrays({"train": (inputs, np.arange(32, dtype=np.int32) % 2)})
    run = trainer(data, model="linear", epochs=1, micro_batch_size=5, on_nonfinite="skip")
    (epoch,) = run.fit()
    assert epoch.skipped_batches == 1
    assert float(run.state.metric_sums[-1]) == 0  # reset at the end of the epoch
    assert all(np.isfinite(weight).all() for weight in run.weights())
    assert np.isfinite(epoch.train["loss"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"name": "conv_net", "filters": [4], "batch_norm": True}},
            "model `conv_net` has non-trainable weights",
        ),
        ({"model": {"name": "dcgan", "width": 2}, "task": "gan"}, "model `dcgan` has non-trainable weights"),
    ],
)
def test_micro_batches_with_batch_norm_are_usage_error(trainer, changes: dict, message: str) -> None:
    trainer(**changes)
    with pytest.raises(TfloopError, match=message) as caught:
        trainer(**changes, micro_batch_size=4)
    assert caught.value.code == ExitCode.USAGE


def test_micro_batches_with_task_of_whole_batches_are_error(trainer, monkeypatch) -> None:
    monkeypatch.setattr(Supervised, "whole_batches", True, raising=False)
    with pytest.raises(TfloopError, match="task `classification`"):
        trainer(micro_batch_size=4)


@pytest.mark.parametrize("frozen", [keras.layers.Dense(4), keras.layers.BatchNormalization()], ids=["dense", "norm"])
def test_frozen_layers_are_supported(trainer, frozen: keras.Layer) -> None:
    frozen.trainable = False
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), frozen, keras.layers.Dropout(0.1), keras.layers.Dense(3)]
    run = trainer(net=keras.Sequential(layers), micro_batch_size=5, epochs=1)
    before = [weight.numpy() for weight in frozen.weights]
    run.fit()
    for weight, value in zip(frozen.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_layer_with_statistics_of_its_own_is_an_error_with_its_name(trainer) -> None:
    net = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), Counter(name="counter"), keras.layers.Dense(3)]
    )
    with pytest.raises(TfloopError, match="model `linear` has non-trainable weights in its layer `counter`"):
        trainer(net=net, micro_batch_size=5)


class Counter(keras.layers.Layer):
    def build(self, shape: tuple) -> None:
        self.count = self.add_weight(shape=(), trainable=False, initializer="zeros", name="count")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        self.count.assign_add(1.0)
        return inputs
