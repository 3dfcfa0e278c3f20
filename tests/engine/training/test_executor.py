"""Which models train in a single thread."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.loop import compile_steps
from tfloop_cli.engine.training.executor import SingleThreadedExecutor, calls_functions, suits_single_thread

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


@pytest.mark.parametrize("changes", [{"compile": "xla"}, {"precision": "float16"}], ids=str)
def test_nested_functions_use_default_executor(trainer, changes: dict) -> None:
    """The step is a nested function, or has a condition for the loss scale."""
    run = trainer(**changes)
    assert not isinstance(compile_steps(run.task, run.state, run.config), SingleThreadedExecutor)


class OwnWeights(keras.Model):
    """Has a weight outside of its layers, so that nothing is known about the operations that use it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = self.add_weight(shape=(8, 3), name="kernel")

    def call(self, inputs, training=False):
        return inputs @ self.kernel


def test_model_with_own_weights_uses_default_executor(trainer) -> None:
    data = from_arrays({"train": (np.zeros((20, 8), np.float32), np.arange(20, dtype=np.int32) % 3)})
    assert not suits_single_thread(trainer(data, OwnWeights()).state, use_native=True)


@pytest.mark.parametrize("condition", [True, False])
def test_calls_of_functions_are_found_in_traced_graph(condition: bool) -> None:
    def steps(count: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor) -> tf.Tensor:
            return step + (tf.cond(step > 1, lambda: 2, lambda: 1) if condition else 1)

        return tf.while_loop(lambda step: step < count, body, [0])[0]

    with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
        graph = tf.function(steps).get_concrete_function(tf.constant(3)).graph
    assert calls_functions(graph) == condition


def test_step_with_condition_is_traced_for_default_executor() -> None:
    def steps(count: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(
            lambda step: step < count, lambda step: tf.cond(step > 1, lambda: step + 2, lambda: step + 1), [0]
        )[0]

    function = SingleThreadedExecutor(steps)
    assert function(tf.constant(5)) == 6
    assert function.experimental_get_tracing_count() == 1


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
