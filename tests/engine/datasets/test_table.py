"""Tables: numbers standardised, words one-hot, and every slip told with its place."""

from pathlib import Path

import numpy as np
import pytest

from tfloop_cli.engine.data import Dataset
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

TRAIN = "size,colour,kind\n1,red,b\n2,blue,a\n3,red,b\n6,green,a\n"
TEST = "kind,more,colour,size\nb,x,blue,3\na,y,black,-1\n"


@pytest.fixture
def opened(tmp_path: Path):
    def make(train: str, test: str | None = None, kind: str = "csv", **arguments: object) -> Dataset:
        (tmp_path / f"train.{kind}").write_text(train)
        (tmp_path / f"test.{kind}").write_text(test or "")
        files = {"train": f"{tmp_path}/train.{kind}"} | ({"test": f"{tmp_path}/test.{kind}"} if test else {})
        return datasets.build(Component("table", {"target": "kind", **files, **arguments}))

    return make


def test_numbers_are_standardised_and_words_one_hot_by_the_training_split(opened) -> None:
    made = opened(TRAIN, TEST)
    train, test = made.splits["train"], made.splits["test"]
    deviation = np.std([1, 2, 3, 6])
    np.testing.assert_allclose(train.inputs[:, 0], (np.array([1, 2, 3, 6]) - 3) / deviation, rtol=1e-6)
    # blue, green, red
    np.testing.assert_array_equal(train.inputs[:, 1:], [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(test.inputs, [[0, 1, 0, 0], [-4 / deviation, 0, 0, 0]], rtol=1e-6)
    assert made.spec.class_names == ("a", "b")
    assert (train.targets.numpy().tolist(), test.targets.numpy().tolist()) == ([1, 0, 1, 0], [1, 0])
    assert (made.spec.input_shape, made.spec.input_dtype) == ((4,), "float32")


def test_a_column_that_never_changes_is_nothing(opened) -> None:
    assert not opened("x,kind\n5,a\n5,b\n").splits["train"].inputs.numpy().any()


@pytest.mark.parametrize(
    ("values", "classes", "found"),
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
def test_the_target_is_numbers_where_one_is_not_whole(opened, values: list[str], classes, found: tuple) -> None:
    made = opened("x,kind\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)), classes=classes)
    assert made.spec.class_names == found
    if not found:
        np.testing.assert_allclose(made.splits["train"].targets, [float(value) for value in values])
        assert made.spec.target_shape == ()


def test_json_lines(opened) -> None:
    made = opened('{"x": 1, "on": true, "kind": 0.5}\n{"x": 2, "on": false, "kind": 1}\n', kind="jsonl")
    np.testing.assert_array_equal(made.splits["train"].inputs, [[-1, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    ("train", "test", "said"),
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
            "test.csv:2: split `test`: there is no column `x`\n  there are `y`, `kind`",
        ),
        ("x,klass\n1,a\n", None, "train.csv:2: split `train`: there is no column `kind`"),
        ("kind\na\nb\n", None, "train.csv:2: split `train`: there is no column to predict `kind` from"),
        (
            "x,kind\n" + "".join(f"{n},a\n" for n in range(1000)) + "12o,a\n", None,
            "train.csv:1002: split `train`: column `x`: `12o` is not a number, and 1001 different values",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(opened, train: str, test: str | None, said: str) -> None:
    with pytest.raises(TfloopError) as caught:
        opened(train, test)
    assert caught.value.code == ExitCode.DATA
    assert said in str(caught.value)


def test_json_lines_must_have_one_set_of_columns(opened) -> None:
    with pytest.raises(TfloopError, match=r"train\.jsonl:2: split `train`: column `y` is not in the rows before"):
        opened('{"x": 1, "kind": "a"}\n{"x": 1, "y": 2, "kind": "b"}\n', kind="jsonl")
    with pytest.raises(TfloopError, match=r"train\.jsonl:2: split `train`: there is no column `x`"):
        opened('{"x": 1, "kind": "a"}\n{"y": 2, "kind": "b"}\n', kind="jsonl")


def test_a_run_on_a_table(opened, trainer) -> None:
    random = np.random.default_rng(0)
    lines = [f"{number:.3f},{'high' if number > 0 else 'low'}" for number in random.standard_normal(60)]
    *_, last = trainer(
        opened("x,kind\n" + "\n".join(lines)), epochs=20, optimizer={"name": "adam", "learning_rate": 0.1}
    ).fit()
    assert last.train["accuracy"] > 0.9
