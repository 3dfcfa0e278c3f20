"""Trains with a `GradientTape` loop as in TensorFlow's guides. Prints JSON documents.

    python benchmarks/gradient_tape_loop.py mnist.yaml --epochs 3 [--set KEY=VALUE ...] [--eager]

With `--eager` every operation is called from Python, with the pipeline of the Keras tutorial. Otherwise a step is one
`tf.function`, with the tuned pipeline of `keras_fit.py`.
See https://www.tensorflow.org/guide/keras/writing_a_training_loop_from_scratch
"""

import argparse

import exported_workload
import keras_workload  # before keras: it sets the backend

import keras  # isort: skip
import tensorflow as tf  # isort: skip


def main() -> None:
    """Trains, and evaluates the test split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eager", action="store_true")
    options = parser.parse_args()

    workload = keras_workload.open_workload(options.config, options.set, options.seed)
    pipeline = keras_workload.tutorial_pipeline if options.eager else keras_workload.tuned_pipeline
    train, test = pipeline(workload, "train"), pipeline(workload, "test")
    model, optimizer = workload.model(), workload.optimizer(options.epochs)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy, mean_loss = keras.metrics.SparseCategoricalAccuracy(), keras.metrics.Mean()

    def train_step(inputs: tf.Tensor, targets: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            loss = loss_fn(targets, logits)
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
        mean_loss.update_state(loss)
        accuracy.update_state(targets, logits)

    def test_step(inputs: tf.Tensor, targets: tf.Tensor) -> None:
        logits = model(inputs, training=False)
        mean_loss.update_state(loss_fn(targets, logits), tf.shape(targets)[0])
        accuracy.update_state(targets, logits)

    if not options.eager:
        train_step, test_step = tf.function(train_step), tf.function(test_step)
    optimizer.build(model.trainable_weights)  # a tf.function may create variables only in its first call
    timer = exported_workload.EpochTimer(len(workload.splits["train"]))
    for _ in range(options.epochs):
        for inputs, targets in train:
            train_step(inputs, targets)
        accuracy.result().numpy()
        timer.stop()
        accuracy.reset_state()
        mean_loss.reset_state()
    for inputs, targets in test:
        test_step(inputs, targets)
    metrics = {"loss": float(mean_loss.result()), "accuracy": float(accuracy.result())}
    exported_workload.emit("evaluation", split="test", metrics=metrics)


if __name__ == "__main__":
    main()
