"""A training loop with `GradientTape` as TensorFlow's guides write it. Prints JSON documents.

    python benchmarks/gradient_tape_loop.py mnist.yaml --epochs 3 [--set KEY=VALUE ...] [--eager]

With `--eager` every operation is called from Python, over the tutorial's pipeline; else a step is one `tf.function`,
over the pipeline of `keras_fit.py`. See https://www.tensorflow.org/guide/keras/writing_a_training_loop_from_scratch
"""

import argparse

import exported_workload
import keras_workload  # first: it says what Keras runs on

import keras  # isort: skip
import tensorflow as tf  # isort: skip


def main() -> None:
    """Trains and tests."""
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
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy, mean_loss = keras.metrics.SparseCategoricalAccuracy(), keras.metrics.Mean()

    def train_step(inputs: tf.Tensor, targets: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            loss = loss_of(targets, logits)
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
        mean_loss.update_state(loss)
        accuracy.update_state(targets, logits)

    def test_step(inputs: tf.Tensor, targets: tf.Tensor) -> None:
        logits = model(inputs, training=False)
        mean_loss.update_state(loss_of(targets, logits), tf.shape(targets)[0])
        accuracy.update_state(targets, logits)

    if not options.eager:
        train_step, test_step = tf.function(train_step), tf.function(test_step)
    optimizer.build(model.trainable_weights)  # a tf.function may make no variables but in its first call
    epochs = exported_workload.Epochs(len(workload.splits["train"]))
    for _ in range(options.epochs):
        for inputs, targets in train:
            train_step(inputs, targets)
        accuracy.result().numpy()
        epochs.done()
        accuracy.reset_state()
        mean_loss.reset_state()
    for inputs, targets in test:
        test_step(inputs, targets)
    metrics = {"loss": float(mean_loss.result()), "accuracy": float(accuracy.result())}
    exported_workload.tell("evaluation", split="test", metrics=metrics)


if __name__ == "__main__":
    main()
