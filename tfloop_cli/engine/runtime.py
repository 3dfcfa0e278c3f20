"""The machine: seeds, threads, device and precision, set before anything else touches TensorFlow."""

import os
import re

import keras
import tensorflow as tf

from tfloop_cli import meta
from tfloop_cli.config import Config
from tfloop_cli.engine.kernels import native, prefer_fast_kernels
from tfloop_cli.errors import TfloopError

POLICIES = {"float32": "float32", "float64": "float64", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def setup(config: Config) -> Config:
    """Prepares TensorFlow for the config, and decides what its "auto" means here.

    Returns:
        The config with every decision in it, so that a rerun or a resume decides nothing anew.

    Raises:
        TfloopError: the device, or what else the config asks for, is not there (exit code 2).
    """
    device = choose_device(config.device)
    threads = cores() if config.threads == "auto" else int(config.threads)
    compile_ = config.compile
    if compile_ == "auto":
        compile_ = "xla" if device.startswith("gpu") else "none"  # on CPUs XLA made these models slower
    kernels = choose_kernels(config.kernels, device, compile_)
    precision = choose_precision(device) if config.precision == "auto" else config.precision
    limit_threads(threads)
    if device == "cpu":
        prefer_fast_kernels(xla=compile_ == "xla")
    native.Native.threads = threads if kernels == "native" else 0
    # Left on, sums of three terms and more become one operation that adds them in the order in which they are ready:
    # two runs of one config would end with other bits. It makes nothing faster here (docs/performance.md).
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    keras.config.set_image_data_format("channels_last")  # whatever ~/.keras/keras.json says
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    keras.config.set_dtype_policy(POLICIES[precision])
    keras.utils.set_random_seed(config.seed)
    decided = {"device": device, "threads": threads, "compile": compile_, "kernels": kernels, "precision": precision}
    return config.model_copy(update=decided)


def choose_device(wanted: str) -> str:
    """Makes one device visible and returns its name: "cpu" or "gpu:N".

    Args:
        wanted: "auto" (the first GPU, or else the CPU), "cpu", "gpu" or "gpu:N".
    """
    if wanted == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    gpus = tf.config.list_physical_devices("GPU")
    if wanted == "auto" and not gpus:
        return "cpu"
    number = int(match[1]) if (match := re.fullmatch(r"gpu:(\d+)", wanted)) else 0
    if number >= len(gpus):
        there = ", ".join(["cpu", *(f"gpu:{n}" for n in range(len(gpus)))])
        raise TfloopError(
            f"`device: {wanted}` is not there; this machine has {there}", hint="take one of these, or `auto`"
        )
    tf.config.set_visible_devices(gpus[number], "GPU")
    tf.config.experimental.set_memory_growth(gpus[number], True)
    return f"gpu:{number}"


def choose_precision(device: str) -> str:
    """What `precision: auto` means: bfloat16 where the device has instructions for it, else float32."""
    if device == "cpu":
        return "bfloat16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(meta.cpu()[1]) else "float32"
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[int(device[4:])])
    return "bfloat16" if details.get("compute_capability", (0, 0)) >= (8, 0) else "float32"


def choose_kernels(wanted: str, device: str, compile_: str) -> str:
    """What `kernels` means here: "native" or "tensorflow".

    Raises:
        TfloopError: `native` is wanted, and cannot be had.
    """
    if wanted == "tensorflow":
        return wanted
    if device != "cpu":
        reason = "they are for the CPU"
    else:
        reason = "XLA cannot compile them" if compile_ == "xla" else native.why_not()
    if reason and wanted == "native":
        raise TfloopError(
            f"`kernels: native` cannot be had: {reason}",
            hint="take `--set kernels=tensorflow`, which differs in the last bits",
        )
    return "tensorflow" if reason else "native"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Fixes how many threads compute one operation: the bits of a sum depend on it."""
    if tf.config.threading.get_intra_op_parallelism_threads() == threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:  # TensorFlow has started already, in a process that trains twice
        raise TfloopError(f"`threads: {threads}` cannot be set any more in this process: {error}") from error
