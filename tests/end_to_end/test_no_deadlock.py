"""Guarantee: training does not wait for itself, with any task, model and precision, on one CPU and on two.

TensorFlow has as many threads as the process has CPUs. An operation that calls a function, such as a condition, blocks
its thread until the function has run in another one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PRECISIONS = ("float32", "bfloat16", "float16")
USER_CODE = '''
import keras
import tensorflow as tf
from tfloop_cli import models, tasks

@models.register("model_with_condition")
def model_with_condition(spec):
    class Net(keras.Model):
        """Has a weight of its own and a condition."""

        def __init__(self):
            super().__init__()
            self.kernel = self.add_weight(shape=(64, spec.outputs), name="kernel")

        def call(self, inputs, training=False):
            outputs = tf.matmul(tf.reshape(inputs, [-1, 64]), tf.cast(self.kernel, inputs.dtype))
            return tf.cond(tf.reduce_mean(outputs) > 0, lambda: outputs, lambda: outputs * 2)

    return Net()

@tasks.register("task_with_control_flow")
class TaskWithControlFlow:
    models, metrics, monitor = ("model",), ("loss",), ("loss", "min")

    def __init__(self, spec):
        pass

    def train_step(self, state, batch):
        inputs, targets = batch
        with tf.GradientTape() as tape:
            losses = self.losses(targets, state.model(inputs, training=True))
            loss = tf.reduce_mean(losses)
            for _ in tf.range(3):
                loss *= 1.1
            if tf.reduce_mean(inputs) > -1.0:
                if tf.reduce_mean(inputs) > -2.0:
                    if tf.reduce_mean(inputs) > -3.0:
                        loss *= 1.5
        variables = state.model.trainable_variables
        gradients = tape.gradient(loss, variables, state.optimizer.loss_scale)
        state.optimizer.apply(gradients, variables, loss)
        return {"loss": losses}

    def eval_step(self, state, batch):
        return {"loss": self.losses(batch[1], state.model(batch[0], training=False))}

    def losses(self, targets, outputs):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(targets, tf.int32), tf.cast(outputs, tf.float32))

    def predict(self, state, inputs):
        return None

    def samples(self, state):
        return None
'''
CLASSES = "dataset={name: synthetic, shape: [8, 8, 1], classes: 3, train_examples: 40, test_examples: 8}"
NUMBERS = "dataset={name: synthetic, shape: [8, 8, 1], classes: 0, train_examples: 40, test_examples: 8}"
PAIRS = [
    (CLASSES, "classification", "linear"),
    (CLASSES, "classification", "conv_net"),
    (CLASSES, "task_with_control_flow", "linear"),
    (CLASSES, "task_with_control_flow", "model_with_condition"),
    (NUMBERS, "regression", "linear"),
    (CLASSES, "gan", "{name: dcgan, latent: 4, width: 2}"),
]
# In the first precision the runs evaluate too: evaluation always has TensorFlow's default executor.
EVALUATION = {"float32": ("validation=10",)} | dict.fromkeys(PRECISIONS[1:], ("validation=0", "test=0"))
# Each run is a call of the command line in one process, because loading TensorFlow takes seconds.
PROGRAM = """
import json, sys
from tfloop_cli.cli import app
for arguments in json.loads(sys.argv[1]):
    print(arguments, flush=True)
    assert not app(arguments, standalone_mode=False)
"""


@pytest.mark.parametrize("cpus", [1, 2])
def test_every_task_trains_on_few_cpus(tmp_path: Path, shell, cpus: int) -> None:
    available = sorted(os.sched_getaffinity(0))[:cpus]
    if len(available) < cpus:
        pytest.skip(f"this machine has {len(available)} CPU")
    (tmp_path / "user_code.py").write_text(USER_CODE)
    cases = [(*pair, precision) for pair in PAIRS for precision in PRECISIONS]
    runs = [
        ["train", "--code", "user_code.py", "--quiet", "--name", f"run{number}"]
        + [part for setting in (dataset, f"task={task}", f"model={model}", f"precision={precision}", "epochs=1",
                                "batch_size=10", *EVALUATION[precision]) for part in ("--set", setting)]
        for number, (dataset, task, model, precision) in enumerate(cases)
    ]  # fmt: skip
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(runs)], cwd=tmp_path, env=shell.environment(CI="1"),
        capture_output=True, text=True, timeout=120, preexec_fn=lambda: os.sched_setaffinity(0, available),
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert len(list((tmp_path / "runs").glob("*/summary.json"))) == len(cases)
