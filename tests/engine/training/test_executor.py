"""Which models train in one thread."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.loop import compile_steps
from tfloop_cli.engine.training.executor import SingleThreadedExecutor, suits_single_thread

IMAGES = {"dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 60, "test_examples": 8}}


class Doubled(keras.layers.Dense):
    """A layer that nobody knows."""


def layers(kind: str) -> list[keras.layers.Layer]:
    own = keras.layers
    return {
        "plain": lambda: [own.Dense(8, "relu"), own.Dropout(0.1)],
        "wide": lambda: [own.Dense(3000)],  # 8 x 3000 weights
        "unknown": lambda: [Doubled(8)],
        "convolution": lambda: [own.Reshape((8, 1)), own.Conv1D(2, 3), own.Flatten()],
    }[kind]()


@pytest.mark.parametrize("kind", ["plain", "wide", "unknown", "convolution"])
def test_small_are_dense_layers_of_few_weights(trainer, kind: str) -> None:
    data = from_arrays({"train": (np.zeros((20, 8), np.float32), np.arange(20, dtype=np.int32) % 3)})
    run = trainer(data, keras.Sequential([keras.Input((8,)), *layers(kind), keras.layers.Dense(3)]))
    assert suits_single_thread(run.state) == (kind == "plain")
    assert isinstance(compile_steps(run.task, run.state, run.config), SingleThreadedExecutor) == (kind == "plain")
    assert len(run.fit()) == 2


def test_xla_is_left_alone(trainer) -> None:
    run = trainer(compile="xla")
    assert not isinstance(compile_steps(run.task, run.state, run.config), SingleThreadedExecutor)


@pytest.mark.parametrize("changes", [{}, {"augment": ["flip"]}, {"precision": "float16"}, {"micro_batch_size": 5}])
def test_it_learns_what_the_usual_executor_does(trainer, monkeypatch, changes: dict) -> None:
    one = trainer(**IMAGES, **changes)
    one.fit()
    monkeypatch.setattr("tfloop_cli.engine.loop.suits_single_thread", lambda state: False)
    other = trainer(**IMAGES, **changes)
    other.fit()
    for name, array in other.everything().items():
        np.testing.assert_allclose(one.everything()[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_what_is_set_for_the_call_is_taken_back(trainer) -> None:
    from tensorflow.python.eager import context

    trainer().fit()
    assert not context.context().function_call_options.executor_type
    assert tf.function(lambda: tf.constant(1))() == 1
