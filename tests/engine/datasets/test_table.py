"""Tables: standardized numbers, one-hot encoded categories, and errors with file and line."""

from pathlib import Path

import numpy as np
import pytest

from tfloop_cli.engine.data import Dataset
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

TRAIN = "size,color,kind\n1,red,b\n2,blue,a\n3,red,b\n6,green,a\n"
TEST = "kind,more,color,size\nb,x,blue,3\na,y,black,-1\n"


@pytest.fixture
def build(tmp_path: Path):
    def make(train: str, test: str | None = None, kind: str = "csv", **arguments: object) -> Dataset:
        (tmp_path / f"train.{kind}").write_text(train)
        (tmp_path / f"test.{kind}").write_text(test or "")
        files = {"train": f"{tmp_path}/train.{kind}"} | ({"test": f"{tmp_path}/test.{kind}"} if test else {})
        return datasets.build(Component("table", {"target": "kind", **files, **arguments}))

    return make


def test_features_are_standardized_and_one_hot_encoded_by_the_training_split(build) -> None:
    dataset = build(TRAIN, TEST)
    train, test = dataset.splits["train"], dataset.splits["test"]
    deviation = np.std([1, 2, 3, 6])
    np.testing.assert_allclose(train.inputs[:, 0], (np.array([1, 2, 3, 6]) - 3) / deviation, rtol=1e-6)
    # blue, green, red
    np.testing.assert_array_equal(train.inputs[:, 1:], [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(test.inputs, [[0, 1, 0, 0], [-4 / deviation, 0, 0, 0]], rtol=1e-6)
    assert dataset.spec.class_names == ("a", "b")
    assert (train.targets.numpy().tolist(), test.targets.numpy().tolist()) == ([1, 0, 1, 0], [1, 0])
    assert (dataset.spec.input_shape, dataset.spec.input_dtype) == ((4,), "float32")


def test_constant_column_becomes_zeros(build) -> None:
    assert not build("x,kind\n5,a\n5,b\n").splits["train"].inputs.numpy().any()


@pytest.mark.parametrize(
    ("values", "classes", "class_names"),
    [
        (["0", "1", "10", "2"], "auto", ("0", "1", "2", "10")),
        (["1.0", "2.0"], "auto", ("1.0", "2.0")),
        (["yes", "0.5"], "auto", ("0.5", "yes")),
        (["1", "2.5"], "auto", ()),
        (["1e-3", "2"], "auto", ()),
        (["1", "2"], False, ()),
        (["1", "2.5"], True, ("1", "2.5")),
    ],
)
def test_target_is_numeric_if_a_value_is_not_a_whole_number(
    build, values: list[str], classes, class_names: tuple
) -> None:
    dataset = build("x,kind\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)), classes=classes)
    assert dataset.spec.class_names == class_names
    if not class_names:
        np.testing.assert_allclose(dataset.splits["train"].targets, [float(value) for value in values])
        assert dataset.spec.target_shape == ()


def test_json_lines_are_read(build) -> None:
    dataset = build('{"x": 1, "on": true, "kind": 0.5}\n{"x": 2, "on": false, "kind": 1}\n', kind="jsonl")
    np.testing.assert_array_equal(dataset.splits["train"].inputs, [[-1, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("x,kind\n1,a\n,b\n", None, "train.csv:3: split `train`: column `x`: the value is missing"),
        ("x,kind\n1,a\nNaN,b\n", None, "train.csv:3: split `train`: column `x`: the value is missing"),
        ("x,kind\n1,a\n2, \n", None, "train.csv:3: split `train`: column `kind`: the value is missing"),
        ("x,kind\ninf,a\n2,b\n", None, "train.csv:2: split `train`: column `x`: inf is not finite"),
        ("x,kind\n1,a\n2,b\n", "x,kind\n1,a\nn/a,b\n", "test.csv:3: split `test`: column `x`: the value is missing"),
        ("x,kind\n1,a\n2,b\n", "x,kind\n1,a\ntwo,b\n", "test.csv:3: split `test`: column `x`: `two` is not a number"),
        ("x,kind\n1,a\n2,b\n", "x,kind\n1,c\n", "test.csv:2: split `test`: column `kind`: the class `c` does not"),
        ("x,kind\n1,0.5\n2,1\n", "x,kind\n1,c\n", "test.csv:2: split `test`: column `kind`: `c` is not a number"),
        (
            "x,kind\n1,a\n2,b\n", "y,kind\n1,a\n",
            "test.csv:2: split `test`: there is no column `x`\n  the columns are `y`, `kind`",
        ),
        ("x,klass\n1,a\n", None, "train.csv:2: split `train`: there is no column `kind`"),
        ("x,kinds\n1,a\n", None, "there is no column `kind`\n  did you mean `kinds`?"),
        ("kind\na\nb\n", None, "train.csv:2: split `train`: there is no other column to predict `kind` from"),
        (
            "x,kind\n" + "".join(f"{n},a\n" for n in range(1000)) + "12o,a\n", None,
            "train.csv:1002: split `train`: column `x`: `12o` is not a number, and 1001 distinct values",
        ),
    ],
)  # fmt: skip
def test_invalid_row_error_contains_file_line_and_column(build, train: str, test: str | None, message: str) -> None:
    with pytest.raises(TfloopError) as caught:
        build(train, test)
    assert caught.value.code == ExitCode.DATA
    assert message in str(caught.value)


def test_json_line_with_other_columns_is_an_error(build) -> None:
    with pytest.raises(TfloopError, match=r"train\.jsonl:2: split `train`: earlier rows have no column `y`"):
        build('{"x": 1, "kind": "a"}\n{"x": 1, "y": 2, "kind": "b"}\n', kind="jsonl")
    with pytest.raises(TfloopError, match=r"train\.jsonl:2: split `train`: there is no column `x`"):
        build('{"x": 1, "kind": "a"}\n{"y": 2, "kind": "b"}\n', kind="jsonl")


def test_model_learns_from_a_table(build, trainer) -> None:
    random = np.random.default_rng(0)
    lines = [f"{number:.3f},{'high' if number > 0 else 'low'}" for number in random.standard_normal(60)]
    *_, last = trainer(
        build("x,kind\n" + "\n".join(lines)), epochs=20, optimizer={"name": "adam", "learning_rate": 0.1}
    ).fit()
    assert last.train["accuracy"] > 0.9
