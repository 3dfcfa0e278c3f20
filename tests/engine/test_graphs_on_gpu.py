"""What a GPU changes in traced graphs, as far as a machine without one shows it: no kernel runs on a GPU here."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Data, from_arrays
from tfloop_cli.engine.data.loading import workers
from tfloop_cli.engine.data.text_source import TextSource
from tfloop_cli.engine.exporting.export import Exporter
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.engine.traced_state import unsaved_states
from tfloop_cli.errors import ExitCode, TfloopError

NUMBERS = np.zeros((20, 8), np.float32), np.arange(20, dtype=np.int32) % 3


class PythonLayer(keras.layers.Layer):
    """Calls Python code, which XLA cannot compile."""

    def call(self, inputs):
        return tf.ensure_shape(tf.numpy_function(lambda values: values, [inputs], inputs.dtype), inputs.shape)


def test_loop_counter_of_steps_is_int32(trainer) -> None:
    """With a GPU, TensorFlow computes int32 counters on the CPU; for others, on the GPU, every step would wait."""
    run = trainer()
    inner_loop, batches = TrainSteps(run.state, run.data, run.task, run.config, profiled=True).start()
    graph = inner_loop.get_concrete_function(batches.batches, tf.TensorSpec([], tf.int32)).graph
    assert inner_loop.experimental_get_tracing_count() == 1  # the loop that trains has this type of counter
    (loop,) = [one for one in graph.get_operations() if one.type == "While"]
    condition = graph._get_function(loop.get_attr("cond").name).graph
    (comparison,) = [one for one in condition.get_operations() if one.type == "Less"]
    assert {tensor.dtype for tensor in comparison.inputs} == {tf.int32}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_recurrent_operations_of_gpus_have_state_with_dropout_only(dropout: float) -> None:
    def step() -> tf.Tensor:
        state = tf.zeros([1, 2, 4])
        return tf.raw_ops.CudnnRNNV3(
            input=tf.zeros([5, 2, 3]), input_h=state, input_c=state, params=tf.zeros([144]),
            sequence_lengths=tf.constant([5, 5]), rnn_mode="lstm", dropout=dropout,
        )[0]  # fmt: skip

    lines = unsaved_states(tf.function(step).get_concrete_function().graph)
    assert len(lines) == (1 if dropout else 0)


def test_operation_that_xla_does_not_support_is_usage_error_with_its_name(trainer) -> None:
    layers = [keras.Input((8,)), PythonLayer(), keras.layers.Dense(3)]
    run = trainer(from_arrays({"train": NUMBERS}), keras.Sequential(layers), compile="xla")
    with pytest.raises(
        TfloopError, match=r"XLA cannot compile the training step: it does not support PyFunc"
    ) as caught:
        run.fit()
    assert caught.value.code == ExitCode.USAGE


def test_all_cores_load_batches_for_a_gpu(configure) -> None:
    dataset, cpu = from_arrays({"train": NUMBERS}), configure(test=0, validation=0)
    gpu = cpu.model_copy(update={"device": "gpu:0", "threads": 4})
    assert (workers(cpu, augments=False), workers(gpu, augments=False)) == (1, 4)
    for expected, found in zip(Data(dataset, cpu).batches(0, 4), Data(dataset, gpu).batches(0, 4), strict=True):
        np.testing.assert_array_equal(expected[1], found[1])


@pytest.mark.parametrize("kind", ["arrays", "texts"])
def test_examples_are_gathered_on_the_cpu(kind: str) -> None:
    """Otherwise each batch that is gathered outside of a graph copies the whole split to the GPU."""
    if kind == "arrays":
        source = from_arrays({"train": NUMBERS}).splits["train"]
    else:
        source = TextSource(np.ones(6, np.int32), np.array([0, 2, 6]), np.zeros(2, np.int32), np.ones(6, np.float32))

    def gather(indices: tf.Tensor) -> object:
        with tf.device("GPU:0"):
            return source.gather(indices)

    graph = tf.function(gather).get_concrete_function(tf.TensorSpec([1], tf.int64)).graph
    devices = [operation.device for operation in graph.get_operations() if "Gather" in operation.type]
    assert devices
    assert all("CPU" in device for device in devices)


def test_exports_are_compared_in_full_float32(monkeypatch) -> None:
    """TF32, the default of GPUs, would differ from the exported file by more than rounding."""
    enabled: list[bool] = []

    def is_enabled(*arguments: object) -> None:
        enabled.append(tf.config.experimental.tensor_float_32_execution_enabled())

    monkeypatch.setattr(sys.modules[Exporter.__module__], "run_scores", is_enabled)
    assert Exporter(None, Path(), False, 0.0, None).expected is None
    is_enabled()
    assert enabled == [False, True]
