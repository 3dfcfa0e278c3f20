"""The models by name: each builds, puts out what its data asks for, and says so where it cannot."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import REGISTRIES, Component, augmentations, datasets, models, optimizers, schedules, tasks

DIGITS = DataSpec((28, 28, 1), "uint8", (), tuple("0123456789"))
SMALL = DataSpec((8, 8, 3), "uint8", (), ("cat", "dog"))
NUMBERS = DataSpec((8, 8, 3), "float32", (4,))
TEXT = DataSpec((None,), "int32", (), ("good", "bad"), vocabulary=50)
IMAGE_CLASSIFIERS = ["linear", "mlp", "conv_net", "resnet"]


def build(name: str, spec: DataSpec, **arguments):
    return models.build(Component(name, arguments), spec)


@pytest.mark.parametrize("name", IMAGE_CLASSIFIERS)
@pytest.mark.parametrize(("spec", "outputs"), [(DIGITS, 10), (SMALL, 2), (NUMBERS, 4)])
def test_a_model_puts_out_a_number_for_each_class_or_target(name: str, spec: DataSpec, outputs: int) -> None:
    model = build(name, spec)
    assert model.built
    assert model.input_shape == (None, *spec.input_shape)
    got = model(np.random.default_rng(0).random((5, *spec.input_shape), np.float32) - 0.5, training=False).numpy()
    assert got.shape == (5, outputs)
    assert np.isfinite(got).all()
    assert got.min() < 0  # logits, not probabilities


def test_the_default_conv_net_is_the_tutorials() -> None:
    """Conv2D(32, 3, relu), Flatten, Dense: tensorflow.org's quickstart for experts, without its hidden layer."""
    model = build("conv_net", DIGITS)
    assert [type(layer).__name__ for layer in model.layers] == ["Conv2D", "Flatten", "Dense"]
    assert model.layers[0].get_config()["activation"] == "relu"
    assert model.layers[-1].get_config()["activation"] == "linear"
    assert model.count_params() == (3 * 3 + 1) * 32 + (26 * 26 * 32 + 1) * 10 == 216_650


def test_conv_nets_layers() -> None:
    model = build(
        "conv_net",
        DIGITS,
        filters=[4, 4, 8, 8, 8],
        kernel_size=5,
        pool_every=2,
        batch_norm=True,
        hidden=[7],
        dropout=0.5,
    )
    convolution = ["Conv2D", "BatchNormalization", "ReLU"]
    assert [type(layer).__name__ for layer in model.layers] == [
        *convolution, *convolution, "MaxPooling2D", *convolution, *convolution, "MaxPooling2D", *convolution,
        "Flatten", "Dropout", "Dense", "Dropout", "Dense",
    ]  # fmt: skip
    assert model.get_layer(index=14).output.shape == (None, 7, 7, 8)


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ({"filters": [2] * 3}, True),
        ({"filters": [2] * 4}, False),
        ({"filters": [2], "kernel_size": 8}, True),
        ({"filters": [2], "kernel_size": 9}, False),
        ({"filters": [2] * 3, "pool_every": 1}, True),
        ({"filters": [2] * 4, "pool_every": 1}, False),
        ({"filters": [2] * 7, "pool_every": 2}, True),
        ({"filters": [2] * 8, "pool_every": 2}, False),
        ({"filters": []}, True),
    ],
)
def test_conv_net_says_when_an_image_is_too_small(arguments: dict, fits: bool) -> None:
    if fits:
        assert build("conv_net", SMALL, **arguments).output_shape == (None, 2)
        return
    with pytest.raises(TfloopError, match="side of 8 pixels") as caught:
        build("conv_net", SMALL, **arguments)
    assert caught.value.code == ExitCode.USAGE


def test_mlp_drops_in_training_only() -> None:
    model = build("mlp", SMALL, hidden=[64, 32], dropout=0.5)
    inputs = np.ones((1, 8, 8, 3), np.float32)
    assert not np.allclose(model(inputs, training=True), model(inputs, training=True))
    np.testing.assert_array_equal(model(inputs, training=False), model(inputs, training=False))
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [64, 32, 2]


def test_every_activation_that_mlp_names_is_known_to_keras() -> None:
    allowed = next(one for one in models.declaration("mlp").parameters if one.name == "activation")
    names = allowed.annotation.__args__
    assert len(names) > 5
    for name in names:
        assert callable(keras.activations.get(name))


@pytest.mark.parametrize(("depth", "parameters"), [(8, 75_290), (20, 269_722)])
def test_resnet_has_the_papers_size(depth: int, parameters: int) -> None:
    """He et al. 2015, table 6: 0.27 million for 20 layers on 32x32x3, without the 1x1 convolutions of option B."""
    model = build("resnet", DataSpec((32, 32, 3), "uint8", (), DIGITS.class_names), depth=depth)
    main = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)]
    assert len(main) == depth - 1  # and the dense layer
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    shortcuts = sum(
        int(np.prod(layer.kernel.shape)) + 2 * layer.filters
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1)
    )
    assert trainable - shortcuts == parameters


