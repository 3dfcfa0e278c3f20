"""Several inputs, several targets and weights of the examples: from_arrays, the spec, and batches."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Data, Dataset, InputSpec, TargetSpec, from_arrays
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.inference.arrays import ArrayInputs
from tfloop_cli.errors import ExitCode, TfloopError

COUNT = 12
NUMBERS = np.arange(COUNT, dtype=np.float64)
PHOTOS = (np.arange(COUNT, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)).astype(np.uint8)
IDS = np.arange(COUNT, dtype=np.uint8)[:, None]
LABELS = (np.arange(COUNT) % 3).astype(np.int32)
NAMED = {"photo": PHOTOS, "age": NUMBERS, "ids": IDS}


def test_dict_of_inputs_and_targets_is_described_by_name() -> None:
    targets = {"kind": LABELS, "size": NUMBERS, "hot": np.eye(3)[LABELS]}
    spec = from_arrays({"train": (NAMED, targets)}, class_names={"kind": "abc"}).spec
    assert spec.inputs == {
        "photo": InputSpec((8, 8, 1), "uint8"), "age": InputSpec((), "float64"), "ids": InputSpec((1,), "uint8")
    }  # fmt: skip
    assert spec.targets == {
        "kind": TargetSpec((), ("a", "b", "c")), "size": TargetSpec(), "hot": TargetSpec((3,), ("0", "1", "2"), True)
    }  # fmt: skip
    assert [one.outputs for one in spec.targets.values()] == [3, 1, 3]


@pytest.mark.parametrize("kind", [tuple, list])
def test_tuple_or_list_of_arrays_is_several_inputs_in_order(kind: Callable) -> None:
    spec = from_arrays({"train": (kind([PHOTOS, NUMBERS]), kind([LABELS, NUMBERS]))}).spec
    assert [one.shape for one in spec.inputs] == [(8, 8, 1), ()]
    assert [one.classes for one in spec.targets] == [3, 0]


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [(list(PHOTOS), (8, 8, 1)), (tuple(PHOTOS), (8, 8, 1)), ([[1, 2]] * COUNT, (2,)), (((1, 2),) * COUNT, (2,)),
     ([np.zeros(COUNT)] * COUNT, (COUNT,))],
)  # fmt: skip
def test_list_with_one_row_per_example_is_one_array(inputs: object, shape: tuple[int, ...]) -> None:
    assert from_arrays({"train": (inputs, LABELS)}).spec.input_shape == shape


def test_fingerprint_depends_on_names_and_weights() -> None:
    weights = np.ones(COUNT)
    splits = [
        (PHOTOS, LABELS), ({"a": PHOTOS}, LABELS), ({"b": PHOTOS}, LABELS), ((PHOTOS,), LABELS),
        (PHOTOS, {"a": LABELS}), (PHOTOS, LABELS, weights), (PHOTOS, LABELS, weights * 2),
        ({"a": PHOTOS, "b": PHOTOS}, LABELS),
    ]  # fmt: skip
    fingerprints = [from_arrays({"train": split}).fingerprint for split in splits]
    assert len(set(fingerprints)) == len(splits)
    assert from_arrays({"train": (dict(reversed(NAMED.items())), LABELS)}).fingerprint == (
        from_arrays({"train": (NAMED, LABELS)}).fingerprint
    )


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ({"photo": PHOTOS, "age": NUMBERS[:9]}, LABELS)},
         "`train`: its input `photo` has 12 rows, but its input `age` has 9"),
        ({"train": ((PHOTOS, NUMBERS[:9]), LABELS)}, "`train`: its input 0 has 12 rows, but its input 1 has 9"),
        ({"train": (NAMED, {"kind": LABELS, "size": NUMBERS[1:]})},
         "`train`: its input `photo` has 12 rows, but its target `size` has 11"),
        ({"train": (PHOTOS, LABELS, NUMBERS[1:])}, "`train`: its inputs have 12 rows, but its sample_weight has 11"),
        ({"train": (PHOTOS, LABELS, np.ones((COUNT, 2)))}, "`train`: its sample_weight has shape (12, 2)"),
        ({"train": (PHOTOS, LABELS, ["a"] * COUNT)}, "`train`: its sample_weight has dtype <U1"),
        ({"train": (NAMED, LABELS), "test": ({"photo": PHOTOS}, LABELS)},
         "`test`: its inputs are `photo`, not `photo`, `age`, `ids` as in the first split"),
        ({"train": (NAMED, LABELS), "test": (PHOTOS, LABELS)}, "`test`: its inputs are one array, not `photo`, `age`"),
        ({"train": (NAMED, LABELS), "test": (NAMED | {"age": NUMBERS[:, None]}, LABELS)},
         "`test`: its input `age` has shape (1,), not () as in the first split"),
        ({"train": ({}, LABELS)}, "`train`: its inputs are a dict whose keys are not names"),
        ({"train": ({1: PHOTOS}, LABELS)}, "`train`: its inputs are a dict whose keys are not names"),
        ({"train": ({"a": np.array(["x"] * COUNT)}, LABELS)}, "`train`: its input `a` has dtype <U1"),
        ({"train": (5, 3)}, "`train`: its inputs are a number"),
        ({"train": (PHOTOS,)}, "`train`: it is not (inputs, targets) or (inputs, targets, sample_weight)"),
        ({"train": (PHOTOS, {"a": LABELS, "b": LABELS}), "test": (PHOTOS, {"a": LABELS, "b": LABELS + 1})},
         "`test`: example 2 has label 3, which is not in 0 to 2 (target `b`)"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_together_are_an_error(splits: dict, message: str) -> None:
    with pytest.raises(TfloopError) as caught:
        from_arrays(splits)
    assert caught.value.code == ExitCode.DATA
    assert message in str(caught.value)


@pytest.mark.parametrize("names", [["a", "b", "c"], {"other": ["a"]}])
def test_class_names_of_several_targets_have_a_list_per_target(names: object) -> None:
    with pytest.raises(TfloopError, match="`class_names` has"):
        from_arrays({"train": (PHOTOS, {"kind": LABELS, "size": NUMBERS})}, class_names=names)


def test_example_with_an_invalid_target_is_skipped_in_every_array() -> None:
    kind, other = LABELS.copy(), LABELS.copy()
    kind[1], other[[1, 5]] = 9, -1
    targets = {"kind": kind, "other": other}
    with collect_invalid_examples(skip=True) as found:
        dataset = from_arrays({"train": (NAMED, targets, NUMBERS)}, class_names={"kind": "abc", "other": "abc"})
    assert found.counts == {"train": 2}
    assert "example 1 has label 9, which is not in 0 to 2 (target `kind`)" in found.reasons["train"]
    inputs, targets, weights = dataset.splits["train"].gather(tf.range(10))
    expected = np.delete(NUMBERS, [1, 5]).tolist()
    for values in (inputs["photo"][:, 0, 0, 0], inputs["age"], inputs["ids"][:, 0], weights):
        assert values.numpy().tolist() == expected
    assert targets["other"].numpy().tolist() == [number % 3 for number in expected]


@pytest.fixture
def make_data(configure) -> Callable[..., Data]:
    def make(dataset: Dataset, **changes: object) -> Data:
        return Data(
            dataset, configure(**{"batch_size": 5} | ({} if "test" in dataset.splits else {"test": 0}) | changes)
        )

    return make


def assert_aligned(batch: tuple) -> list[int]:
    """Asserts that all arrays of a batch are of the same examples; returns their numbers."""
    inputs, targets, weights = batch
    numbers = inputs["age"].numpy()
    np.testing.assert_allclose(inputs["photo"][:, 0, 0, 0], numbers / 255, rtol=1e-6)
    np.testing.assert_array_equal(inputs["ids"][:, 0], numbers)
    np.testing.assert_array_equal(targets["kind"], numbers % 3)
    np.testing.assert_array_equal(weights, numbers)
    return numbers.astype(int).tolist()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_batches_scale_and_cast_each_input(make_data, precision: str) -> None:
    dataset = from_arrays({"train": (NAMED, {"kind": LABELS, "size": NUMBERS}, NUMBERS)})
    data = make_data(dataset, validation=4, precision=precision)
    batch = next(iter(data.evaluation("train")))
    dtypes = tf.nest.map_structure(lambda values: values.dtype.name, batch)
    inputs = {"photo": precision, "age": precision, "ids": "int32"}
    assert dtypes == (inputs, {"kind": "int32", "size": precision}, precision)
    iterator = data.batch_iterator(0, 4)
    step = tf.function(lambda: next(iterator.batches))
    seen = []
    for number, from_pipeline in enumerate(data.batches(0, 4)):
        iterator.set_epoch(number // 2)
        from_memory = step()
        tf.nest.map_structure(np.testing.assert_array_equal, from_memory, from_pipeline)
        seen += assert_aligned(from_memory)
    for one in data.evaluation("validation"):
        seen += [*assert_aligned(one)] * 2
    assert sorted(seen) == sorted([*range(COUNT)] * 2)


def test_scale_uint8_applies_to_every_input(make_data) -> None:
    batch = next(iter(make_data(from_arrays({"train": (NAMED, LABELS)}), scale_uint8=False).evaluation("train")))
    assert {name: values.dtype.name for name, values in batch[0].items()} == {
        "photo": "float32", "age": "float32", "ids": "int32"
    }  # fmt: skip
    assert batch[0]["photo"].numpy().max() == 4
    batch = next(iter(make_data(from_arrays({"train": (NAMED, LABELS)}), scale_uint8=True).evaluation("train")))
    assert batch[0]["ids"].numpy().max() == np.float32(4 / 255)


def test_splits_may_differ_in_weights(make_data) -> None:
    data = make_data(from_arrays({"train": (PHOTOS, LABELS, NUMBERS), "test": (PHOTOS, LABELS)}))
    assert [len(next(iter(data.evaluation(split)))) for split in ("train", "test")] == [3, 2]


def test_augmentation_of_several_inputs_is_an_error(make_data) -> None:
    with pytest.raises(TfloopError, match="`augment` needs images, and the dataset has the inputs `photo`") as caught:
        make_data(from_arrays({"train": (NAMED, LABELS)}), augment=["flip"])
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["input_shape", "input_dtype", "is_image", "target_shape", "classes", "outputs"])
def test_attribute_of_one_array_is_an_error_for_several(name: str) -> None:
    spec = from_arrays({"train": (NAMED, {"kind": LABELS, "size": NUMBERS})}).spec
    with pytest.raises(TfloopError, match=r"the dataset has several (inputs, `photo`, |targets, `kind`, )"):
        getattr(spec, name)


def test_new_inputs_are_found_by_name_and_not_by_order() -> None:
    spec = from_arrays({"train": (NAMED, LABELS)}).spec
    (chunk,) = ArrayInputs(spec).inputs(dict(reversed(NAMED.items())), COUNT)
    assert list(chunk.values) == list(NAMED)
    assert all(np.array_equal(chunk.values[name], array) for name, array in NAMED.items())
