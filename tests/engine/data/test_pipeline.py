"""Deterministic, index-based batches: epochs, validation split, precision, augmentation and batch iterators."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Data, Dataset, from_arrays
from tfloop_cli.engine.data.batch_iterators import InMemoryBatches
from tfloop_cli.engine.data.splits import epoch_order
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, augmentations

COUNT = 60


def numbered(**splits: int) -> Dataset:
    """Returns a dataset in which the target of each example is its index, and the input that index and half of it."""

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(count, dtype=np.float32)
        return np.stack([numbers, numbers / 2], axis=1), numbers

    return from_arrays({name: split(count) for name, count in splits.items()})


@pytest.fixture
def make_data(configure):
    def make(dataset: Dataset | None = None, **changes) -> Data:
        dataset = numbered(train=COUNT) if dataset is None else dataset
        return Data(dataset, configure(**({} if "test" in dataset.splits else {"test": 0}) | changes))

    return make


def targets(batches: tf.data.Dataset) -> list[list[int]]:
    return [batch.numpy().astype(int).tolist() for _, batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def assert_aligned(inputs: tf.Tensor, labels: tf.Tensor) -> None:
    """Asserts that the inputs of a numbered dataset belong to the targets."""
    np.testing.assert_array_equal(inputs[:, 0], labels)
    np.testing.assert_array_equal(inputs[:, 1], labels / 2)


# Order


@pytest.mark.parametrize("examples", [1, 2, 60, 1000])
def test_epoch_order_is_a_permutation(examples: int) -> None:
    assert sorted(epoch_order(3, 4, examples)) == list(range(examples))


def test_epoch_order_differs_between_seeds_and_epochs() -> None:
    orders = {tuple(epoch_order(seed, epoch, 50)) for seed in (0, 1, 2**31 - 1) for epoch in range(3)}
    assert len(orders) == 9


def test_epoch_order_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert epoch_order(0, 0, 10).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert epoch_order(7, 2, 10).tolist() == [6, 7, 8, 4, 0, 1, 5, 3, 9, 2]


@pytest.mark.parametrize("size", [1, 7, 16, 60, 100])
def test_each_epoch_contains_every_training_example_once(make_data, size: int) -> None:
    data = make_data(batch_size=size)
    steps = data.steps_per_epoch
    assert steps == -(-COUNT // size)
    batches = targets(data.batches(0, 3 * steps))
    assert [len(batch) for batch in batches] == 3 * ([size] * (COUNT // size) + [COUNT % size] * (COUNT % size > 0))
    epochs = [flat(batches[first : first + steps]) for first in range(0, 3 * steps, steps)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(COUNT))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_batches_keep_inputs_and_targets_aligned(make_data) -> None:
    for inputs, labels in make_data().batches(0, 4):
        assert_aligned(inputs, labels)


def test_batch_depends_only_on_seed_and_step(make_data) -> None:
    data = make_data(batch_size=7, seed=5)
    expected = targets(data.batches(0, 27))
    for first, last in [(0, 1), (1, 9), (8, 9), (9, 18), (12, 27), (26, 27), (9, 9), (27, 27)]:
        assert targets(data.batches(first, last)) == expected[first:last], (first, last)
    assert targets(make_data(batch_size=7, seed=5).batches(0, 27)) == expected
    assert targets(make_data(batch_size=7, seed=6).batches(0, 27)) != expected


def test_examples_of_returns_the_indices_of_a_batch(make_data) -> None:
    data = make_data(batch_size=7, validation=10)
    for step, batch in enumerate(targets(data.batches(0, 18))):
        assert data.examples_of(step).tolist() == batch


def test_drop_remainder_drops_the_smaller_last_batch_of_each_epoch(make_data) -> None:
    data = make_data(batch_size=16, drop_remainder=True)
    assert data.steps_per_epoch == 3
    batches = targets(data.batches(0, 6))
    assert [len(batch) for batch in batches] == [16] * 6
    for epoch in (batches[:3], batches[3:]):
        assert len(set(flat(epoch))) == 48
    assert targets(data.batches(4, 6)) == batches[4:]


def test_drop_remainder_drops_nothing_without_a_remainder(make_data) -> None:
    assert make_data(batch_size=20, drop_remainder=True).steps_per_epoch == 3


def test_drop_remainder_that_drops_all_batches_is_an_error(make_data) -> None:
    with pytest.raises(TfloopError, match="`drop_remainder` drops every batch") as caught:
        make_data(batch_size=61, drop_remainder=True)
    assert caught.value.code == ExitCode.USAGE


# Validation split


def validation_split(data: Data) -> list[int]:
    return flat(targets(data.evaluation("validation")))


@pytest.mark.parametrize(
    ("validation", "count"), [("auto", 6), (0, 0), (1, 1), (17, 17), (59, 59), (0.25, 15), (0.9, 54)]
)
def test_validation_holds_out_the_configured_number_of_examples(make_data, validation, count: int) -> None:
    data = make_data(validation=validation)
    assert data.examples("validation") == count
    assert data.examples("train") == COUNT - count
    assert ("validation" in data.splits) == (count > 0)
    trained = flat(targets(data.batches(0, data.steps_per_epoch)))
    assert sorted([*trained, *(validation_split(data) if count else [])]) == list(range(COUNT))


@pytest.mark.parametrize("validation", [60, 61, 0.999])
def test_validation_that_holds_out_all_examples_is_an_error(make_data, validation) -> None:
    with pytest.raises(TfloopError, match="holds out") as caught:
        make_data(validation=validation)
    assert caught.value.code == ExitCode.USAGE


def test_validation_split_does_not_depend_on_the_seed(make_data) -> None:
    first, second = make_data(validation=17, seed=0), make_data(validation=17, seed=1)
    assert validation_split(first) == validation_split(second)
    assert validation_split(first) == sorted(validation_split(first)) != list(range(17))
    assert targets(first.batches(0, 3)) != targets(second.batches(0, 3))


@pytest.mark.parametrize(("validation", "train", "count"), [("auto", 60, 9), (0, 60, 0), (5, 55, 5), (0.1, 54, 6)])
def test_validation_split_of_the_dataset_is_used_with_auto_only(make_data, validation, train: int, count: int) -> None:
    data = make_data(numbered(train=COUNT, validation=9, test=4), validation=validation)
    assert (data.examples("train"), data.examples("validation"), data.examples("test")) == (train, count, 4)


def test_dataset_without_training_split_is_an_error(make_data) -> None:
    with pytest.raises(TfloopError, match="no split `train`, only test") as caught:
        make_data(numbered(test=4))
    assert caught.value.code == ExitCode.DATA


# Evaluation


@pytest.mark.parametrize("size", [1, 16, 23, 60])
def test_evaluation_yields_every_example_once_in_order(make_data, size: int) -> None:
    data = make_data(numbered(train=COUNT, test=23), batch_size=size, drop_remainder=True)
    batches = targets(data.evaluation("test"))
    assert flat(batches) == list(range(23))
    assert {len(batch) for batch in batches[:-1]} <= {size}


def test_unknown_split_error_lists_the_splits(make_data) -> None:
    with pytest.raises(TfloopError, match="no split `tset`") as caught:
        make_data(numbered(train=COUNT, test=23), validation=3).evaluation("tset")
    assert caught.value.code == ExitCode.USAGE
    assert "test, train, validation" in str(caught.value)


# Precision

PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 4, 4, 1)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", "float32"), ("float64", "float64"), ("bfloat16", "float32")]
)
def test_uint8_pixels_are_scaled_to_0_to_1(make_data, precision: str, dtype: str) -> None:
    data = make_data(from_arrays({"train": (PIXELS, np.zeros(16, np.int32))}), precision=precision)
    (images, _), *_ = data.evaluation("train")
    assert images.dtype == dtype
    numbers = images.numpy().ravel()
    assert (numbers[0], numbers[-1]) == (0, 1)
    np.testing.assert_allclose(numbers, np.arange(256, dtype=dtype) / 255, rtol=np.finfo(dtype).eps)


def test_pixels_from_memory_and_pipeline_are_bitwise_equal(make_data) -> None:
    """In the training graph, TensorFlow replaces a division by a constant by a product; in a pipeline it does not."""
    data = make_data(from_arrays({"train": (PIXELS, np.zeros(16, np.int32))}), batch_size=16)
    iterator = data.batch_iterator(0, 1)
    iterator.set_epoch(0)
    from_memory = tf.function(lambda: next(iterator.batches)[0])()
    from_pipeline, _ = next(iter(data.batches(0, 1)))
    np.testing.assert_array_equal(from_memory.numpy(), from_pipeline.numpy())


@pytest.mark.parametrize("scale", ["auto", True, False])
@pytest.mark.parametrize("shape", [(16,), (4, 4), (4, 4, 1), (8, 8)])
def test_uint8_is_divided_by_255_where_it_is_an_image(make_data, shape: tuple, scale: object) -> None:
    """Token ids must not become 0."""
    values = np.arange(16 * int(np.prod(shape)), dtype=np.uint8).reshape(16, *shape)
    data = make_data(from_arrays({"train": (values, np.zeros(16, np.int32))}), batch_size=16, scale_uint8=scale)
    (inputs, _), *_ = data.evaluation("train")
    image = shape in ((4, 4, 1), (8, 8))
    scaled = image if scale == "auto" else scale
    expected = values.astype(np.float32) * np.float32(1 / 255) if scaled else values
    np.testing.assert_array_equal(inputs.numpy(), expected)
    assert inputs.dtype == (tf.float32 if scaled or image else tf.int32)


def test_booleans_reach_the_model_as_floats(make_data) -> None:
    data = make_data(from_arrays({"train": (np.ones((16, 3), bool), np.zeros(16, np.int32))}), batch_size=16)
    (inputs, _), *_ = data.evaluation("train")
    assert inputs.dtype == tf.float32


@pytest.mark.parametrize(
    ("input_dtype", "precision", "batch_dtype"),
    [("float64", "float32", "float32"), ("float16", "float64", "float64"), ("int32", "float32", "int32")],
)
def test_other_inputs_are_cast_to_the_precision_unscaled(
    make_data, input_dtype: str, precision: str, batch_dtype: str
) -> None:
    inputs = np.array([[-3], [0], [1000]], input_dtype)
    data = make_data(from_arrays({"train": (inputs, np.zeros(3, "float64"))}), precision=precision)
    (batch, labels), *_ = data.evaluation("train")
    assert batch.dtype == batch_dtype
    assert batch.numpy().ravel().tolist() == [-3, 0, 1000]
    assert labels.dtype == ("float64" if precision == "float64" else "float32")


# Augmentation

IMAGES = np.random.default_rng(0).random((50, 9, 7, 2), np.float32)
SEED = [3, 4]


def augmented(name: str, images: np.ndarray = IMAGES, seed: list[int] = SEED, **arguments) -> np.ndarray:
    return augmentations.build(Component(name, arguments))(tf.constant(images), seed).numpy()


@pytest.mark.parametrize("name", augmentations.names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_augmentation_preserves_shape_dtype_and_range(name: str, dtype: str) -> None:
    images = augmented(name, IMAGES.astype(dtype))
    assert images.shape == IMAGES.shape
    assert images.dtype == dtype
    assert images.min() >= 0
    assert images.max() <= 1
    assert 0.2 < np.mean(images) < 0.6  # the images are not blank


@pytest.mark.parametrize("name", augmentations.names())
def test_augmentation_depends_on_its_seed_and_differs_between_examples(name: str) -> None:
    np.testing.assert_array_equal(augmented(name), augmented(name))
    assert not np.array_equal(augmented(name), augmented(name, seed=[3, 5]))
    assert not np.array_equal(augmented(name), augmented(name, seed=[4, 4]))
    copies = augmented(name, np.repeat(IMAGES[:1], 50, axis=0))
    assert len({image.tobytes() for image in copies}) > 1


@pytest.mark.parametrize(
    ("name", "arguments"), [("shift", {"pixels": 0}), ("affine", {"degrees": 0.0, "zoom": 0.0, "shift": 0.0})]
)
def test_augmentation_of_strength_0_is_the_identity(name: str, arguments: dict) -> None:
    np.testing.assert_allclose(augmented(name, **arguments), IMAGES, atol=1e-6)


def test_flip_mirrors_about_half_of_the_images() -> None:
    flipped = 0
    for before, after in zip(IMAGES, augmented("flip"), strict=True):
        mirrored = np.array_equal(after, before[:, ::-1])
        assert mirrored or np.array_equal(after, before)
        flipped += mirrored
    assert 15 < flipped < 35


def test_shift_translates_by_whole_pixels_with_zero_fill() -> None:
    offsets = set()
    for before, after in zip(IMAGES, augmented("shift", pixels=2), strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(after, padded[2 - down : 11 - down, 2 - right : 9 - right])
        ]
        assert len(matches) == 1
        offsets.update(matches)
    assert len(offsets) > 15  # of 25
    assert {-2, 2} <= {down for down, _ in offsets} & {right for _, right in offsets}


def test_affine_rotates_around_the_center() -> None:
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 4], image[0, 4, 8] = 1.0, 0.5
    for rotated in augmented("affine", np.repeat(image, 20, axis=0), degrees=40.0, zoom=0.0, shift=0.0):
        assert rotated[4, 4, 0] == pytest.approx(1.0, abs=1e-5)
    assert not np.allclose(augmented("affine", image, degrees=40.0, zoom=0.0, shift=0.0), image, atol=0.01)


def test_affine_leaves_images_as_they_are_with_a_probability() -> None:
    images = np.repeat(IMAGES[:1], 200, axis=0)
    arguments = {"degrees": 40.0, "fill": "nearest"}
    unchanged = [
        np.allclose(one, images[0], atol=1e-6) for one in augmented("affine", images, probability=0.25, **arguments)
    ]
    assert 130 < sum(unchanged) < 170
    always, usual = (augmented("affine", images, **arguments, **more) for more in ({"probability": 1.0}, {}))
    np.testing.assert_array_equal(always, usual)
    changed = augmented("affine", images, probability=0.25, **arguments)[np.logical_not(unchanged)]
    np.testing.assert_array_equal(changed, always[np.logical_not(unchanged)])  # changed as all would be


def test_fill_of_affine_is_the_nearest_border() -> None:
    image = np.full((20, 8, 8, 3), 0.5, np.float32)
    arguments = {"degrees": 30.0, "zoom": 0.3, "shift": 0.3}
    assert augmented("affine", image, **arguments).min() == 0
    for fill in ("nearest", "reflect"):
        np.testing.assert_allclose(augmented("affine", image, fill=fill, **arguments), 0.5, atol=1e-6)


KERAS_LAYERS = {
    "RandAugment": {},
    "RandomColorJitter": {"brightness_factor": 0.3, "contrast_factor": 0.2},
    "RandomRotation": {"factor": 0.1},
    "RandomGaussianBlur": {},
    "RandomCrop": {"height": 5, "width": 6},
}


@pytest.mark.parametrize("layer", KERAS_LAYERS)
def test_keras_layer_is_a_function_of_seed_and_step(layer: str) -> None:
    """In a second pipeline that begins later, and with other numbers for each step; Keras' layers alone are not."""
    images = np.random.default_rng(1).random((4, 8, 8, 3), np.float32)

    def steps(first: int, last: int) -> list[np.ndarray]:
        augment = augmentations.build(Component("keras", {"layer": layer, "arguments": KERAS_LAYERS[layer]}))
        numbers = tf.data.Dataset.range(first, last)
        batches = numbers.map(lambda step: augment(images, [7, tf.cast(step, tf.int32)]), num_parallel_calls=2)
        return list(batches.as_numpy_iterator())

    whole = steps(0, 4)
    np.testing.assert_array_equal(whole[2:], steps(2, 4))
    assert not np.array_equal(whole[0], whole[1])
    assert 0 <= np.min(whole) <= np.max(whole) <= 1


