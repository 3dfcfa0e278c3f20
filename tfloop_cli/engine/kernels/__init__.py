"""Where there is a faster way on a CPU than the one that TensorFlow or Keras takes: the same numbers within rounding.

docs/performance.md says what each of them gave.
"""

from tfloop_cli.engine.kernels.batch_norm import prefer_fused_batch_norm
from tfloop_cli.engine.kernels.biases import prefer_fast_bias_gradient
from tfloop_cli.engine.kernels.convolutions import prefer_native_convolutions
from tfloop_cli.engine.kernels.dense import prefer_fast_dense
from tfloop_cli.engine.kernels.transformers import prefer_fast_transformers
from tfloop_cli.engine.kernels.words import WordMean


def prefer_fast_kernels(xla: bool) -> None:
    """Takes them in every graph of this process that is traced from now on.

    Args:
        xla: whether XLA is going to compile the graphs; it cannot compile all of them.
    """
    prefer_fast_bias_gradient()
    prefer_fast_dense()
    prefer_native_convolutions()
    prefer_fused_batch_norm()
    prefer_fast_transformers()
    WordMean.sparsely = not xla
