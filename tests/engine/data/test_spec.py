"""Datasets of arrays in memory: their spec, fingerprint and validation."""

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec, from_arrays
from tfloop_cli.errors import ExitCode, TfloopError

IMAGES = np.zeros((5, 4, 4, 1), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1], np.int32)


def test_integer_targets_are_classes() -> None:
    dataset = from_arrays({"train": (IMAGES, LABELS), "test": (IMAGES[:2], LABELS[:2])})
    assert dataset.spec == DataSpec((4, 4, 1), "uint8", (), ("0", "1", "2"))
    assert (dataset.spec.classes, dataset.spec.outputs) == (3, 3)
    assert {name: len(source) for name, source in dataset.splits.items()} == {"train": 5, "test": 2}


def test_class_names_may_include_classes_without_examples() -> None:
    assert from_arrays({"train": (IMAGES, LABELS)}, class_names="abcde").spec.class_names == tuple("abcde")


@pytest.mark.parametrize(("shape", "outputs"), [((), 1), ((3,), 3), ((2, 3), 6)])
def test_float_targets_are_numbers(shape: tuple[int, ...], outputs: int) -> None:
    spec = from_arrays({"train": (IMAGES, np.zeros((5, *shape), np.float32))}).spec
    assert (spec.classes, spec.target_shape, spec.outputs) == (0, shape, outputs)


def test_gather_returns_examples_in_the_order_of_the_indices() -> None:
    inputs = np.arange(5, dtype=np.float32)[:, None]
    gathered, targets = from_arrays({"train": (inputs, LABELS)}).splits["train"].gather(np.array([3, 0, 3]))
    assert gathered.numpy().ravel().tolist() == [3, 0, 3]
    assert targets.numpy().tolist() == [0, 0, 0]


def test_fingerprint_depends_on_content() -> None:
    changed = IMAGES.copy()
    changed[4, 3, 3, 0] = 1
    fingerprints = [
        from_arrays(splits).fingerprint
        for splits in (
            {"train": (IMAGES, LABELS)},
            {"train": (IMAGES.copy(), LABELS.copy())},
            {"train": (changed, LABELS)},
            {"train": (IMAGES.reshape(5, 16), LABELS)},
            {"test": (IMAGES, LABELS)},
            {"train": (IMAGES, LABELS.astype(np.int64))},
        )
    ]
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == len(fingerprints) - 1


def test_fingerprint_does_not_depend_on_memory_layout() -> None:
    fortran = np.asfortranarray(np.arange(40, dtype=np.float32).reshape(5, 8))
    expected = from_arrays({"train": (np.ascontiguousarray(fortran), LABELS)}).fingerprint
    assert from_arrays({"train": (fortran, LABELS)}).fingerprint == expected


@pytest.mark.parametrize("dtype", ["bool", "int64", "float16", "float64", "bfloat16"])
def test_inputs_of_any_numeric_dtype_are_accepted(dtype: str) -> None:
    inputs = tf.cast(IMAGES, dtype).numpy()
    assert from_arrays({"train": (inputs, LABELS)}).spec.input_dtype == dtype


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": (IMAGES, LABELS[:4])}, "`train`: its inputs have 5 rows, but its targets have 4"),
        ({"train": (IMAGES, LABELS), "test": (IMAGES[:0], LABELS[:0])}, "`test`: it is empty"),
        (
            {"train": (IMAGES, LABELS), "test": (IMAGES[:, :3], LABELS)},
            "`test`: its inputs have shape (3, 4, 1), not (4, 4, 1) as in the first split",
        ),
        (
            {"train": (IMAGES, LABELS), "test": (IMAGES, np.stack([LABELS] * 2, 1))},
            "`test`: its targets have shape (2,), not () as in the first split",
        ),
        (
            {"train": (IMAGES, LABELS), "test": (IMAGES, LABELS + 1)},
            "`test`: example 2 has label 3, which is not in 0 to 2",
        ),
        ({"train": (IMAGES, LABELS - 1)}, "example 0 has label -1"),
        (
            {"train": (IMAGES, LABELS), "test": (IMAGES.astype(np.float32), LABELS)},
            "`test`: its inputs have dtype float32, not uint8 as in the first split",
        ),
        (
            {"train": (IMAGES, LABELS), "test": (IMAGES, LABELS.astype(np.int64))},
            "`test`: its targets have dtype int64, not int32 as in the first split",
        ),
        ({"train": (IMAGES.astype(object), LABELS)}, "`train`: its inputs have dtype object, which is not numeric"),
        ({"train": (IMAGES, LABELS.astype(str))}, "`train`: its targets have dtype <U11, which is not numeric"),
        ({"train": (IMAGES.astype("complex64"), LABELS)}, "`train`: its inputs have dtype complex64"),
    ],
)
def test_invalid_arrays_are_an_error(splits: dict[str, tuple[np.ndarray, np.ndarray]], message: str) -> None:
    with pytest.raises(TfloopError) as caught:
        from_arrays(splits)
    assert caught.value.code == ExitCode.DATA
    assert message in str(caught.value)


