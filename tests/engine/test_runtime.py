"""The machine: devices that are not there, and what `auto` becomes."""

import os

import keras
import pytest
import tensorflow as tf

from tfloop_cli.config.loading import from_mapping
from tfloop_cli.engine import runtime
from tfloop_cli.engine.kernels import native
from tfloop_cli.errors import ExitCode, TfloopError

CONFIG = {"dataset": "synthetic", "model": "linear"}


@pytest.fixture
def machine_with(monkeypatch):
    """Pretends that the machine has so many GPUs; returns the calls that would have set them up."""

    def make(gpus: int) -> list[tuple]:
        calls: list[tuple] = []
        devices = [f"GPU {number}" for number in range(gpus)]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: devices)
        monkeypatch.setattr(tf.config, "set_visible_devices", lambda shown, kind: calls.append(("visible", shown)))
        monkeypatch.setattr(
            tf.config.experimental, "set_memory_growth", lambda gpu, on: calls.append(("growth", gpu, on))
        )
        return calls

    return make


@pytest.mark.parametrize(
    ("gpus", "wanted", "there"),
    [
        (0, "gpu", "has cpu"),
        (0, "gpu:0", "has cpu"),
        (1, "gpu:1", "has cpu, gpu:0"),
        (2, "gpu:7", "has cpu, gpu:0, gpu:1"),
    ],
)
def test_an_absent_device_is_a_usage_error_that_names_what_is_there(
    machine_with, gpus: int, wanted: str, there: str
) -> None:
    calls = machine_with(gpus)
    with pytest.raises(TfloopError) as caught:
        runtime.choose_device(wanted)
    assert caught.value.code == ExitCode.USAGE
    assert f"`device: {wanted}` is not there; this machine {there}" in str(caught.value)
    assert "`auto`" in str(caught.value)
    assert calls == []


@pytest.mark.parametrize(
    ("gpus", "wanted", "got", "visible"),
    [
        (0, "auto", "cpu", None),
        (0, "cpu", "cpu", []),
        (2, "cpu", "cpu", []),
        (2, "auto", "gpu:0", "GPU 0"),
        (2, "gpu", "gpu:0", "GPU 0"),
        (12, "gpu:11", "gpu:11", "GPU 11"),
    ],
)
def test_the_device_is_chosen_and_the_others_are_hidden(
    machine_with, gpus: int, wanted: str, got: str, visible
) -> None:
    calls = machine_with(gpus)
    assert runtime.choose_device(wanted) == got
    shown = [call[1] for call in calls if call[0] == "visible"]
    assert shown == ([] if visible is None else [visible])
    assert [call for call in calls if call[0] == "growth"] == ([("growth", visible, True)] if visible else [])


def test_every_auto_is_decided_and_frozen(machine_with) -> None:
    machine_with(0)
    config = runtime.setup(from_mapping(CONFIG | {"threads": 1, "compile": "auto"}, "a test"))
    assert (config.device, config.threads, config.compile) == ("cpu", 1, "none")
    assert runtime.setup(config) == config  # a rerun decides nothing anew


def test_auto_compiles_on_a_gpu_only(machine_with) -> None:
    machine_with(1)
    config = runtime.setup(from_mapping(CONFIG | {"threads": 1, "compile": "auto"}, "a test"))
    assert (config.device, config.compile) == ("gpu:0", "xla")
    assert runtime.setup(from_mapping(CONFIG | {"threads": 1, "compile": "none"}, "a test")).compile == "none"


def test_kernels_of_our_own_are_taken_where_they_are_there(machine_with, monkeypatch) -> None:
    machine_with(0)

    def decided(**changes: object) -> tuple[str, int]:
        config = runtime.setup(from_mapping(CONFIG | {"threads": 1} | changes, "a test"))
        return config.kernels, runtime.kernel_settings(config).native_threads

    monkeypatch.setattr(native, "unavailable_reason", lambda: None)
    assert decided() == decided(kernels="native") == ("native", 1)
    assert decided(kernels="tensorflow") == ("tensorflow", 0)
    assert decided(compile="xla") == ("tensorflow", 0)
    with pytest.raises(TfloopError, match="`kernels: native` is not available: XLA does not support them"):
        decided(compile="xla", kernels="native")
    monkeypatch.setattr(native, "unavailable_reason", lambda: "nobody built them")
    assert decided() == ("tensorflow", 0)
    with pytest.raises(TfloopError, match="`kernels: native` is not available: nobody built them") as error:
        decided(kernels="native")
    assert error.value.code == ExitCode.USAGE
    machine_with(1)
    monkeypatch.setattr(native, "unavailable_reason", lambda: None)
    assert decided() == ("tensorflow", 0)
    with pytest.raises(TfloopError, match="they are for the CPU"):
        decided(kernels="native")


def test_auto_threads_are_the_cores_that_this_process_may_use(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(runtime, "limit_threads", seen.append)
    config = runtime.setup(from_mapping(CONFIG | {"device": "cpu"}, "a test"))
    assert seen == [config.threads] == [len(os.sched_getaffinity(0))]


def test_threads_cannot_be_changed_behind_the_runs_back() -> None:
    """They decide the bits: better an error than other bits than the config promises."""
    tf.constant(1.0)  # TensorFlow has started
    with pytest.raises(TfloopError, match="`threads: 5` cannot be set any more"):
        runtime.limit_threads(5)
    runtime.limit_threads(1)


@pytest.mark.parametrize(
    ("precision", "policy", "floatx"),
    [("float32", "float32", "float32"), ("float64", "float64", "float64"), ("bfloat16", "mixed_bfloat16", "float32")],
)
def test_precision(configure, precision: str, policy: str, floatx: str) -> None:
    configure(precision=precision)
    assert keras.config.dtype_policy().name == policy
    assert keras.config.floatx() == floatx
    assert keras.layers.Dense(1).compute_dtype == policy.removeprefix("mixed_")


def test_the_users_own_keras_settings_do_not_reach_a_run(configure) -> None:
    keras.config.set_image_data_format("channels_first")
    configure()
    assert keras.config.image_data_format() == "channels_last"


def test_the_seed_decides_the_first_weights(configure) -> None:
    def first(seed: int) -> list[float]:
        configure(seed=seed)
        return keras.random.uniform([3]).numpy().tolist()

    assert first(1) == first(1) != first(2)


def test_keras_runs_on_tensorflow() -> None:
    assert keras.config.backend() == "tensorflow"


@pytest.mark.parametrize(
    ("flags", "means"),
    [([], "float32"), (["avx2", "avx512f"], "float32"), (["avx512_bf16"], "bfloat16"), (["amx_bf16"], "bfloat16")],
)
def test_precision_auto_is_what_the_cpu_multiplies_by_itself(monkeypatch, flags: list[str], means: str) -> None:
    monkeypatch.setattr(runtime.meta, "cpu", lambda: ("a CPU", flags))
    assert (
        runtime.setup(from_mapping(CONFIG | {"precision": "auto", "device": "cpu", "threads": 1}, "t")).precision
        == means
    )


@pytest.mark.parametrize(("capability", "means"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_precision_auto_on_a_gpu_goes_by_its_generation(
    machine_with, monkeypatch, capability: tuple[int, int], means: str
) -> None:
    machine_with(2)
    asked = []
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: asked.append(gpu) or {"compute_capability": capability},
    )
    assert runtime.choose_precision("gpu:1") == means
    assert asked == ["GPU 1"]


def test_what_is_not_auto_stays() -> None:
    assert runtime.setup(from_mapping(CONFIG | {"precision": "float32", "threads": 1}, "a test")).precision == "float32"
