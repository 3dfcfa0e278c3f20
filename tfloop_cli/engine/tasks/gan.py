"""Two models that train against each other: it looks more complicated, and is fundamentally the same method."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks.task import Batch, Values
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import PositiveInt, Rate
from tfloop_cli.registry import tasks


@dataclass(frozen=True)
class Gan:
    """The game of Goodfellow et al. 2014 (arXiv:1406.2661), with the generator's non-saturating loss.

    Attributes:
        smoothing: how far below 1 the discriminator's target for real images lies (one-sided label smoothing).
        rows: the grid of samples has rows x rows images.
    """

    smoothing: float
    rows: int

    models = ("generator", "discriminator")
    metrics = ("discriminator_loss", "generator_loss", "real_score", "fake_score")
    monitor = None
    whole_batches = True  # all parts of a batch would start from the same noise

    def train_step(self, state: TrainState, batch: Batch) -> Values:
        images, _ = batch
        generator, discriminator = state.models["generator"], state.models["discriminator"]
        noise = self.noise(state, images, state.step)
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fakes = generator(noise, training=True)
            real_logits = discriminator(images, training=True)  # [batch, 1]
            fake_logits = discriminator(fakes, training=True)  # [batch, 1]
            values = self.measure(real_logits, fake_logits)
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

    def eval_step(self, state: TrainState, batch: Batch) -> Values:
        images, _ = batch
        noise = self.noise(state, images, tf.bitcast(tf.reduce_sum(tf.cast(images, tf.float32)), tf.int32))
        fakes = state.models["generator"](noise, training=False)
        discriminator = state.models["discriminator"]
        return self.measure(discriminator(images, training=False), discriminator(fakes, training=False))

    def predict(self, state: TrainState, inputs: tf.Tensor) -> None:
        return None

    def samples(self, state: TrainState) -> np.ndarray:
        """The same noise after every epoch, so that one can watch the generator learn."""
        latent = state.models["generator"].input_shape[-1]
        noise = tf.random.stateless_normal([self.rows**2, latent], seed=[state.seed, -1])
        return state.models["generator"](noise, training=False).numpy()

    def noise(self, state: TrainState, images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """What the generator starts from, one row an image: float [batch, latent].

        Args:
            number: tells this batch from others: the step in training, the pixels' sum in an evaluation. With the run's
                seed it decides the noise, so that a step that is done again sees the same.
        """
        latent = state.models["generator"].input_shape[-1]
        seed = tf.stack([state.seed, tf.cast(number, tf.int32)])
        return tf.random.stateless_normal([tf.shape(images)[0], latent], seed)

    def measure(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> Values:
        """Losses and scores of each pair of a real and a made image, each float [batch]."""
        real, fake = tf.cast(real_logits[:, 0], tf.float32), tf.cast(fake_logits[:, 0], tf.float32)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits
        targets = tf.stack([tf.fill(tf.shape(real), 1 - self.smoothing), tf.zeros_like(fake)])  # [2, batch]
        return {
            # No sum of sums: TensorFlow adds up three numbers in the order in which they are ready, to other bits.
            "discriminator_loss": tf.reduce_sum(entropy(targets, tf.stack([real, fake])), axis=0),
            "generator_loss": entropy(tf.ones_like(fake), fake),
            "real_score": tf.sigmoid(real),
            "fake_score": tf.sigmoid(fake),
        }


@tasks.register("gan")
def gan(spec: DataSpec, *, label_smoothing: Rate = 0.1, sample_rows: PositiveInt = 8) -> Gan:
    """A generator learns to make images that a discriminator takes for real ones; for models like `dcgan`.

    Args:
        spec: shape of the data: images.
        label_smoothing: how far below 1 the target for real images lies.
        sample_rows: the grid of samples drawn after each epoch has so many rows and columns.
    """
    if len(spec.input_shape) != 3:
        raise TfloopError(f"task `gan` needs images; this dataset's inputs have shape {spec.input_shape}")
    return Gan(label_smoothing, sample_rows)