def spec_of(targets: object, **options: object) -> DataSpec:
    return from_arrays({"train": (IMAGES, targets)}, **options).spec


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, bool])
def test_one_hot_targets_are_classes(dtype: type) -> None:
    targets = np.eye(3, dtype=dtype)[[0, 2, 1, 1, 0]]
    spec = spec_of(targets)
    assert (spec.one_hot, spec.classes, spec.outputs, spec.class_names) == (True, 3, 3, ("0", "1", "2"))
    assert spec.labels_of(tf.constant(targets)).numpy().tolist() == [0, 2, 1, 1, 0]
    assert spec_of(targets, class_names="abc").class_names == ("a", "b", "c")


@pytest.mark.parametrize("targets", [np.ones((5, 3)), np.eye(5)[:, :1], np.eye(5) * 0.5, np.eye(5).reshape(5, 5, 1)])
def test_other_numbers_are_not_one_hot(targets: np.ndarray) -> None:
    spec = spec_of(targets.astype(np.float32))
    assert (spec.one_hot, spec.classes) == (False, 0)


def test_target_that_is_not_one_hot_is_invalid() -> None:
    wrong = np.float32([[1, 0], [1, 1], [0, 1], [0, 1], [0, 1]])
    with pytest.raises(TfloopError, match="`test`: the target of example 1 is not one-hot") as caught:
        from_arrays({"train": (IMAGES, np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1]]), "test": (IMAGES, wrong)})
    assert caught.value.code == ExitCode.DATA


def test_booleans_and_columns_are_labels() -> None:
    booleans = np.array([True, False, True, True, False])
    spec = spec_of(booleans)
    assert spec.class_names == ("false", "true")
    assert spec.labels_of(tf.constant(booleans)).numpy().tolist() == [1, 0, 1, 1, 0]
    column = LABELS[:, None]
    assert spec_of(column).labels_of(tf.constant(column)).numpy().tolist() == LABELS.tolist()


def test_lists_are_arrays() -> None:
    dataset = from_arrays({"train": ([[0.5, 1.0], [2, 3]], [1, 0])})
    assert (dataset.spec.input_shape, dataset.spec.input_dtype, dataset.spec.classes) == ((2,), "float32", 2)
    with pytest.raises(TfloopError, match="`train`: its inputs are no array") as caught:
        from_arrays({"train": ([[0.5, 1.0], [2]], [1, 0])})
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize(
    ("shape", "is_image"),
    [((28, 28), True), ((28, 28, 1), True), ((9, 9, 3), True), ((5, 28, 28, 4), True), ((None, None, 3), True),
     ((100,), False), ((200, 4), False), ((19, 19, 17), False), ((), False), ((None,), False)],
)  # fmt: skip
def test_shape_decides_what_is_an_image(shape: tuple, is_image: bool) -> None:
    assert DataSpec(shape, "uint8").is_image == is_image
