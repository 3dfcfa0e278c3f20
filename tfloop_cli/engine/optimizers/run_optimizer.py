"""The optimizer of a run: Keras' own with gradient accumulation, the loss scale of float16, and EMA of the weights."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.errors import ExitCode, TfloopError

INITIAL_LOSS_SCALE = 2.0**15  # for float16
LOSS_SCALE_GROWTH_STEPS = 2000  # finite steps in a row after which the loss scale doubles

_keras = keras.optimizers
# Their state contains averages or sums of squared gradients, in which an overflow stays visible.
SQUARING_OPTIMIZERS = (
    _keras.Adam, _keras.Nadam, _keras.RMSprop, _keras.Adagrad, _keras.Adadelta, _keras.Adafactor, _keras.Ftrl,
    _keras.Lamb,
)  # fmt: skip


Gradient = tf.Tensor | tf.IndexedSlices | None


class RunOptimizer:
    """A wrapper around a Keras optimizer that adds gradient accumulation, the loss scale of float16, and EMA weights.

    Args:
        optimizer: the Keras optimizer; it is built for `variables`.
        variables: the variables to train.
        loss_sum: float64 []; the loss of every update is added to it, so that one check finds all.
        norm_sum: float64 []; the same for the norm of the gradients, or NaN instead of it, if the optimizer may hide
            gradients that are not finite.
        ema_decay: decay of the EMA of the weights after its warm-up, see `_update_ema`; None for no EMA.
        use_loss_scale: whether to scale the loss, for float16: its gradients could vanish or overflow.
        accumulate: whether a step averages the gradients of micro-batches, weighted by their number of examples, so the
            gradient equals that of the whole batch within rounding; see `gradient_accumulation`.

    Attributes:
        inner: the Keras optimizer.
        fraction: the micro-batch's fraction of the batch, float64 [], set while a micro-batch is traced; else None.
        ema: the EMA weights; empty without EMA.
        scale: the loss scale and the finite steps since it changed, float32 [2]; None without a loss scale.
    """

    def __init__(
        self,
        optimizer: keras.Optimizer,
        variables: Sequence[keras.Variable],
        loss_sum: tf.Variable,
        norm_sum: tf.Variable,
        *,
        ema_decay: float | None,
        use_loss_scale: bool = False,
        accumulate: bool = False,
    ) -> None:
        self.inner = optimizer
        self._loss_sum, self._norm_sum, self._ema_decay = loss_sum, norm_sum, ema_decay
        optimizer.build(variables)
        self._variables = list(variables)
        # In half precision, sums of small numbers stand still.
        self.ema = [tf.Variable(_at_least_float32(v.value), trainable=False) for v in variables] if ema_decay else []
        self.scale = tf.Variable([INITIAL_LOSS_SCALE, 0.0], trainable=False) if use_loss_scale else None
        self.fraction: tf.Tensor | None = None
        self._gradient_sums = (
            [tf.Variable(_at_least_float32(tf.zeros_like(v.value)), trainable=False) for v in variables]
            if accumulate
            else []
        )
        self._accumulated_loss = tf.Variable(0.0, dtype=tf.float64, trainable=False) if accumulate else None
        self._with_gradient: list[keras.Variable] = []
        self._scaled = False  # whether the step that is being traced uses the loss scale

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables of a checkpoint by name, without the EMA: `learning_rate`, `0000` and so on, `scale`.

        The numbers do not depend on the config: only a constant learning rate has a variable.
        """
        rate = self.inner._learning_rate
        settings = {"learning_rate": rate.value} if isinstance(rate, keras.Variable) else {}
        numbered = [variable.value for variable in self.inner.variables if variable is not rate]
        scale = {"scale": self.scale} if self.scale is not None else {}
        return settings | {f"{index:04d}": variable for index, variable in enumerate(numbered)} | scale

    def restart_ema(self) -> None:
        """Makes the EMA weights equal to the weights, as at the start of a run."""
        for average, variable in zip(self.ema, self._variables, strict=False):
            average.assign(tf.cast(variable.value, average.dtype))

    @property
    def has_norm(self) -> bool:
        """Whether an update computes the norm of all gradients: clipping by a norm, and Muon, divide by it."""
        inner = self.inner
        return isinstance(inner, _keras.Muon) or inner.clipnorm is not None or inner.global_clipnorm is not None

    @property
    def temporary(self) -> list[tf.Variable]:
        """Variables that are zero between two steps, so they are not part of the training state."""
        return [*self._gradient_sums, *([] if self._accumulated_loss is None else [self._accumulated_loss])]

    @property
    def loss_scale(self) -> tf.Tensor | None:
        """The `output_gradients` argument of `tape.gradient`: the loss scale, float32 []; None without one.

        Reading it makes `apply` divide the gradients by it.
        """
        self._scaled = self.scale is not None
        return self.scale[0] if self.scale is not None else None

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[keras.Variable], loss: tf.Tensor) -> None:
        """Unscales the gradients, applies one Keras update, and updates EMA and loss scale.

        Within micro-batches, it only accumulates. On a float16 overflow, it skips the update and halves the scale.

        Args:
            gradients: one per variable, of its shape; None where the loss does not depend on the variable.
            variables: those the optimizer was built for.
            loss: float [], the loss that the gradients belong to.

        Raises:
            TfloopError: the loss is not a scalar (exit code 7).
        """
        if loss.shape.rank:
            raise TfloopError(
                f"the loss that `apply` receives has shape {loss.shape.as_list()}, and it must be a scalar",
                hint="write `loss = tf.reduce_mean(loss)` before the gradients are computed",
                code=ExitCode.USER_CODE,
            )
        gradients = [_dense(gradient) for gradient in gradients]
        if self._scaled:
            gradients = [None if g is None else _at_least_float32(g) for g in gradients]
            gradients = [None if g is None else g / tf.cast(self.scale[0], g.dtype) for g in gradients]
        if self.fraction is not None:
            self._accumulate(gradients, variables, loss)
        else:
            self._apply(gradients, variables, loss)

    def apply_accumulated(self) -> None:
        """Applies one update with the gradients that `apply` has accumulated."""
        self.fraction = None
        sums = [self._sum_of(variable) for variable in self._with_gradient]
        gradients = [tf.cast(s.value(), v.dtype) for s, v in zip(sums, self._with_gradient, strict=True)]
        self._apply(gradients, self._with_gradient, self._accumulated_loss.value())
        for total in (*sums, self._accumulated_loss):
            total.assign(tf.zeros_like(total))

    def _accumulate(
        self, gradients: Sequence[tf.Tensor | None], variables: Sequence[keras.Variable], loss: tf.Tensor
    ) -> None:
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        self._with_gradient = [variable for _, variable in pairs]
        for gradient, variable in pairs:
            gradient = _at_least_float32(gradient)
            self._sum_of(variable).assign_add(gradient * tf.cast(self.fraction, gradient.dtype))
        self._accumulated_loss.assign_add(tf.cast(loss, tf.float64) * self.fraction)

    def _sum_of(self, variable: keras.Variable) -> tf.Variable:
        return next(total for total, own in zip(self._gradient_sums, self._variables, strict=True) if own is variable)

    def _apply(
        self, gradients: Sequence[tf.Tensor | None], variables: Sequence[keras.Variable], loss: tf.Tensor
    ) -> None:
        self._loss_sum.assign_add(tf.cast(loss, self._loss_sum.dtype))
        if not self._scaled:
            self._update(gradients, variables)
            return
        # An overflow is not a divergence as long as a smaller scale can be tried.
        no_smaller_scale = (self.scale[0] <= 1) | ~tf.math.is_finite(loss)
        tf.cond(
            _all_finite(gradients) | no_smaller_scale, lambda: self._update(gradients, variables), self._lower_scale
        )

    def _add_norm(self, gradients: Sequence[tf.Tensor | None]) -> None:
        """Adds a number that is not finite to `norm_sum` if the updated state may not show a fault of the gradients.

        Clipping by a norm, and Muon, divide by it: with a norm that overflows, all gradients become 0. Clipping by
        value, and the sign of a gradient, hide an infinite gradient. A large finite one is no fault.
        """
        inner = self.inner
        if self.has_norm:
            norm = tf.linalg.global_norm(_with_one_dtype(gradients))
        elif inner.clipvalue is None and isinstance(inner, SQUARING_OPTIMIZERS):
            return
        else:
            norm = tf.where(_all_finite(gradients), 0.0, np.nan)
        self._norm_sum.assign_add(tf.cast(norm, self._norm_sum.dtype))

    def _update(self, gradients: Sequence[tf.Tensor | None], variables: Sequence[keras.Variable]) -> tf.Operation:
        self._add_norm(gradients)
        if self.inner.global_clipnorm is not None:
            gradients = _with_one_dtype(gradients)  # Keras adds their norms; its update casts each gradient
        self.inner.apply(gradients, variables)
        if self.ema:
            self._update_ema()
        if self._scaled:
            raised = self.scale[1] + 1 >= LOSS_SCALE_GROWTH_STEPS
            self.scale.assign(tf.where(raised, [self.scale[0] * 2, 0.0], self.scale + tf.constant([0.0, 1.0])))
        return tf.no_op()

    def _update_ema(self) -> None:
        """Moves the EMA towards the new weights. Update k, counted from 0, uses min(ema_decay, (1 + k) / (10 + k)).

        This is the warm-up of TensorFlow's tf.train.ExponentialMovingAverage with `num_updates`. Without it, the EMA of
        a run of fewer than 1 / (1 - decay) updates consists mostly of the initial weights.
        """
        update = tf.cast(self.inner.iterations, tf.float64) - 1
        share = tf.maximum(9 / (10 + update), 1 - self._ema_decay)  # of the new weights: 1 - decay
        for average, variable in zip(self.ema, self._variables, strict=True):
            average.assign_sub((average - tf.cast(variable.value, average.dtype)) * tf.cast(share, average.dtype))

    def _lower_scale(self) -> tf.Operation:
        self.scale.assign([self.scale[0] / 2, 0.0])
        return tf.no_op()


def _dense(gradient: Gradient) -> tf.Tensor | None:
    """Converts tf.IndexedSlices (embedding gradients, one row per token in the batch) to a dense tensor.

    Keras would square and clip each row separately, which is wrong for a token that occurs twice.
    """
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def _at_least_float32(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32) if tensor.dtype.size < 4 else tensor


def _with_one_dtype(gradients: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Returns gradients of several dtypes as the widest of them, and at least float32; others unchanged."""
    dtypes = {gradient.dtype for gradient in gradients if gradient is not None}
    if len(dtypes) < 2:
        return list(gradients)
    widest = max((tf.float32, *dtypes), key=lambda dtype: dtype.size)
    return [None if gradient is None else tf.cast(gradient, widest) for gradient in gradients]


def _all_finite(gradients: Sequence[tf.Tensor | None]) -> tf.Tensor:
    """Whether all gradients are finite, bool []. Their norm may overflow although they are."""
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients if gradient is not None])