MIXING = {"name": "keras", "layer": "MixUp", "arguments": {"alpha": 1.0}}


@pytest.mark.parametrize("layer", ["MixUp", "CutMix"])
def test_mixed_examples_have_the_mixed_targets_of_their_step(make_data, layer: str) -> None:
    """Each image has one value, so that its mean shows how much of each class it has."""
    images = np.repeat([0.0, 1.0], 24).astype(np.float32)[:, None, None, None] * np.ones((8, 8, 1), np.float32)
    for labels in (np.repeat([0, 1], 24), np.repeat([0, 1], 24).astype(np.float32)):
        dataset = from_arrays({"train": (images, labels)})
        data = make_data(dataset, batch_size=20, augment=[{"name": "keras", "layer": layer}])
        batches = [(x.numpy(), y.numpy()) for x, y in data.batches(0, 6)]
        assert [len(x) for x, _ in batches] == [20, 20, 8] * 2
        for (x, y), (again, _) in zip(batches[3:], data.batches(3, 6), strict=True):
            np.testing.assert_array_equal(x, again.numpy())
            ones = y[:, 1] if labels.dtype.kind == "i" else y
            if layer == "MixUp":
                np.testing.assert_allclose(ones, x.mean(axis=(1, 2, 3)), atol=1e-5)
            else:  # Keras' rectangles may end beyond the image, and are whole pixels
                assert np.corrcoef(ones, x.mean(axis=(1, 2, 3)))[0, 1] > 0.9
        assert np.ptp(np.concatenate([x.mean(axis=(1, 2, 3)) for x, _ in batches])) > 0.1
        (_, targets), *_ = data.evaluation("train")
        assert targets.shape == (20,)


