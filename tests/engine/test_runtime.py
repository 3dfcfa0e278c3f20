"""Device, threads, kernels and precision of a run; what `auto` becomes on a machine."""

import os
from collections.abc import Callable
from unittest.mock import Mock

import keras
import pytest
import tensorflow as tf

from tfloop_cli import hardware
from tfloop_cli.config.loading import from_mapping
from tfloop_cli.config.schema import Config
from tfloop_cli.engine import runtime
from tfloop_cli.engine.kernels import KernelSettings, native
from tfloop_cli.errors import ExitCode, TfloopError

CONFIG = {"dataset": "synthetic", "model": "linear"}


@pytest.fixture
def fake_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[tuple]]:
    """Returns a function that gives the machine a number of GPUs; it returns the list of calls that configure them."""

    def make(count: int) -> list[tuple]:
        calls: list[tuple] = []
        gpus = [f"GPU {number}" for number in range(count)]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
        monkeypatch.setattr(tf.config, "set_visible_devices", lambda visible, kind: calls.append(("visible", visible)))
        monkeypatch.setattr(
            tf.config.experimental, "set_memory_growth", lambda gpu, on: calls.append(("growth", gpu, on))
        )
        return calls

    return make


def setup(**changes: object) -> Config:
    return runtime.setup(from_mapping(CONFIG | {"threads": 1} | changes, "a test"))


@pytest.mark.parametrize(
    ("count", "device", "available"),
    [
        (0, "gpu", "cpu"),
        (0, "gpu:0", "cpu"),
        (1, "gpu:1", "cpu, gpu:0"),
        (2, "gpu:7", "cpu, gpu:0, gpu:1"),
    ],
)
def test_missing_device_is_usage_error_with_available_devices(
    fake_gpus, count: int, device: str, available: str
) -> None:
    calls = fake_gpus(count)
    with pytest.raises(TfloopError) as caught:
        runtime.choose_device(device)
    assert caught.value.code == ExitCode.USAGE
    (problem,) = caught.value.problems
    assert problem.message == f"`device: {device}` was not found; available: {available}"
    assert "`auto`" in problem.hint
    assert calls == []


@pytest.mark.parametrize(
    ("count", "device", "expected", "visible"),
    [
        (0, "auto", "cpu", None),
        (0, "cpu", "cpu", []),
        (2, "cpu", "cpu", []),
        (2, "auto", "gpu:0", ["GPU 0"]),
        (2, "gpu", "gpu:0", ["GPU 0"]),
        (12, "gpu:11", "gpu:11", ["GPU 11"]),
    ],
)
def test_chosen_device_is_the_only_visible_one(fake_gpus, count: int, device: str, expected: str, visible) -> None:
    calls = fake_gpus(count)
    assert runtime.choose_device(device) == expected
    assert [call[1] for call in calls if call[0] == "visible"] == ([] if visible is None else [visible])
    assert [call for call in calls if call[0] == "growth"] == ([("growth", *visible, True)] if visible else [])


def test_setup_replaces_auto_once(fake_gpus) -> None:
    fake_gpus(0)
    config = setup(compile="auto")
    assert (config.device, config.threads, config.compile) == ("cpu", 1, "none")
    assert runtime.setup(config) == config


def test_compile_auto_is_none_on_every_device(fake_gpus) -> None:
    """XLA was not measured to be faster, and on GPUs it cannot compile recurrent layers."""
    fake_gpus(1)
    config = setup(compile="auto")
    assert (config.device, config.compile) == ("gpu:0", "none")
    assert setup(compile="xla").compile == "xla"


@pytest.mark.parametrize(
    ("visible", "hint"),
    [(None, "tensorflow[and-cuda]"), ("0", "CUDA_VISIBLE_DEVICES=0"), ("", None), ("-1", None)],
)
def test_gpu_that_tensorflow_does_not_find_is_a_note(
    fake_gpus, monkeypatch, tmp_path, visible: str | None, hint: str | None
) -> None:
    """TensorFlow's package has no CUDA libraries: without the note, the run would silently use the CPU."""
    fake_gpus(0)
    monkeypatch.setattr(hardware, "GPU_FILES", (str(tmp_path),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    notes: list[str] = []
    assert runtime.choose_device("auto", notes.append) == "cpu"
    assert [note.startswith("device: cpu") and hint in note for note in notes] == ([True] if hint else [])
    with pytest.raises(TfloopError) as caught:
        runtime.choose_device("gpu")
    assert (hint or "CUDA_VISIBLE_DEVICES") in caught.value.problems[0].hint


def test_native_kernels_are_used_where_available(fake_gpus, monkeypatch) -> None:
    def decided(**changes: object) -> tuple[str, int]:
        config = setup(**changes)
        return config.kernels, runtime.kernel_settings(config).native_threads

    fake_gpus(0)
    monkeypatch.setattr(native, "unavailable_reason", lambda: None)
    assert decided() == decided(kernels="native") == ("native", 1)
    assert decided(kernels="tensorflow") == ("tensorflow", 0)
    assert decided(compile="xla") == ("tensorflow", 0)
    with pytest.raises(TfloopError, match="`kernels: native` is not available: XLA does not support them"):
        decided(compile="xla", kernels="native")
    monkeypatch.setattr(native, "unavailable_reason", lambda: "not compiled")
    assert decided() == ("tensorflow", 0)
    with pytest.raises(TfloopError, match="`kernels: native` is not available: not compiled") as caught:
        decided(kernels="native")
    assert caught.value.code == ExitCode.USAGE
    fake_gpus(1)
    monkeypatch.setattr(native, "unavailable_reason", lambda: None)
    assert decided() == ("tensorflow", 0)
    with pytest.raises(TfloopError, match="they run on the CPU only"):
        decided(kernels="native")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kernels": "native"}, KernelSettings(enabled=True, native_threads=3)),
        ({"kernels": "tensorflow"}, KernelSettings(enabled=True)),
        ({"kernels": "tensorflow", "compile": "xla"}, KernelSettings(enabled=True, xla=True)),
        ({"kernels": "tensorflow", "device": "gpu:0"}, KernelSettings()),
    ],
)
def test_kernel_settings_of_config(changes: dict, expected: KernelSettings) -> None:
    decided = {"device": "cpu", "threads": 3, "compile": "none"}
    assert runtime.kernel_settings(from_mapping(CONFIG | decided | changes, "a test")) == expected


