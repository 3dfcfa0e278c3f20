"""Searches for convolutions whose gradients corrupt memory: random shapes, each in a process of its own.

    python benchmarks/convolution_faults.py [--seconds 30] [--seed 0] [--kernels tensorflow] [--any]

By default the replacements of tfloop are active, and no process may crash: the exit code is 1 if one does.
`--kernels tensorflow` shows the faults of TensorFlow. Most cases have strides above the kernel size, where the known
fault is; `--any` draws all kernels and strides alike. Transposed, depthwise, separable and 1-D and 3-D convolutions
are drawn too. glibc checks the heap at each allocation if its debug library is installed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HEAP_CHECKS = {"LD_PRELOAD": "libc_malloc_debug.so.0", "GLIBC_TUNABLES": "glibc.malloc.check=3"}
LAYERS = ("Conv2D", "Conv2D", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D", "Conv1D", "Conv3D")
CHANNELS = (1, 3, 4, 7, 8, 9, 16, 17, 24, 32)


@dataclass(frozen=True)
class Case:
    """A convolution.

    Attributes:
        layer: the name of the Keras layer.
        dtype: of inputs and weights.
        shape: batch, height, width and channels of the inputs.
        filters: output channels.
        kernel: height and width.
        strides: vertical and horizontal.
        padding: "same" or "valid".
    """

    layer: str
    dtype: str
    shape: tuple[int, int, int, int]
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: str


def draw(generator: random.Random, *, any_stride: bool) -> Case:
    """Returns a random case, with strides above the kernel size unless `any_stride`."""
    one = generator.choice
    kernel = one([(1, 1)] * 4 + [(1, 2), (2, 1), (2, 2), (3, 3)])
    strides = (
        (one([1, 2, 3]), one([1, 2, 3])) if any_stride else (kernel[0] + one([1, 1, 2]), kernel[1] + one([0, 1, 1, 2]))
    )
    shape = (one([1, 2, 3, 8, 9, 16, 33]), generator.randint(4, 30), generator.randint(4, 30), one(CHANNELS))
    dtype = one(["float32", "float32", "bfloat16", "float16", "float64"])
    return Case(one(LAYERS), dtype, shape, one(CHANNELS), kernel, strides, one(["same", "valid"]))


def build(case: Case) -> tuple[Any, tuple[int, ...]]:
    """Returns the layer of a case and the shape of its inputs."""
    import keras

    (batch, height, width, channels), kernel, strides = case.shape, case.kernel, case.strides
    options: dict[str, Any] = {"padding": case.padding, "dtype": case.dtype, "data_format": "channels_last"}
    make = getattr(keras.layers, case.layer)
    if case.layer == "Conv1D":
        return make(case.filters, kernel[1], strides=strides[1], **options), (batch, width, channels)
    if case.layer == "Conv3D":
        layer = make(case.filters, (*kernel, kernel[0]), strides=(*strides, strides[0]), **options)
        return layer, (min(batch, 3), height, width, 5, channels)
    if case.layer in ("DepthwiseConv2D", "SeparableConv2D"):  # one stride for both directions
        strides = (max(strides),) * 2
    filters = () if case.layer == "DepthwiseConv2D" else (case.filters,)
    return make(*filters, kernel, strides=strides, **options), (batch, height, width, channels)


def differentiate(case: Case, *, replaced: bool, times: int = 4) -> None:
    """Computes the gradients of a case in this process, which may crash."""
    import tensorflow as tf

    from tfloop_cli.engine.kernels import KernelSettings, fast_kernels

    layer, shape = build(case)
    layer.build(shape)

    @tf.function(autograph=False)
    def gradients(inputs: tf.Tensor) -> list[tf.Tensor]:
        with fast_kernels(KernelSettings(enabled=replaced)):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs)
            return tape.gradient(outputs, [inputs, *layer.trainable_weights])

    inputs = tf.cast(tf.random.normal(shape), case.dtype)
    for _ in range(times):
        gradients(inputs)


def crash(case: Case, *, replaced: bool) -> str | None:
    """Computes a case in a child process; returns the name of the signal that ended it, or None.

    TensorFlow must be imported and unused in this process: a process with TensorFlow's threads cannot be forked.
    """
    child = os.fork()
    if not child:
        sys.stdout.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # glibc's message
        try:
            differentiate(case, replaced=replaced)
        except Exception as error:  # e.g. no kernel for this dtype
            os.write(1, f"refused: {type(error).__name__}: {case}\n".encode())
            os._exit(2)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else None


def search(seconds: float, seed: int, *, replaced: bool, any_stride: bool) -> Counter:
    """Draws and computes cases for some seconds; prints each crash, and returns the number of cases and crashes."""
    import keras  # noqa: F401  # before the forks, which are fast then
    import tensorflow  # noqa: F401

    import tfloop_cli.engine.kernels  # noqa: F401

    generator, end, counts = random.Random(seed), time.monotonic() + seconds, Counter()
    while time.monotonic() < end:
        case = draw(generator, any_stride=any_stride)
        counts["cases"] += 1
        if name := crash(case, replaced=replaced):
            counts["crashes"] += 1
            print(f"{name}: {case}", flush=True)
    return counts


def main() -> int:
    """Prints the crashes; returns 1 if there is one with the replacements of tfloop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernels", choices=["tfloop", "tensorflow"], default="tfloop")
    parser.add_argument("--any", action="store_true", help="all kernels and strides alike")
    options = parser.parse_args()
    if "LD_PRELOAD" not in os.environ and list(Path("/usr/lib").glob("**/libc_malloc_debug.so.0")):
        return subprocess.call([sys.executable, *sys.argv], env=os.environ | HEAP_CHECKS)
    replaced = options.kernels == "tfloop"
    counts = search(options.seconds, options.seed, replaced=replaced, any_stride=options.any)
    print(f"{counts['cases']} convolutions, {counts['crashes']} crashes with the kernels of {options.kernels}")
    return int(replaced and counts["crashes"] > 0)


if __name__ == "__main__":
    sys.exit(main())
