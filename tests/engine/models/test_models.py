"""The built-in models: layers, output shapes, saving, and errors for unsuitable data; defaults of all components."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.encoders import Column
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import REGISTRIES, Component, augmentations, datasets, models, optimizers, schedules, tasks

DIGITS = DataSpec((28, 28, 1), "uint8", (), tuple("0123456789"))
SMALL = DataSpec((8, 8, 3), "uint8", (), ("cat", "dog"))
NUMBERS = DataSpec((8, 8, 3), "float32", (4,))
TEXT = DataSpec((None,), "int32", (), ("good", "bad"), vocabulary=50)
COLUMNS = (Column("age", "number", 0, 1), Column("sex", "flags", 1, 4), Column("town", "id", 4, 5, ids=20))
TABLE = DataSpec((5,), "float32", (), ("no", "yes"), columns=COLUMNS)
IMAGE_CLASSIFIERS = ["linear", "mlp", "conv_net", "resnet", "image_classifier"]


def build(name: str, spec: DataSpec, **arguments):
    return models.build(Component(name, arguments), spec)


def layer_types(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def assert_usage_error(name: str, spec: DataSpec, message: str, **arguments) -> TfloopError:
    with pytest.raises(TfloopError, match=message) as caught:
        build(name, spec, **arguments)
    assert caught.value.code == ExitCode.USAGE
    return caught.value


@pytest.mark.parametrize("name", IMAGE_CLASSIFIERS)
@pytest.mark.parametrize(("spec", "outputs"), [(DIGITS, 10), (SMALL, 2), (NUMBERS, 4)])
def test_model_has_one_logit_per_class_or_one_output_per_number(name: str, spec: DataSpec, outputs: int) -> None:
    keras.utils.set_random_seed(0)
    model = build(name, spec)
    assert model.built
    assert model.input_shape == (None, *spec.input_shape)
    inputs = np.random.default_rng(0).random((5, *spec.input_shape), np.float32) - 0.5
    values = model(inputs, training=False).numpy()
    assert values.shape == (5, outputs)
    assert np.isfinite(values).all()
    assert values.min() < 0  # logits, not probabilities


def test_default_conv_net_is_a_small_cnn() -> None:
    """Conv2D(32, 3, relu), Flatten, Dense: the model of TensorFlow's expert quickstart without its hidden layer."""
    model = build("conv_net", DIGITS)
    assert layer_types(model) == ["Conv2D", "Flatten", "Dense"]
    assert model.layers[0].get_config()["activation"] == "relu"
    assert model.layers[-1].get_config()["activation"] == "linear"
    assert model.count_params() == (3 * 3 + 1) * 32 + (26 * 26 * 32 + 1) * 10 == 216_650


@pytest.mark.parametrize(
    ("side", "filters"),
    [
        (8, [32, 64, 128, 256]),
        (41, [32, 32, 64, 128, 256]),
        (96, [16, 16, 32, 64, 128, 256]),
        (256, [16, 16, 16, 32, 64, 128, 256]),
    ],
)
def test_layers_of_image_classifier_follow_from_the_size(side: int, filters: list[int]) -> None:
    model = build("image_classifier", DataSpec((side, side - 3, 3), "uint8", (), ("a", "b")))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == filters
    strides = [layer.strides[0] for layer in convolutions]
    assert strides == sorted(strides, reverse=True)
    assert 300_000 < model.count_params() < 450_000
    last = convolutions[-1].output.shape
    assert min(last[1:3]) >= 1


