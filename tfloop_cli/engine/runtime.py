"""Prepares TensorFlow before anything else uses it: seeds, threads, device, precision."""

import re

import keras
import tensorflow as tf

from tfloop_cli import hardware
from tfloop_cli.config.schema import Config
from tfloop_cli.engine.kernels import KernelSettings, native
from tfloop_cli.errors import TfloopError

POLICIES = {"float32": "float32", "float64": "float64", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def setup(config: Config) -> Config:
    """Prepares TensorFlow for the config, and replaces every "auto" by its value on this machine.

    Returns:
        The config with all decisions, so that a rerun or a resume makes the same ones.

    Raises:
        TfloopError: the device, or anything else in the config, is not available (exit code 2).
    """
    device = choose_device(config.device)
    threads = hardware.cores() if config.threads == "auto" else int(config.threads)
    compile_ = config.compile
    if compile_ == "auto":
        compile_ = "xla" if device.startswith("gpu") else "none"  # on CPUs, XLA is slower for the built-in models
    kernels = choose_kernels(config.kernels, device, compile_)
    precision = choose_precision(device) if config.precision == "auto" else config.precision
    limit_threads(threads)
    # Otherwise sums of three and more terms become one operation that adds them in the order in which they are ready,
    # so that two runs of one config differ in rounding. It has no measurable speedup (docs/optimization-notes.md).
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    keras.config.set_image_data_format("channels_last")  # whatever is set in ~/.keras/keras.json
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    keras.config.set_dtype_policy(POLICIES[precision])
    keras.utils.set_random_seed(config.seed)
    decided = {"device": device, "threads": threads, "compile": compile_, "kernels": kernels, "precision": precision}
    return config.model_copy(update=decided)


def kernel_settings(config: Config) -> KernelSettings:
    """Returns the faster implementations that a config uses, after `setup`."""
    return KernelSettings(
        enabled=config.device == "cpu",
        native_threads=int(config.threads) if config.kernels == "native" else 0,
        xla=config.compile == "xla",
    )


def choose_device(requested: str) -> str:
    """Makes one device visible and returns its name: "cpu" or "gpu:N".

    Args:
        requested: "auto" (the first GPU, else the CPU), "cpu", "gpu" or "gpu:N".
    """
    if requested == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    gpus = tf.config.list_physical_devices("GPU")
    if requested == "auto" and not gpus:
        return "cpu"
    number = int(match[1]) if (match := re.fullmatch(r"gpu:(\d+)", requested)) else 0
    if number >= len(gpus):
        available = ", ".join(["cpu", *(f"gpu:{n}" for n in range(len(gpus)))])
        raise TfloopError(
            f"`device: {requested}` was not found; available: {available}", hint="use one of these, or `auto`"
        )
    tf.config.set_visible_devices(gpus[number], "GPU")
    tf.config.experimental.set_memory_growth(gpus[number], True)
    return f"gpu:{number}"


def choose_precision(device: str) -> str:
    """Returns the value of `precision: auto`: bfloat16 if the device has instructions for it, else float32."""
    if device == "cpu":
        return "bfloat16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(hardware.cpu()[1]) else "float32"
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[int(device[4:])])
    return "bfloat16" if details.get("compute_capability", (0, 0)) >= (8, 0) else "float32"


def choose_kernels(requested: str, device: str, compile_: str) -> str:
    """Returns the value of `kernels` on this machine: "native" or "tensorflow".

    Raises:
        TfloopError: `native` is requested and not available.
    """
    if requested == "tensorflow":
        return requested
    if device != "cpu":
        reason = "they run on the CPU only"
    else:
        reason = "XLA does not support them" if compile_ == "xla" else native.unavailable_reason()
    if reason and requested == "native":
        raise TfloopError(
            f"`kernels: native` is not available: {reason}",
            hint="use `--set kernels=tensorflow`, with different rounding",
        )
    return "tensorflow" if reason else "native"


def limit_threads(threads: int) -> None:
    """Sets the number of threads per operation, which affects the rounding of sums."""
    if tf.config.threading.get_intra_op_parallelism_threads() == threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:  # TensorFlow has started: the process trains a second time
        raise TfloopError(f"`threads: {threads}` cannot be changed any more in this process: {error}") from error