def test_training_on_mixed_examples_minimizes_their_cross_entropy(trainer) -> None:
    dataset = from_arrays({"train": (IMAGES, np.arange(50) % 3)})
    run = trainer(dataset, batch_size=16, augment=[MIXING])
    inputs, targets = next(iter(run.data.batches(0, 1)))
    logits = run.state.model(inputs, training=True)
    values = run.task.train_step(run.state, (inputs, targets))
    expected = -np.sum(targets * tf.nn.log_softmax(logits), axis=1)
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-5)
    np.testing.assert_array_equal(values["accuracy"], np.argmax(logits, 1) == np.argmax(targets, 1))
    assert np.max(targets, axis=1).min() < 0.9


def test_targets_that_cannot_be_mixed_are_an_error(make_data) -> None:
    dataset = from_arrays({"train": (IMAGES, np.eye(2, dtype=np.float32)[np.arange(50) % 2])})
    with pytest.raises(TfloopError, match="the targets cannot be mixed"):
        make_data(dataset, augment=[MIXING])


@pytest.mark.parametrize(
    ("arguments", "message"), [({"facto": 1}, "RandomContrast: .*facto"), ({"seed": 1}, "`seed` cannot be set")]
)
def test_wrong_argument_of_keras_layer_is_an_error(arguments: dict, message: str) -> None:
    with pytest.raises(TfloopError, match=message):
        augmentations.build(Component("keras", {"layer": "RandomContrast", "arguments": arguments}))