def test_conv_net_has_the_configured_layers() -> None:
    model = build(
        "conv_net", DIGITS, filters=[4, 4, 8, 8, 8], kernel_size=5, pool_every=2, batch_norm=True, hidden=[7],
        dropout=0.5,
    )  # fmt: skip
    convolution = ["Conv2D", "BatchNormalization", "ReLU"]
    assert layer_types(model) == [
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
def test_conv_net_of_too_small_images_is_an_error(arguments: dict, fits: bool) -> None:
    if fits:
        assert build("conv_net", SMALL, **arguments).output_shape == (None, 2)
    else:
        assert_usage_error("conv_net", SMALL, "images with a side of 8 pixels are too small", **arguments)


def test_mlp_has_the_configured_layers_and_drops_in_training_only() -> None:
    model = build("mlp", SMALL, hidden=[64, 32], dropout=0.5)
    inputs = np.ones((1, 8, 8, 3), np.float32)
    assert not np.allclose(model(inputs, training=True), model(inputs, training=True))
    np.testing.assert_array_equal(model(inputs, training=False), model(inputs, training=False))
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [64, 32, 2]


def test_activations_of_mlp_exist_in_keras() -> None:
    (parameter,) = (one for one in models.declaration("mlp").parameters if one.name == "activation")
    names = parameter.annotation.__args__
    assert len(names) > 5
    for name in names:
        assert callable(keras.activations.get(name))


@pytest.mark.parametrize(("depth", "parameters"), [(8, 75_290), (20, 269_722)])
def test_resnet_has_as_many_parameters_as_in_the_paper(depth: int, parameters: int) -> None:
    """He et al. 2015, table 6: 0.27 million for 20 layers on 32x32x3, without the 1x1 convolutions of option B."""
    model = build("resnet", DataSpec((32, 32, 3), "uint8", (), DIGITS.class_names), depth=depth)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sum(layer.kernel_size == (3, 3) for layer in convolutions) == depth - 1  # the dense layer is the last one
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    shortcuts = sum(
        int(np.prod(layer.kernel.shape)) + 2 * layer.filters for layer in convolutions if layer.kernel_size == (1, 1)
    )
    assert trainable - shortcuts == parameters


@pytest.mark.parametrize(("depth", "nearest"), [(1, 8), (2, 8), (7, 8), (10, 8), (18, 20), (52, 50), (101, 98)])
def test_unsupported_resnet_depth_suggests_nearest(depth: int, nearest: int) -> None:
    error = assert_usage_error("resnet", SMALL, "must be 6n", depth=depth)
    assert f"did you mean {nearest}?" in str(error)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 16, 3), (4, 4, 2)])
