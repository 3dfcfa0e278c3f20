"""Prepares TensorFlow before anything else uses it: seeds, threads, device, precision."""

import os
import re
from collections.abc import Callable
from contextlib import suppress

import keras
import tensorflow as tf

from tfloop_cli import hardware
from tfloop_cli.config.schema import Config
from tfloop_cli.engine.kernels import KernelSettings, native
from tfloop_cli.errors import TfloopError

POLICIES = {"float32": "float32", "float64": "float64", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def setup(config: Config, note: Callable[[str], None] = lambda text: None) -> Config:
    """Prepares TensorFlow for the config, and replaces every "auto" by its value on this machine.

    TensorFlow may have started in this process, as in a notebook: then its device and threads cannot change.

    Args:
        config: the validated config.
        note: prints a line if the config asks for more threads than the machine has cores, or if TensorFlow does not
            find the GPU of this machine.

    Returns:
        The config with all decisions, so that a rerun or a resume makes the same ones.

    Raises:
        TfloopError: the device, or anything else in the config, is not available (exit code 2).
    """
    device = choose_device(config.device, note)
    threads = choose_threads(config.threads, note)
    # On CPUs, XLA is slower for the built-in models. On GPUs it is not measured, it compiles again for each length of
    # text, and it cannot compile Keras' LSTM and GRU, which use cuDNN there.
    compile_ = "none" if config.compile == "auto" else config.compile
    kernels = choose_kernels(config.kernels, device, compile_)
    precision = choose_precision(device) if config.precision == "auto" else config.precision
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


def choose_device(requested: str, note: Callable[[str], None] = lambda text: None) -> str:
    """Makes one device visible and returns its name: "cpu" or "gpu:N".

    Args:
        requested: "auto" (the first GPU, else the CPU), "cpu", "gpu" or "gpu:N".
        note: prints a line if "auto" is the CPU although the machine has a GPU.
    """
    if requested == "cpu":
        _show_gpus([], requested)
        return "cpu"
    gpus = tf.config.list_physical_devices("GPU")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = None if gpus else hardware.missing_gpu_hint(hidden)
    if requested == "auto" and not gpus:
        if hint and hidden not in ("", "-1"):  # which somebody sets in order to use the CPU
            note(f"device: cpu, since TensorFlow does not find the GPU of this machine; {hint}")
        return "cpu"
    number = int(match[1]) if (match := re.fullmatch(r"gpu:(\d+)", requested)) else 0
    if number >= len(gpus):
        available = ", ".join(["cpu", *(f"gpu:{n}" for n in range(len(gpus)))])
        raise TfloopError(
            f"`device: {requested}` was not found; available: {available}", hint=hint or "use one of these, or `auto`"
        )
    _show_gpus([gpus[number]], requested)
    with suppress(RuntimeError):  # TensorFlow has started and has reserved the memory
        tf.config.experimental.set_memory_growth(gpus[number], True)
    return f"gpu:{number}"


def _show_gpus(gpus: list[tf.config.PhysicalDevice], requested: str) -> None:
    """Makes no other GPU visible; if TensorFlow has started, the first visible one must be the right one."""
    try:
        tf.config.set_visible_devices(gpus, "GPU")
    except RuntimeError as error:
        if tf.config.get_visible_devices("GPU")[:1] != gpus[:1]:
            raise TfloopError(
                f"`device: {requested}` cannot be chosen any more: TensorFlow has started in this process with "
                "another device",
                hint="use a new process, or `device: auto`",
            ) from error


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


def choose_threads(requested: int | str, note: Callable[[str], None]) -> int:
    """Sets and returns the number of threads per operation.

    Args:
        requested: "auto" (the number of available cores, or what TensorFlow uses if it has started), or a number.
        note: prints a line if the machine has fewer cores; then each of them has one thread.
    """
    if isinstance(requested, str):
        return limit_threads(hardware.cores(), exact=False)
    cores = hardware.all_cores()
    if requested > cores:
        note(f"`threads: {requested}` is {cores}, the number of cores of this machine; results differ in rounding")
    return limit_threads(min(requested, cores))


def limit_threads(threads: int, exact: bool = True) -> int:
    """Sets the number of threads per operation, which affects the rounding of sums; returns the number in use.

    Args:
        threads: the number to set.
        exact: whether another number, with which TensorFlow has started in this process, is an error.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        running = tf.config.threading.get_intra_op_parallelism_threads() or hardware.cores()
        if exact and running != threads:
            raise TfloopError(
                f"`threads: {threads}` is impossible: TensorFlow has started in this process with {running}",
                hint=f"use a new process, or `threads: {running}` or `auto`",
            ) from error
        return running
    return threads
