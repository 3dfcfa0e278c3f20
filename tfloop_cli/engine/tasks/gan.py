"""Generative adversarial training: two models and two tapes, otherwise the same as any other step."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks.task import Batch, MetricValues
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import tasks
from tfloop_cli.registry.argument_types import FractionBelowOne, OnResume, PositiveInt


@dataclass(frozen=True)
class Gan:
    """A GAN (Goodfellow et al. 2014, arXiv:1406.2661) with the generator's non-saturating loss.

    Attributes:
        label_smoothing: the discriminator's target for real images is 1 minus it (one-sided label smoothing).
        sample_rows: rows and columns of the grid of samples.
    """

    label_smoothing: float
    sample_rows: int

    models = ("generator", "discriminator")
    metrics = ("discriminator_loss", "generator_loss", "real_score", "fake_score")
    monitor = None
    whole_batches = True  # all micro-batches of a batch would start from the same noise

    def train_step(self, state: TrainState, batch: Batch) -> MetricValues:
        images = _images(batch)
        generator, discriminator = state.models["generator"], state.models["discriminator"]
        noise = self.noise(state, images, state.step)
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fakes = generator(noise, training=True)
            real_logits = discriminator(images, training=True)  # [batch, 1]
            fake_logits = discriminator(fakes, training=True)  # [batch, 1]
            values = self.compute_metrics(real_logits, fake_logits)
            discriminator_loss = tf.reduce_mean(values["discriminator_loss"])
            generator_loss = tf.reduce_mean(values["generator_loss"])
        for name, tape, loss in (
            ("discriminator", discriminator_tape, discriminator_loss),
            ("generator", generator_tape, generator_loss),
        ):
            variables = state.models[name].trainable_variables
            optimizer = state.optimizers[name]
            gradients = tape.gradient(loss, variables, optimizer.loss_scale)
            optimizer.apply(gradients, variables, loss)
        return values

    def eval_step(self, state: TrainState, batch: Batch) -> MetricValues:
        images = _images(batch)
        noise = self.noise(state, images, tf.bitcast(tf.reduce_sum(tf.cast(images, tf.float32)), tf.int32))
        fakes = state.models["generator"](noise, training=False)
        discriminator = state.models["discriminator"]
        return self.compute_metrics(discriminator(images, training=False), discriminator(fakes, training=False))

    def predict(self, state: TrainState, inputs: tf.Tensor) -> None:
        return None

    def samples(self, state: TrainState) -> np.ndarray:
        """Returns images from the same noise after every epoch, so that they show the generator's progress."""
        latent = state.models["generator"].input_shape[-1]
        noise = tf.random.stateless_normal([self.sample_rows**2, latent], seed=[state.seed, -1])
        return state.models["generator"](noise, training=False).numpy()

    def noise(self, state: TrainState, images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Returns the generator's inputs, one row per image: float [batch, latent].

        Args:
            state: its seed, and the generator.
            images: of the batch.
            number: identifies the batch: the step in training, the sum of the pixels in evaluation. Together with the
                run's seed it determines the noise, so that a repeated step has the same.
        """
        latent = state.models["generator"].input_shape[-1]
        seed = tf.stack([state.seed, tf.cast(number, tf.int32)])
        return tf.random.stateless_normal([tf.shape(images)[0], latent], seed)

    def compute_metrics(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> MetricValues:
        """Returns losses and scores for each pair of a real and a generated image, each float [batch]."""
        real, fake = tf.cast(real_logits[:, 0], tf.float32), tf.cast(fake_logits[:, 0], tf.float32)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits
        targets = tf.stack([tf.fill(tf.shape(real), 1 - self.label_smoothing), tf.zeros_like(fake)])  # [2, batch]
        return {
            # Not a sum of sums: TensorFlow may add three terms in any order, with different rounding.
            "discriminator_loss": tf.reduce_sum(entropy(targets, tf.stack([real, fake])), axis=0),
            "generator_loss": entropy(tf.ones_like(fake), fake),
            "real_score": tf.sigmoid(real),
            "fake_score": tf.sigmoid(fake),
        }


def _images(batch: Batch) -> tf.Tensor:
    if len(batch) > 2:
        raise TfloopError("task `gan` has no use for `sample_weight`", hint="use a dataset without weights")
    return batch[0]


@tasks.register("gan")
def gan(
    spec: DataSpec, *, label_smoothing: FractionBelowOne = 0.1, sample_rows: Annotated[PositiveInt, OnResume.FREE] = 8
) -> Gan:
    """Trains a generator of images against a discriminator of real and generated images; for models like `dcgan`.

    Args:
        spec: shape of the data: images.
        label_smoothing: the discriminator's target for real images is 1 minus it.
        sample_rows: rows and columns of the grid of samples that is saved after each epoch.
    """
    if len(spec.input_shape) != 3:
        raise TfloopError(f"task `gan` needs images; the inputs of this dataset have shape {spec.input_shape}")
    return Gan(label_smoothing, sample_rows)