def test_dcgan_generates_and_classifies_images_of_the_input_shape(shape: tuple[int, int, int]) -> None:
    pair = build("dcgan", DataSpec(shape, "uint8", (), ("a",)), latent=5, width=2)
    images = pair["generator"](tf.random.stateless_normal([3, 5], [0, 0]), training=False).numpy()
    assert images.shape == (3, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    assert pair["discriminator"](images, training=False).shape == (3, 1)


@pytest.mark.parametrize("shape", [(30, 28, 1), (28, 30, 1), (7, 7, 3)])
def test_dcgan_of_sides_not_divisible_by_4_is_an_error(shape: tuple[int, int, int]) -> None:
    assert_usage_error("dcgan", DataSpec(shape, "uint8", (), ("a",)), f"the images are {shape[0]}x{shape[1]}")


@pytest.mark.parametrize("name", ["conv_net", "resnet", "dcgan", "vit"])
@pytest.mark.parametrize("shape", [(10,), (28, 28), (4, 28, 28, 1), ()])
def test_image_model_of_other_inputs_is_an_error(name: str, shape: tuple[int, ...]) -> None:
    assert_usage_error(name, DataSpec(shape, "float32", (), ("a",)), f"`{name}` needs images")


@pytest.mark.parametrize("shape", [(10,), (28, 28), (4, 3, 2, 1)])
@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_dense_models_accept_any_input_shape(name: str, shape: tuple[int, ...]) -> None:
    assert build(name, DataSpec(shape, "float32", (), ("a", "b"))).output_shape == (None, 2)


@pytest.mark.parametrize("name", ["linear", "mlp", "conv_net", "resnet", "dcgan", "vit"])
def test_model_of_fixed_input_shape_with_texts_is_an_error(name: str) -> None:
    assert_usage_error(name, TEXT, "needs ")


def test_initial_weights_depend_only_on_the_seed() -> None:
    weights = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        weights.append(np.concatenate([weight.ravel() for weight in build("conv_net", SMALL).get_weights()]))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_text_classifier_graph_has_no_strided_slice_with_a_new_axis() -> None:
    """LiteRT converts ExpandDims, but not a StridedSlice that adds an axis."""
    model = tf.function(build("text_classifier", TEXT))
    operations = model.get_concrete_function(tf.TensorSpec([None, None], tf.int32)).graph.get_operations()
    assert "ExpandDims" in {op.type for op in operations}
    assert not [op.name for op in operations if op.type == "StridedSlice" and op.get_attr("new_axis_mask")]


# All registered components, also those that are added later

SPECS = (DIGITS, NUMBERS, TEXT, TABLE)  # every model and every task supports one of them
# Components that require a file or a folder have their own tests.
REQUIRED_ARGUMENTS = {"piecewise": {"boundaries_steps": [5], "factors": [1.0, 0.5]}}


def supported(registry, name: str) -> list[tuple[DataSpec, object]]:
    """Returns the specs that a model or task supports, and what it builds for each with its default arguments."""
    built = []
    for spec in SPECS:
        with contextlib.suppress(TfloopError):
            built.append((spec, registry.build(Component(name), spec)))
    assert built
    return built


def random_inputs(model: keras.Model) -> np.ndarray:
    """Returns a batch of two: token ids below 50 for integer inputs, else numbers in [0, 1]."""
    shape, random = [length or 5 for length in model.input_shape[1:]], np.random.default_rng(0)
    if model.inputs[0].dtype == "int32":
        return random.integers(50, size=(2, *shape), dtype=np.int32)
    return random.random((2, *shape), np.float32)


@pytest.mark.parametrize("kind", ["datasets", "optimizers", "schedules", "augmentations"])
def test_components_build_with_their_defaults(kind: str) -> None:
    registry, positional = REGISTRIES[kind], (10,) if kind == "schedules" else ()
    required = {one.name for one in registry.declarations() if any(parameter.required for parameter in one.parameters)}
    names = set(registry.names()) - (required - set(REQUIRED_ARGUMENTS)) - {"in_memory"}  # it needs a Python program
    assert names
    for name in names:
        assert registry.build(Component(name, REQUIRED_ARGUMENTS.get(name, {})), *positional) is not None, name


@pytest.mark.parametrize("name", models.names())
def test_model_builds_with_its_defaults_and_has_finite_outputs(name: str) -> None:
    for spec, model in supported(models, name):
        if isinstance(model, keras.Model):
            outputs = model(random_inputs(model), training=False).numpy()
            assert outputs.shape == (2, spec.outputs)
            assert np.isfinite(outputs).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras' own saving
@pytest.mark.parametrize("name", models.names())
def test_saved_and_loaded_model_has_equal_outputs(name: str, tmp_path) -> None:
    _, built = supported(models, name)[0]
    for role, model in (built if isinstance(built, dict) else {name: built}).items():
        model.save(tmp_path / f"{role}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{role}.keras")
        assert layer_types(loaded) == layer_types(model)
        inputs = random_inputs(model)
        np.testing.assert_array_equal(loaded(inputs, training=False), model(inputs, training=False))


@pytest.mark.parametrize("name", tasks.names())
def test_task_builds_with_its_defaults(name: str) -> None:
    for _, task in supported(tasks, name):
        assert task.metrics
        assert task.models
        assert task.monitor is None or task.monitor[0] in task.metrics


def test_registries_contain_the_documented_components() -> None:
    """The tests above are empty if a registry is."""
    assert {"linear", "mlp", "conv_net", "resnet", "vit", "text_classifier", "dcgan"} <= set(models.names())
    assert {"mnist", "synthetic"} <= set(datasets.names())
    assert {"classification", "regression", "gan"} <= set(tasks.names())
    assert {"constant", "cosine", "exponential", "piecewise"} <= set(schedules.names())
    assert {"adam", "adamw", "sgd", "rmsprop", "lion"} <= set(optimizers.names())
    assert {"flip", "shift", "affine"} <= set(augmentations.names())