def test_name_of_keras_layer_is_explained() -> None:
    for name in ("RandAugment", "mix_up"):
        with pytest.raises(TfloopError, match=r"\{name: keras, layer: (RandAugment|MixUp)\}"):
            augmentations.declaration(name)


AUGMENT = [{"name": "flip"}, {"name": "shift", "pixels": 1}, {"name": "affine"}]


@pytest.fixture
def make_images_data(make_data):
    dataset = from_arrays({"train": (IMAGES, np.arange(50, dtype=np.float32))})
    return lambda **changes: make_data(dataset, batch_size=16, **changes)


def test_augmented_batch_depends_only_on_seed_and_step(make_images_data) -> None:
    def images(data: Data, first_step: int = 0) -> list[np.ndarray]:
        return [batch.numpy() for batch, _ in data.batches(first_step, 8)]

    first, again = images(make_images_data(augment=AUGMENT)), images(make_images_data(augment=AUGMENT))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(first[3:], images(make_images_data(augment=AUGMENT), 3), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(first, images(make_images_data()), strict=True):
        assert one.shape == other.shape
        assert not np.allclose(one, other)


def test_augmentation_of_an_example_differs_between_epochs(make_images_data) -> None:
    data = make_images_data(augment=["affine"])
    epochs = [{}, {}]
    for step, (batch, numbers) in enumerate(data.batches(0, 8)):
        epochs[step // 4] |= dict(zip(numbers.numpy().tolist(), batch.numpy(), strict=True))
    assert all(not np.array_equal(epochs[0][number], epochs[1][number]) for number in range(50))


def test_largest_seed_augments_differently_from_another_seed(make_images_data) -> None:
    first, second = (
        next(iter(make_images_data(augment=["affine"], seed=seed).batches(0, 1)))[0] for seed in (2**31 - 1, 2**31 - 2)
    )
    assert not np.allclose(first, second)


def test_evaluation_does_not_augment(make_images_data) -> None:
    (batch, _), *_ = make_images_data(augment=AUGMENT).evaluation("train")
    np.testing.assert_array_equal(batch, IMAGES[:16])


def test_augmentation_of_other_inputs_than_images_is_an_error(make_data) -> None:
    with pytest.raises(TfloopError, match="`augment` needs images") as caught:
        make_data(augment=["flip"])
    assert caught.value.code == ExitCode.USAGE


# Batch iterators of the training loop


def iterator_targets(data: Data, first: int, last: int) -> list[list[int]]:
    """Returns the targets of the batches that the training loop gets, from a graph as in training."""
    iterator, drawn = data.batch_iterator(first, last), []
    next_targets = tf.function(lambda: next(iterator.batches)[1])
    for step in range(first, last):
        if step == first or step % data.steps_per_epoch == 0:
            iterator.set_epoch(step // data.steps_per_epoch)
        drawn.append(next_targets().numpy().astype(int).tolist())
    return drawn


@pytest.mark.parametrize(("first", "last"), [(0, 27), (5, 20), (9, 18), (17, 19), (26, 27)])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_in_memory_batches_equal_pipeline_batches(make_data, first: int, last: int, drop_remainder: bool) -> None:
    data = make_data(batch_size=7, seed=5, drop_remainder=drop_remainder, validation=3)
    assert isinstance(data.batch_iterator(0, 1), InMemoryBatches)
    assert iterator_targets(data, first, last) == targets(data.batches(first, last))


def test_in_memory_batches_keep_inputs_and_targets_aligned(make_data) -> None:
    iterator = make_data().batch_iterator(0, 4)
    iterator.set_epoch(0)
    assert_aligned(*next(iterator.batches))


def test_augmented_batches_come_from_a_pipeline(make_data) -> None:
    images = from_arrays({"train": (np.zeros((COUNT, 8, 8, 1), np.uint8), np.arange(COUNT, dtype=np.float32))})
    data = make_data(images, augment=["flip"])
    assert not isinstance(data.batch_iterator(0, 1), InMemoryBatches)
    assert iterator_targets(data, 0, 9) == targets(data.batches(0, 9))
