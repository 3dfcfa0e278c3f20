"""Every batch has an address: what an epoch holds, what depends on what, and what is held out."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Data, Dataset, from_arrays
from tfloop_cli.engine.data.pipeline import InMemoryBatches, epoch_order
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, augmentations

COUNT = 60


def numbered(**splits: int) -> Dataset:
    """Each example's target is its own number, its input that number and the half of it."""

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(count, dtype=np.float32)
        return np.stack([numbers, numbers / 2], axis=1), numbers

    return from_arrays({name: split(count) for name, count in splits.items()})


@pytest.fixture
def data(configure):
    def make(dataset: Dataset | None = None, **changes) -> Data:
        return Data(numbered(train=COUNT) if dataset is None else dataset, configure(**changes))

    return make


def targets(batches: tf.data.Dataset) -> list[list[int]]:
    return [batch.numpy().astype(int).tolist() for _, batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


# The order


@pytest.mark.parametrize("examples", [1, 2, 60, 1000])
def test_an_epochs_order_is_a_permutation(examples: int) -> None:
    assert sorted(epoch_order(3, 4, examples)) == list(range(examples))


def test_orders_differ_by_seed_and_by_epoch() -> None:
    orders = {tuple(epoch_order(seed, epoch, 50)) for seed in (0, 1, 2**31 - 1) for epoch in range(3)}
    assert len(orders) == 9


def test_the_order_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert epoch_order(0, 0, 10).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert epoch_order(7, 2, 10).tolist() == [6, 7, 8, 4, 0, 1, 5, 3, 9, 2]


@pytest.mark.parametrize("size", [1, 7, 16, 60, 100])
def test_each_epoch_has_every_training_example_once(data, size: int) -> None:
    made = data(batch_size=size)
    steps = made.steps_per_epoch
    assert steps == -(-COUNT // size)
    batches = targets(made.batches(0, 3 * steps))
    assert [len(batch) for batch in batches] == 3 * ([size] * (COUNT // size) + [COUNT % size] * (COUNT % size > 0))
    epochs = [flat(batches[first : first + steps]) for first in range(0, 3 * steps, steps)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(COUNT))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_inputs_and_targets_stay_together(data) -> None:
    for inputs, labels in data().batches(0, 4):
        np.testing.assert_array_equal(inputs[:, 0], labels)
        np.testing.assert_array_equal(inputs[:, 1], labels / 2)


def test_a_batch_is_a_function_of_seed_and_step(data) -> None:
    made = data(batch_size=7, seed=5)
    whole = targets(made.batches(0, 27))
    for first, last in [(0, 1), (1, 9), (8, 9), (9, 18), (12, 27), (26, 27), (9, 9), (27, 27)]:
        assert targets(made.batches(first, last)) == whole[first:last], (first, last)
    assert targets(data(batch_size=7, seed=5).batches(0, 27)) == whole
    assert targets(data(batch_size=7, seed=6).batches(0, 27)) != whole


def test_examples_of_names_a_batchs_examples(data) -> None:
    made = data(batch_size=7, validation=10)
    for step, batch in enumerate(targets(made.batches(0, 18))):
        assert made.examples_of(step).tolist() == batch


def test_drop_remainder_leaves_out_the_last_ragged_batch_of_an_epoch(data) -> None:
    made = data(batch_size=16, drop_remainder=True)
    assert made.steps_per_epoch == 3
    batches = targets(made.batches(0, 6))
    assert [len(batch) for batch in batches] == [16] * 6
    for epoch in (batches[:3], batches[3:]):
        assert len(set(flat(epoch))) == 48
    assert targets(made.batches(4, 6)) == batches[4:]


def test_drop_remainder_changes_nothing_where_there_is_none(data) -> None:
    assert data(batch_size=20, drop_remainder=True).steps_per_epoch == 3


def test_drop_remainder_that_leaves_nothing_is_an_error(data) -> None:
    with pytest.raises(TfloopError, match="no batch is left") as caught:
        data(batch_size=61, drop_remainder=True)
    assert caught.value.code == ExitCode.USAGE


# What is held out


def validation_split(made: Data) -> list[int]:
    return flat(targets(made.evaluation("validation")))


@pytest.mark.parametrize(
    ("validation", "held"), [("auto", 6), (0, 0), (1, 1), (17, 17), (59, 59), (0.25, 15), (0.9, 54)]
)
def test_how_many_are_held_out(data, validation, held: int) -> None:
    made = data(validation=validation)
    assert made.examples("validation") == held
    assert made.examples("train") == COUNT - held
    assert ("validation" in made.splits) == (held > 0)
    trained = flat(targets(made.batches(0, made.steps_per_epoch)))
    assert sorted([*trained, *(validation_split(made) if held else [])]) == list(range(COUNT))


@pytest.mark.parametrize("validation", [60, 61, 0.999])
def test_holding_out_everything_is_an_error(data, validation) -> None:
    with pytest.raises(TfloopError, match="holds out") as caught:
        data(validation=validation)
    assert caught.value.code == ExitCode.USAGE


def test_what_is_held_out_does_not_depend_on_the_seed(data) -> None:
    first, second = data(validation=17, seed=0), data(validation=17, seed=1)
    assert validation_split(first) == validation_split(second)
    assert validation_split(first) == sorted(validation_split(first)) != list(range(17))
    assert targets(first.batches(0, 3)) != targets(second.batches(0, 3))


@pytest.mark.parametrize(("validation", "train", "held"), [("auto", 60, 9), (0, 60, 0), (5, 55, 5), (0.1, 54, 6)])
def test_a_dataset_with_a_validation_split_of_its_own(data, validation, train: int, held: int) -> None:
    made = data(numbered(train=COUNT, validation=9, test=4), validation=validation)
    assert (made.examples("train"), made.examples("validation"), made.examples("test")) == (train, held, 4)


def test_a_dataset_without_a_training_split(data) -> None:
    with pytest.raises(TfloopError, match="no split `train`, only test") as caught:
        data(numbered(test=4))
    assert caught.value.code == ExitCode.DATA


# Evaluation's batches


@pytest.mark.parametrize("size", [1, 16, 23, 60])
def test_evaluation_sees_every_example_once_in_order(data, size: int) -> None:
    made = data(numbered(train=COUNT, test=23), batch_size=size, drop_remainder=True)
    batches = targets(made.evaluation("test"))
    assert flat(batches) == list(range(23))
    assert {len(batch) for batch in batches[:-1]} <= {size}


def test_an_unknown_split_names_those_that_are_there(data) -> None:
    with pytest.raises(TfloopError, match="no split `tset`") as caught:
        data(numbered(train=COUNT, test=23), validation=3).evaluation("tset")
    assert caught.value.code == ExitCode.USAGE
    assert "test, train, validation" in str(caught.value)


# Numbers


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", "float32"), ("float64", "float64"), ("bfloat16", "float32")]
)
def test_pixels_become_numbers_from_0_to_1(data, precision: str, dtype: str) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 4, 4, 1)
    made = data(from_arrays({"train": (pixels, np.zeros(16, np.int32))}), precision=precision)
    (images, _), *_ = made.evaluation("train")
    assert images.dtype == dtype
    numbers = images.numpy().ravel()
    assert (numbers[0], numbers[-1]) == (0, 1)
    np.testing.assert_allclose(numbers, np.arange(256, dtype=dtype) / 255, rtol=np.finfo(dtype).eps)


def test_pixels_have_the_same_bits_by_every_way(data) -> None:
    """In the training graph TensorFlow makes a product of a division by a constant, in a pipeline it does not."""
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 4, 4, 1)
    made = data(from_arrays({"train": (pixels, np.zeros(16, np.int32))}), batch_size=16)
    feed = made.feed(0, 1)
    feed.set_epoch(0)
    (piped, _), fed = next(iter(made.batches(0, 1))), tf.function(lambda: next(feed.batches)[0])()
    np.testing.assert_array_equal(fed.numpy(), piped.numpy())


@pytest.mark.parametrize(
    ("given", "precision", "got"),
    [("float64", "float32", "float32"), ("float16", "float64", "float64"), ("int32", "float32", "int32")],
)
def test_other_inputs_are_taken_as_they_are_in_the_runs_precision(data, given: str, precision: str, got: str) -> None:
    inputs = np.array([[-3], [0], [1000]], given)
    made = data(from_arrays({"train": (inputs, np.zeros(3, "float64"))}), precision=precision)
    (batch, labels), *_ = made.evaluation("train")
    assert batch.dtype == got
    assert batch.numpy().ravel().tolist() == [-3, 0, 1000]
    assert labels.dtype == ("float64" if precision == "float64" else "float32")


# Augmentation

IMAGES = np.random.default_rng(0).random((50, 9, 7, 2), np.float32)
SEED = [3, 4]


def augmented(name: str, images: np.ndarray = IMAGES, seed: list[int] = SEED, **arguments) -> np.ndarray:
    return augmentations.build(Component(name, arguments))(tf.constant(images), seed).numpy()


@pytest.mark.parametrize("name", augmentations.names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_augmentation_keeps_shape_dtype_and_range(name: str, dtype: str) -> None:
    got = augmented(name, IMAGES.astype(dtype))
    assert got.shape == IMAGES.shape
    assert got.dtype == dtype
    assert got.min() >= 0
    assert got.max() <= 1
    assert 0.2 < np.mean(got) < 0.6  # the images are still there


@pytest.mark.parametrize("name", augmentations.names())
def test_an_augmentation_depends_on_its_seed_alone_and_differs_by_example(name: str) -> None:
    np.testing.assert_array_equal(augmented(name), augmented(name))
    assert not np.array_equal(augmented(name), augmented(name, seed=[3, 5]))
    assert not np.array_equal(augmented(name), augmented(name, seed=[4, 4]))
    alike = augmented(name, np.repeat(IMAGES[:1], 50, axis=0))
    assert len({image.tobytes() for image in alike}) > 1


@pytest.mark.parametrize(
    ("name", "arguments"), [("shift", {"pixels": 0}), ("affine", {"degrees": 0.0, "zoom": 0.0, "shift": 0.0})]
)
def test_an_augmentation_of_nothing_is_the_identity(name: str, arguments: dict) -> None:
    np.testing.assert_allclose(augmented(name, **arguments), IMAGES, atol=1e-6)


def test_flip_mirrors_about_half_of_the_images() -> None:
    flipped = 0
    for before, after in zip(IMAGES, augmented("flip"), strict=True):
        mirrored = np.array_equal(after, before[:, ::-1])
        assert mirrored or np.array_equal(after, before)
        flipped += mirrored
    assert 15 < flipped < 35


def test_shift_moves_by_whole_pixels_and_fills_with_black() -> None:
    moves = set()
    for before, after in zip(IMAGES, augmented("shift", pixels=2), strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(after, padded[2 - down : 11 - down, 2 - right : 9 - right])
        ]
        assert len(fits) == 1
        moves.update(fits)
    assert len(moves) > 15  # of 25
    assert {-2, 2} <= {down for down, _ in moves} & {right for _, right in moves}


def test_affine_turns_around_the_middle() -> None:
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 4], image[0, 4, 8] = 1.0, 0.5
    for turned in augmented("affine", np.repeat(image, 20, axis=0), degrees=40.0, zoom=0.0, shift=0.0):
        assert turned[4, 4, 0] == pytest.approx(1.0, abs=1e-5)
    assert not np.allclose(augmented("affine", image, degrees=40.0, zoom=0.0, shift=0.0), image, atol=0.01)


AUGMENT = [{"name": "flip"}, {"name": "shift", "pixels": 1}, {"name": "affine"}]


@pytest.fixture
def images_data(data):
    dataset = from_arrays({"train": (IMAGES, np.arange(50, dtype=np.float32))})
    return lambda **changes: data(dataset, batch_size=16, **changes)


def test_training_images_are_augmented_by_seed_and_step(images_data) -> None:
    def images(made: Data, first: int = 0) -> list[np.ndarray]:
        return [batch.numpy() for batch, _ in made.batches(first, 8)]

    first, again = images(images_data(augment=AUGMENT)), images(images_data(augment=AUGMENT))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(first[3:], images(images_data(augment=AUGMENT), 3), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(first, images(images_data()), strict=True):
        assert one.shape == other.shape
        assert not np.allclose(one, other)


def test_the_same_example_is_augmented_anew_in_the_next_epoch(images_data) -> None:
    made = images_data(augment=["affine"])
    seen = [{}, {}]
    for step, (batch, numbers) in enumerate(made.batches(0, 8)):
        seen[step // 4] |= dict(zip(numbers.numpy().tolist(), batch.numpy(), strict=True))
    assert all(not np.array_equal(seen[0][number], seen[1][number]) for number in range(50))


def test_the_largest_seed_augments_too_and_not_like_another(images_data) -> None:
    made = [next(iter(images_data(augment=["affine"], seed=seed).batches(0, 1)))[0] for seed in (2**31 - 1, 2**31 - 2)]
    assert not np.allclose(made[0], made[1])


def test_evaluation_augments_nothing(images_data) -> None:
    (batch, _), *_ = images_data(augment=AUGMENT).evaluation("train")
    np.testing.assert_array_equal(batch, IMAGES[:16])


def test_augmenting_what_is_no_image_is_an_error(data) -> None:
    with pytest.raises(TfloopError, match="`augment` changes images") as caught:
        data(augment=["flip"])
    assert caught.value.code == ExitCode.USAGE


# How the loop draws them


def fed(made: Data, first: int, last: int) -> list[list[int]]:
    """The targets that the loop's own feed gives, from a graph as in training."""
    feed, drawn = made.feed(first, last), []
    draw = tf.function(lambda: next(feed.batches)[1])
    for step in range(first, last):
        if step == first or step % made.steps_per_epoch == 0:
            feed.set_epoch(step // made.steps_per_epoch)
        drawn.append(draw().numpy().astype(int).tolist())
    return drawn


@pytest.mark.parametrize(("first", "last"), [(0, 27), (5, 20), (9, 18), (17, 19), (26, 27)])
@pytest.mark.parametrize("drop", [False, True])
def test_from_memory_come_the_same_batches_as_from_a_pipeline(data, first: int, last: int, drop: bool) -> None:
    made = data(batch_size=7, seed=5, drop_remainder=drop, validation=3)
    assert isinstance(made.feed(0, 1), InMemoryBatches)
    assert fed(made, first, last) == targets(made.batches(first, last))


def test_inputs_and_targets_stay_together_in_memory_too(data) -> None:
    feed = data().feed(0, 4)
    feed.set_epoch(0)
    inputs, labels = next(feed.batches)
    np.testing.assert_array_equal(inputs[:, 0], labels)
    np.testing.assert_array_equal(inputs[:, 1], labels / 2)


def test_what_is_augmented_comes_from_a_pipeline(configure) -> None:
    images = from_arrays({"train": (np.zeros((COUNT, 8, 8, 1), np.uint8), np.arange(COUNT, dtype=np.float32))})
    made = Data(images, configure(augment=["flip"]))
    assert not isinstance(made.feed(0, 1), InMemoryBatches)
    assert fed(made, 0, 9) == targets(made.batches(0, 9))
