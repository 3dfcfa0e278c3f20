"""Which models train in a single thread."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.loop import compile_steps
from tfloop_cli.engine.training.executor import SingleThreadedExecutor, suits_single_thread

IMAGES = {"dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 60, "test_examples": 8}}


class CustomDense(keras.layers.Dense):
    """A layer that is not in `SIMPLE_LAYERS`."""


LAYERS = {
    "small": lambda: [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.1)],
    "wide": lambda: [keras.layers.Dense(3000)],  # 8 x 3000 weights
    "custom": lambda: [CustomDense(8)],
    "convolution": lambda: [keras.layers.Reshape((8, 1)), keras.layers.Conv1D(2, 3), keras.layers.Flatten()],
}


@pytest.mark.parametrize("case", LAYERS)
def test_only_small_dense_layers_suit_single_thread(trainer, case: str) -> None:
    data = from_arrays({"train": (np.zeros((20, 8), np.float32), np.arange(20, dtype=np.int32) % 3)})
    run = trainer(data, keras.Sequential([keras.Input((8,)), *LAYERS[case](), keras.layers.Dense(3)]))
    for use_native in (False, True):
        assert suits_single_thread(run.state, use_native=use_native) == (case == "small")
    assert isinstance(compile_steps(run.task, run.state, run.config), SingleThreadedExecutor) == (case == "small")
    assert len(run.fit()) == 2


def test_xla_uses_default_executor(trainer) -> None:
    run = trainer(compile="xla")
    assert not isinstance(compile_steps(run.task, run.state, run.config), SingleThreadedExecutor)


@pytest.mark.parametrize("changes", [{}, {"augment": ["flip"]}, {"precision": "float16"}, {"micro_batch_size": 5}])
def test_single_thread_equals_default_executor(trainer, monkeypatch, changes: dict) -> None:
    run = trainer(**IMAGES, **changes)
    run.fit()
    monkeypatch.setattr("tfloop_cli.engine.loop.suits_single_thread", lambda state, *, use_native: False)
    default = trainer(**IMAGES, **changes)
    default.fit()
    for name, expected in default.everything().items():
        np.testing.assert_allclose(run.everything()[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_executor_is_reset_after_training(trainer) -> None:
    from tensorflow.python.eager import context

    trainer().fit()
    assert not context.context().function_call_options.executor_type
    assert tf.function(lambda: tf.constant(1))() == 1
