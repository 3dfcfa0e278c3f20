"""What an update does besides Keras' own: a batch in parts, float16's loss scale, the average of the weights."""

from collections.abc import Sequence

import keras
import tensorflow as tf

FIRST_SCALE, RAISED_AFTER = 2.0**15, 2000  # float16's loss scale; doubled after so many good steps in a row

_own = keras.optimizers
# They keep an average or a sum of squared gradients, in which an overflow stays.
SQUARING = (_own.Adam, _own.Nadam, _own.RMSprop, _own.Adagrad, _own.Adadelta, _own.Adafactor, _own.Ftrl, _own.Lamb)


class RunOptimizer:
    """A Keras optimizer as a run needs it.

    Args:
        optimizer: Keras' optimizer, built for `variables`.
        variables: what it trains.
        watch: float []; the loss of every update is added to it, so that its end tells whether all were finite; see
            `guard`.
        ema_decay: of the running average of the weights; None for no average.
        scaled: whether the loss is scaled, as float16 needs: its gradients would vanish or overflow.
        summed: whether a step adds up the gradients of its batch's parts; see `microbatches`.

    Attributes:
        share: while a part of a batch is traced: how much of the batch it is, float64 []; else None.
        averages: of the weights; empty where none are kept.
        scale: the loss scale and the good steps since it changed, float32 [2]; None where the loss is not scaled.
    """

    def __init__(
        self,
        optimizer: keras.Optimizer,
        variables: Sequence[keras.Variable],
        watch: tf.Variable,
        *,
        ema_decay: float | None,
        scaled: bool = False,
        summed: bool = False,
    ) -> None:
        self.keras = optimizer
        self._watch, self._decay = watch, ema_decay
        optimizer.build(variables)
        self._variables = list(variables)
        self.averages = [tf.Variable(v.value, trainable=False) for v in variables] if ema_decay else []
        self.scale = tf.Variable([FIRST_SCALE, 0.0], trainable=False) if scaled else None
        self.share: tf.Tensor | None = None
        # Zero whenever the state is at rest, so no part of it.
        self._sums = [tf.Variable(tf.zeros_like(v.value), trainable=False) for v in variables] if summed else []
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64, trainable=False) if summed else None
        self._learned: list[keras.Variable] = []  # the variables that have a gradient at all
        self._scaled = False  # whether the step that is being traced has asked for the scale

    @property
    def loss_scale(self) -> tf.Tensor | None:
        """What `tape.gradient` takes for the loss's own gradient: the loss scale; None, which is 1, without one."""
        self._scaled = self.scale is not None
        return self.scale[0] if self.scale is not None else None

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], loss: tf.Tensor) -> None:
        """One update: Keras' `optimizer.apply`, and what this class is for.

        Args:
            gradients: of each variable, of its shape; None where it has none.
            variables: float, as the optimizer was built for them.
            loss: float [], whose gradients these are.
        """
        gradients = [_whole(gradient) for gradient in gradients]
        if self._scaled:
            gradients = [None if gradient is None else gradient / self.scale[0] for gradient in gradients]
        if self.share is not None:
            self._add(gradients, variables, loss)
        else:
            self._apply(gradients, variables, loss)

    def apply_sum(self) -> None:
        """One update with what `apply` has kept of a batch's parts."""
        self.share = None
        sums = [self._sum_of(variable) for variable in self._learned]
        self._apply([total.value() for total in sums], self._learned, self._loss_sum.value())
        for total in (*sums, self._loss_sum):
            total.assign(tf.zeros_like(total))

    def _add(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], loss: tf.Tensor) -> None:
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        self._learned = [variable for _, variable in pairs]
        for gradient, variable in pairs:
            self._sum_of(variable).assign_add(gradient * tf.cast(self.share, gradient.dtype))
        self._loss_sum.assign_add(tf.cast(loss, tf.float64) * self.share)

    def _sum_of(self, variable: keras.Variable) -> tf.Variable:
        return next(total for total, own in zip(self._sums, self._variables, strict=True) if own is variable)

    def _apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], loss: tf.Tensor) -> None:
        self._watch.assign_add(tf.cast(loss, self._watch.dtype))
        if not self._scaled:
            if self._hides_an_overflow:
                self._watch.assign_add(tf.cast(tf.linalg.global_norm(gradients), self._watch.dtype))
            self._update(gradients, variables)
            return
        # An overflow is no divergence while there is a smaller scale to try.
        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        last = (self.scale[0] <= 1) | ~tf.math.is_finite(loss)
        tf.cond(finite | last, lambda: self._update(gradients, variables), self._lower)

    @property
    def _hides_an_overflow(self) -> bool:
        """Whether a gradient whose square is too large for its dtype may leave only finite numbers in the state."""
        return not isinstance(self.keras, SQUARING) or self.keras.global_clipnorm is not None

    def _update(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> tf.Operation:
        self.keras.apply(gradients, variables)
        for average, variable in zip(self.averages, self._variables, strict=False):
            average.assign_sub((average - variable.value) * (1 - self._decay))
        if self._scaled:
            raised = self.scale[1] + 1 >= RAISED_AFTER
            self.scale.assign(tf.where(raised, [self.scale[0] * 2, 0.0], self.scale + tf.constant([0.0, 1.0])))
        return tf.no_op()

    def _lower(self) -> tf.Operation:
        self.scale.assign([self.scale[0] / 2, 0.0])
        return tf.no_op()


def _whole(gradient: tf.Tensor | tf.IndexedSlices | None) -> tf.Tensor | None:
    """An embedding's gradient as one number a weight.

    It comes as rows, one for each place of a word in the batch. Keras would square and clip each row for itself, which
    is not the gradient's square or norm where a word stands twice: its Adam and RMSprop come out wrong.
    """
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