def test_threads_auto_is_number_of_available_cores(monkeypatch) -> None:
    limits = []
    monkeypatch.setattr(runtime, "limit_threads", lambda threads, exact: limits.append(threads) or threads)
    config = setup(device="cpu", threads="auto")
    assert limits == [config.threads] == [len(os.sched_getaffinity(0))]


def test_more_threads_than_cores_are_limited_with_a_note(monkeypatch) -> None:
    """A hundred thousand would end the process: TensorFlow cannot start them."""
    monkeypatch.setattr(runtime, "limit_threads", lambda threads: threads)
    monkeypatch.setattr("tfloop_cli.hardware.all_cores", lambda: 4)
    notes: list[str] = []
    assert [runtime.choose_threads(number, notes.append) for number in (3, 4, 100_000)] == [3, 4, 4]
    assert notes == ["`threads: 100000` is 4, the number of cores of this machine; results differ in rounding"]


def test_changing_threads_after_start_is_error() -> None:
    """The number of threads affects rounding, so the config's must be the one that is used."""
    tf.constant(1.0)  # starts TensorFlow
    with pytest.raises(TfloopError, match=r"`threads: 5` is impossible: TensorFlow has started .* with 1") as caught:
        runtime.limit_threads(5)
    assert "`threads: 1` or `auto`" in str(caught.value)
    assert runtime.limit_threads(1) == 1


def test_threads_auto_is_what_tensorflow_has_started_with() -> None:
    tf.constant(1.0)
    assert runtime.setup(from_mapping(CONFIG | {"threads": "auto"}, "a test")).threads == 1


@pytest.mark.parametrize(
    ("device", "visible", "allowed"),
    [
        ("auto", [0, 1], True), ("gpu:1", [1], True), ("gpu:1", [0, 1], False), ("cpu", [0], False), ("cpu", [], True),
    ],
)  # fmt: skip
def test_device_after_start_is_the_first_visible_one(
    fake_gpus, monkeypatch, device: str, visible: list[int], allowed: bool
) -> None:
    """As in a notebook that has used TensorFlow before."""
    fake_gpus(2)
    started = Mock(side_effect=RuntimeError("Visible devices cannot be modified after being initialized"))
    monkeypatch.setattr(tf.config, "set_visible_devices", started)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", started)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [f"GPU {number}" for number in visible])
    if allowed:
        assert runtime.choose_device(device) == {"auto": "gpu:0"}.get(device, device)
    else:
        with pytest.raises(TfloopError, match=f"`device: {device}` cannot be chosen any more"):
            runtime.choose_device(device)


@pytest.mark.parametrize(
    ("precision", "policy", "floatx"),
    [("float32", "float32", "float32"), ("float64", "float64", "float64"), ("bfloat16", "mixed_bfloat16", "float32")],
)
def test_precision_sets_policy_and_floatx(configure, precision: str, policy: str, floatx: str) -> None:
    configure(precision=precision)
    assert keras.config.dtype_policy().name == policy
    assert keras.config.floatx() == floatx
    assert keras.layers.Dense(1).compute_dtype == policy.removeprefix("mixed_")


def test_keras_settings_of_user_do_not_affect_run(configure) -> None:
    keras.config.set_image_data_format("channels_first")
    configure()
    assert keras.config.image_data_format() == "channels_last"


def test_random_values_depend_on_seed(configure) -> None:
    def sample(seed: int) -> list[float]:
        configure(seed=seed)
        return keras.random.uniform([3]).numpy().tolist()

    assert sample(1) == sample(1) != sample(2)


def test_keras_backend_is_tensorflow() -> None:
    assert keras.config.backend() == "tensorflow"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([], "float32"), (["avx2", "avx512f"], "float32"), (["avx512_bf16"], "bfloat16"), (["amx_bf16"], "bfloat16")],
)
def test_precision_auto_on_cpu_depends_on_its_instructions(monkeypatch, flags: list[str], expected: str) -> None:
    monkeypatch.setattr("tfloop_cli.hardware.cpu", lambda: ("a CPU", flags))
    assert setup(precision="auto", device="cpu").precision == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_precision_auto_on_gpu_depends_on_its_compute_capability(
    fake_gpus, monkeypatch, capability: tuple[int, int], expected: str
) -> None:
    fake_gpus(2)
    gpus = []
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: gpus.append(gpu) or {"compute_capability": capability},
    )
    assert runtime.choose_precision("gpu:1") == expected
    assert gpus == ["GPU 1"]


def test_given_precision_is_kept() -> None:
    assert setup(precision="float32").precision == "float32"