@pytest.mark.parametrize(("depth", "near"), [(1, 8), (2, 8), (7, 8), (10, 8), (18, 20), (52, 50), (101, 98)])
def test_resnet_says_which_depths_there_are(depth: int, near: int) -> None:
    with pytest.raises(TfloopError, match="must be 6n") as caught:
        build("resnet", SMALL, depth=depth)
    assert f"did you mean {near}?" in str(caught.value)
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 16, 3), (4, 4, 2)])
def test_dcgan_makes_and_judges_images_of_the_datas_shape(shape: tuple[int, int, int]) -> None:
    pair = build("dcgan", DataSpec(shape, "uint8", (), ("a",)), latent=5, width=2)
    images = pair["generator"](tf.random.stateless_normal([3, 5], [0, 0]), training=False).numpy()
    assert images.shape == (3, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    assert pair["discriminator"](images, training=False).shape == (3, 1)


@pytest.mark.parametrize("shape", [(30, 28, 1), (28, 30, 1), (7, 7, 3)])
def test_dcgan_needs_sides_that_it_can_halve_twice(shape: tuple[int, int, int]) -> None:
    with pytest.raises(TfloopError, match=f"these are {shape[0]}x{shape[1]}") as caught:
        build("dcgan", DataSpec(shape, "uint8", (), ("a",)))
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["conv_net", "resnet", "dcgan"])
@pytest.mark.parametrize("shape", [(10,), (28, 28), (4, 28, 28, 1), ()])
def test_image_models_need_images(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(TfloopError, match="needs images") as caught:
        build(name, DataSpec(shape, "float32", (), ("a",)))
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("shape", [(10,), (28, 28), (4, 3, 2, 1)])
@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_other_models_take_any_shape(name: str, shape: tuple[int, ...]) -> None:
    assert build(name, DataSpec(shape, "float32", (), ("a", "b"))).output_shape == (None, 2)


@pytest.mark.parametrize("name", ["linear", "mlp", "conv_net", "resnet", "dcgan"])
def test_models_of_one_size_refuse_texts(name: str) -> None:
    with pytest.raises(TfloopError, match="needs ") as caught:
        build(name, TEXT)
    assert caught.value.code == ExitCode.USAGE


def test_the_same_seed_makes_the_same_weights() -> None:
    built = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        built.append(np.concatenate([weight.ravel() for weight in build("conv_net", SMALL).get_weights()]))
    np.testing.assert_array_equal(built[0], built[1])
    assert not np.array_equal(built[0], built[2])


# Every component that is registered, also those that do not exist yet

SPECS = (DIGITS, NUMBERS, TEXT)  # one of them suits any model and any task
REQUIRED_CPU_FLAGS = {"piecewise": {"boundaries_steps": [5], "factors": [1.0, 0.5]}}


def by_default(kind: str) -> list[str]:
    """Names of all that need no argument; those that need a file or a folder have tests of their own."""
    return [one.name for one in REGISTRIES[kind].declarations() if not any(p.required for p in one.parameters)]


@pytest.mark.parametrize("kind", ["datasets", "optimizers", "schedules", "augmentations"])
def test_every_components_defaults_build(kind: str) -> None:
    names = by_default(kind)
    assert names
    for name in names:
        given = (10,) if kind == "schedules" else ()
        assert REGISTRIES[kind].build(Component(name, REQUIRED_CPU_FLAGS.get(name, {})), *given) is not None, name


@pytest.mark.parametrize("name", models.names())
def test_every_models_defaults_build_and_compute(name: str) -> None:
    built = []
    for spec in SPECS:
        with contextlib.suppress(TfloopError):  # it says that it wants other data
            built.append((spec, models.build(Component(name), spec)))
    assert built
    for spec, model in built:
        if isinstance(model, keras.Model):
            inputs = np.ones([2, *(side or 5 for side in spec.input_shape)], "int32" if spec.vocabulary else "float32")
            got = model(inputs, training=False).numpy()
            assert got.shape == (2, spec.outputs)
            assert np.isfinite(got).all()


@pytest.mark.parametrize("name", tasks.names())
def test_every_tasks_defaults_build(name: str) -> None:
    built = []
    for spec in SPECS:
        with contextlib.suppress(TfloopError):
            built.append(tasks.build(Component(name), spec))
    assert built
    for task in built:
        assert task.metrics
        assert task.models
        assert task.monitor is None or task.monitor[0] in task.metrics


def test_the_registries_hold_what_was_promised() -> None:
    """So that the tests above have walked over something."""
    assert {"linear", "mlp", "conv_net", "resnet", "dcgan"} <= set(models.names())
    assert {"mnist", "synthetic"} <= set(datasets.names())
    assert {"classification", "regression", "gan"} <= set(tasks.names())
    assert {"constant", "cosine", "exponential", "piecewise"} <= set(schedules.names())
    assert {"adam", "adamw", "sgd", "rmsprop", "lion"} <= set(optimizers.names())
    assert {"flip", "shift", "affine"} <= set(augmentations.names())
