"""The dataset `table`: splits, targets, missing values, and errors with file and line."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from tfloop_cli.engine.data import Dataset
from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.choosing import Candidates, SplitRules, choose_held_out, group_numbers
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.data.tables.files import find_files
from tfloop_cli.engine.inference.tables import TableInputs
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

TRAIN = "size,color,kind\n1,red,b\n2,blue,a\n3,red,b\n6,green,a\n"
TEST = "kind,more,color,size\nb,x,blue,3\na,y,black,-1\n"


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Dataset]:
    def make(train: str | bytes, test: str | None = None, kind: str = "csv", **arguments: object) -> Dataset:
        (tmp_path / f"train.{kind}").write_bytes(train if isinstance(train, bytes) else train.encode())
        (tmp_path / f"test.{kind}").write_text(test or "")
        files = {"train": f"{tmp_path}/train.{kind}"} | ({"test": f"{tmp_path}/test.{kind}"} if test else {})
        return datasets.build(Component("table", {"target": "kind", **files, **arguments}))

    return make


def squash(u: object) -> np.ndarray:
    return np.asarray(u) / np.sqrt(1 + (np.asarray(u) / 3) ** 2)


def inputs(dataset: Dataset, split: str = "train") -> np.ndarray:
    return dataset.splits[split].inputs.numpy()


def message_of(build: Callable[..., Dataset], *arguments: object, **options: object) -> str:
    with pytest.raises(TfloopError) as caught:
        build(*arguments, **options)
    assert caught.value.code == ExitCode.DATA
    return str(caught.value)


def test_rows_are_encoded_by_the_training_split(build) -> None:
    dataset = build(TRAIN, TEST)
    # Quartiles of 1, 2, 3, 6: 1.75, 2.5, 3.75. Then blue, green, red.
    np.testing.assert_allclose(inputs(dataset)[:, 0], squash((np.array([1, 2, 3, 6]) - 2.5) / 2), rtol=1e-6)
    np.testing.assert_array_equal(inputs(dataset)[:, 1:], [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(inputs(dataset, "test"), [[squash(0.25), 1, 0, 0], [squash(-1.75), 0, 0, 0]], rtol=1e-6)
    assert dataset.spec.class_names == ("a", "b")
    assert [dataset.splits[split].targets.numpy().tolist() for split in ("train", "test")] == [[1, 0, 1, 0], [1, 0]]
    assert (dataset.spec.input_shape, dataset.spec.input_dtype) == ((4,), "float32")
    assert [(one.name, one.kind, one.start, one.stop, one.ids) for one in dataset.spec.columns] == [
        ("size", "number", 0, 1, 0),
        ("color", "flags", 1, 4, 0),
    ]
    assert "test: 1 value(s) of `color` do not occur in training" in dataset.encoders.notes[0]


def test_free_text_is_used_where_there_is_no_other_column(build) -> None:
    words = ["good", "bad", "fine"]
    text = "id,review,kind\n" + "".join(f"p{n},it is {words[n % 3]} no {n},{n % 2}\n" for n in range(60))
    dataset = build(text, text)
    review = next(column for column in dataset.encoders.columns if column.name == "review")
    assert {*review.levels} == {"good", "bad", "fine"}
    assert review.note == "used, since there is no other column"
    assert inputs(dataset, "test").sum(axis=1).tolist() == [1.0] * 60
    others = build(text.replace("id,", "x,").replace("p", ""))
    assert [(column.name, column.kind) for column in others.encoders.columns] == [
        ("x", "number"),
        ("review", "ignored"),
    ]


def test_encoders_are_data_and_encode_other_rows_alike(build) -> None:
    dataset = build(TRAIN, TEST)
    document = json.loads(json.dumps(dataset.encoders.to_json()))
    assert TableEncoders.from_json(document) == dataset.encoders
    with use_context(BuildContext(encoders=document)):
        grown = build(TRAIN + "1000,violet,a\n" * 50, TEST)
    np.testing.assert_array_equal(inputs(grown, "test"), inputs(dataset, "test"))
    with pytest.raises(TfloopError, match="the encoders of the run cannot be used") as caught:
        TableEncoders.from_json(document | {"format": 0})
    assert caught.value.code == ExitCode.CHECKPOINT


def test_other_files_are_read_as_the_training_file(build) -> None:
    """Its decimal mark where numbers leave that open, and its header."""
    dataset = build("0,5;a\n1,5;b\n2;a\n", "1,500;b\n", target="column_2")
    assert inputs(dataset, "test").tolist() == [[0]]  # the median, and not 1500
    assert dataset.encoders.to_json()["dialect"] == {"decimal": ",", "header": False, "quote": '"'}


# Targets

FEW = [str(number % 3) for number in range(15)]
MANY = [str(number % 3) for number in range(14)]


@pytest.mark.parametrize(
    ("values", "classes", "class_names"),
    [
        (FEW, "auto", ("0", "1", "2")),
        (MANY, "auto", ()),  # fewer than 5 rows each
        ([str(number % 21) for number in range(210)], "auto", ()),  # more than 20
        (["10", "9"] * 5, "auto", ("9", "10")),
        (["1.0", "2.0"] * 5, "auto", ("1.0", "2.0")),
        (["yes", "0.5"], "auto", ("0.5", "yes")),
        (["1", "2.5"] * 5, "auto", ()),
        (["1,000", "2,500"] * 5, "auto", ()),
        (FEW, False, ()),
        (["1", "2.5"], True, ("1", "2.5")),
        (["NA", "?", "a ", "a"], "auto", ("?", "NA", "a", "a ")),  # as they are written
        (["007", "7"], "auto", ("007", "7")),
    ],
)
def test_classes_are_words_or_few_whole_numbers(build, values: list[str], classes, class_names: tuple) -> None:
    rows = "".join(f'{number},"{value}"\n' for number, value in enumerate(values))
    dataset = build(f"x,kind\n{rows}", classes=classes)
    assert dataset.spec.class_names == class_names
    targets = dataset.splits["train"].targets.numpy()
    if class_names:
        assert [class_names[label] for label in targets] == values
    else:
        assert targets.tolist() == [float(value.replace(",", "")) for value in values]
        assert dataset.spec.target_shape == ()


def test_decision_about_whole_numbers_names_the_key(build) -> None:
    few, many = ("x,kind\n" + "".join(f"{value},{value}\n" for value in values) for values in (FEW, MANY))
    assert build(few).encoders.notes == (
        "target `kind`: its 3 whole numbers are classes; with `task: regression` or `dataset.classes: false` they are "
        "numbers",
    )
    assert "with `dataset.classes: true` they are classes" in build(many).encoders.notes[0]
    with use_context(BuildContext(numbers=True)):
        assert build(few).spec.class_names == ()


def test_unknown_class_is_answered_with_the_known_ones(build) -> None:
    assert "`c` does not occur in the training split\n  the classes are `a`, `b`" in message_of(
        build, "x,kind\n1,a\n2,b\n", "x,kind\n1,c\n"
    )


def test_columns_that_are_not_read_have_no_counts(build) -> None:
    columns = {one["name"]: one for one in build(TRAIN, ignore=["color"]).encoders.overview()}
    assert (columns["color"]["missing"], columns["color"]["distinct"]) == (None, None)


def test_one_column_may_have_another_separator(build) -> None:
    message = message_of(build, "x=kind\n1=a\n2=b\n")
    assert "the columns are `x=kind`; which character separates several columns? (key `separator`)" in message


def test_doubtful_classes_are_named(build) -> None:
    values = ["1", "1.0", "2", "?"]
    rows = "".join(f"{number},{values[number % 4]}\n" for number in range(20))
    note = build("x,y\n" + rows, target="y").encoders.notes[0]
    assert "`?` counts as a class" in note
    assert "`1` and `1.0` are different classes" in note
    assert "different classes" in build("x,y\n1,a\n2,a \n3,b\n", target="y").encoders.notes[0]


def test_words_of_one_row_each_are_no_classes(build) -> None:
    def text(values: list[str]) -> str:
        return "x,kind\n" + "".join(f"{number},{value}\n" for number, value in enumerate(values))

    days = [f"2020-01-{number:02}" for number in range(1, 31)]
    assert "column `kind`: its 30 distinct dates in 30 rows are too many for classes" in message_of(build, text(days))
    assert len(build(text(days), classes=True).spec.class_names) == 30
    assert len(build(text(days * 2)).spec.class_names) == 30
    times = build(text([f"2:{number}:30" for number in range(10, 40)]))
    assert times.splits["train"].targets.numpy()[:2].tolist() == [7830, 7890]
    weights = build(text([f"{number % 25} kg" for number in range(100)]))
    assert (weights.spec.class_names, "numbers with a unit" in weights.encoders.notes[0]) == ((), True)
    assert weights.splits["train"].targets.numpy()[-1] == 24
    assert build(text([f"{number % 5} stars" for number in range(100)])).spec.class_names[0] == "0 stars"
    prices = build(text([*(f"{number}.5" for number in range(90)), *["unknown"] * 10]))
    assert (len(prices.splits["train"]), prices.spec.class_names) == (90, ())
    heights = text([*map(str, range(150, 190)), "5' 11", "six", "6 ft"] * 5)
    assert "most values are numbers, but 15 such as `5' 11` are none" in build(heights).encoders.notes[0]
    with use_context(BuildContext(numbers=True)):
        assert len(build(heights).splits["train"]) == 200


def test_ids_and_row_numbers_are_used_if_there_is_no_other_column(build) -> None:
    rows = [f"{number},w{number // 2 if number < 20 else number},{number}.5" for number in range(50)]
    text = "rownames,name,kind\n" + "\n".join(rows) + "\n"
    first, second = build(text).encoders.columns
    assert (first.kind, second.kind, second.note) == ("ignored", "category", "used, since there is no other column")
    series = build("rownames,kind\n" + "".join(f"{number},{number}.5\n" for number in range(50)))
    assert [(one.name, one.kind) for one in series.encoders.columns] == [("rownames", "number")]
    names = "name,kind\n" + "".join(f"w{number},{number}.5\n" for number in range(50))
    assert "`name` is ignored: an id of 50 distinct values" in message_of(build, names)


def test_several_targets_are_numbers(build) -> None:
    dataset = build("x,kind,more\n1,1,0\n2,0,1\n3,,5\n", target=["kind", "more"])
    assert dataset.splits["train"].targets.numpy().tolist() == [[1, 0], [0, 1]]
    assert (dataset.spec.target_shape, dataset.spec.class_names, dataset.spec.one_hot) == ((2,), (), False)
    message = message_of(build, "x,kind,more\n1,1,a\n2,0,b\n", target=["kind", "more"])
    assert "column `more`: the targets are not numbers: `a`" in message


# Missing values


def test_missing_numbers_are_the_median_and_marked(build) -> None:
    dataset = build("x,kind\n1,a\n?,b\n3,a\nn/a,b\n5,b\n", "x,kind\n-,a\n3,b\n")
    value = squash(2 / 2)  # 1, 3, 5: median 3, quartiles 2 and 4
    np.testing.assert_allclose(inputs(dataset), [[-value, 0], [0, 1], [0, 0], [0, 1], [value, 0]], rtol=1e-6)
    assert inputs(dataset, "test").tolist() == [[0, 1], [0, 0]]
    assert dataset.encoders.columns[0].missing == 2
    dataset = build("x,kind\n1,a\n3,a\n5,b\n", "x,kind\nfive,a\n3,b\n")
    assert inputs(dataset, "test").tolist() == [[0], [0]]
    assert dataset.encoders.notes == (
        "test: 1 value(s) of `x` such as `five` are no numbers",
        "test: 1 value(s) of `x` are missing, and none is in training: no column marks them",
    )


def test_missing_categories_are_a_level(build) -> None:
    dataset = build("x,kind\nred,a\n,b\nblue,a\nNone,b\n")
    assert inputs(dataset).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_list_of_missing_values_can_be_set(build) -> None:
    dataset = build("x,y,kind\n1,NA,a\n-9,NA,b\n3,b,b\n", missing_values=["-9"])
    assert [(one.missing, one.levels) for one in dataset.encoders.columns] == [(1, ()), (0, ("b", "na"))]


def test_rows_with_missing_values_can_be_skipped_or_refused(build) -> None:
    text = "x,y,kind\n1,u,a\n2,?,b\n,v,c\n4,v,d\n9,u,a\n"
    dataset = build(text, missing="skip")
    assert dataset.spec.class_names == ("a", "d")  # of the rows that are used
    assert inputs(dataset)[:, 1:].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert "train.csv:3: split `train`: column `y`: the value is missing" in message_of(build, text, missing="error")


def test_targets_without_the_unit_of_training_are_refused(build) -> None:
    rows = [{"x": number, "kind": f"{number}.5%"} for number in range(9)]
    train = "".join(f"{json.dumps(row)}\n" for row in rows)
    assert build(train, train, "jsonl").splits["test"].all_targets.shape == (9,)
    with pytest.raises(TfloopError, match=r"no target: `0.05`"):
        build(train, '{"x": 1, "kind": 0.05}\n', "jsonl")


def test_rows_without_target_are_left_out(build) -> None:
    dataset = build("x,kind\n1,a\n2,\n3, \n4,b\n")
    assert dataset.splits["train"].targets.numpy().tolist() == [0, 1]
    assert dataset.encoders.target.skipped == 2
    dataset = build("x,kind\n1,0.5\n2,NA\n3,word\n" + "4,1\n" * 40)
    assert (len(dataset.splits["train"]), dataset.encoders.target.skipped) == (41, 2)


# Columns


def test_row_number_is_found_where_rows_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("Unnamed: 0,x,kind\n0,5,b\n1,6,a\n2,7,a\n")
    (tmp_path / "first.csv").write_text("Unnamed: 0,x,kind\n0,1,\n1,2,a\n2,3,\n3,4,b\n")
    files = [f"{tmp_path}/first.csv", f"{tmp_path}/more.csv"]
    dataset = datasets.build(Component("table", {"train": files, "target": "kind"}))
    assert [(one.kind, one.note) for one in dataset.encoders.columns] == [
        ("ignored", "ignored: the row number"),
        ("number", ""),
    ]


def test_types_can_be_set(build) -> None:
    text = "a,b,c,d,e,kind\n" + "".join(f"{n % 2},{n},20200{n + 1}01,say w{n % 3},{n},x{n % 2}\n" for n in range(9))
    dataset = build(text, columns={"a": "category", "c": "date", "d": "text", "e": "ignore"}, ignore=["b"])
    kinds = {one.name: one.kind for one in dataset.encoders.columns}
    assert kinds == {"a": "category", "b": "ignored", "c": "date", "d": "text", "e": "ignored"}
    assert dataset.encoders.columns[2].parts == ("days", "month", "weekday", "sin", "cos")
    assert dataset.encoders.columns[3].levels == ("w0", "w1", "w2")  # "say" is in every row
    assert inputs(dataset)[:2, -3:].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert [one.name for one in build(text, only=["b"]).encoders.used] == ["b"]


@pytest.mark.parametrize("key", ["columns", "ignore", "only"])
def test_unknown_column_is_an_error(build, key: str) -> None:
    value = {"Colour": "number"} if key == "columns" else ["Colour"]
    message = message_of(build, TRAIN, **{key: value})
    assert f"`{key}`: there is no column `Colour`\n  did you mean `color`?" in message


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("x,kind\n1,a\n2,b\n", "x,kind\n1,c\n", "test.csv:2: split `test`: column `kind`: the class `c` does not"),
        (
            "x,kind\n1,a\n2,b\n",
            "y,kind\n1,a\n",
            "test.csv: split `test`: there is no column `x`\n  the columns are `y`",
        ),
        ("x,klass\n1,a\n", None, "train.csv: split `train`: there is no column `kind`"),
        ("kind\na\nb\n", None, "there is no column to predict `kind` from: there is no other column"),
        ("x,y,kind\n1,5,a\n2,5,b\n", None, ""),
        ("y,kind\n5,a\n5,b\n", None, "`y` is ignored: all values are equal"),
        ("x,kind\n1,a\n2\n", None, "train.csv:3: split `train`: the row has 1 cell(s), and the header has 2 columns"),
        ("x,kind,kind\n1,a,b\n", None, "train.csv:1: two columns are called `kind`"),
        (
            'x,kind\n1,a\n"2,b\n3,a\n',
            None,
            "train.csv:3: split `train`: this row cannot be read: unexpected end of data",
        ),
        ("x,kind\n1,a\n2,a\n", None, "split `train`: column `kind`: every row has the class `a`"),
        ("x,kind\n1,\n2,\n", None, "split `train`: column `kind`: no row has a class"),
        ("x,kind\n", None, "train.csv: it has no rows"),
        ("x,kind", None, "train.csv: it has no rows"),
        ("", None, "train.csv: it has no rows"),
    ],
)
def test_errors_name_file_and_line(build, train: str, test: str | None, message: str) -> None:
    if message:
        assert message in message_of(build, train, test)
    else:
        build(train, test)


def test_stdin_is_a_training_file(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TRAIN.encode())))
    assert inputs(datasets.build(Component("table", {"train": "-", "target": "kind"}))).shape == (4, 4)


def test_folder_has_the_files_of_splits(tmp_path: Path) -> None:
    def folder_of(*names: str) -> Dataset:
        for old in tmp_path.iterdir():
            old.unlink()
        for number, name in enumerate(names):
            (tmp_path / name).write_text(f"x,kind\n{number},a\n{number + 1},b\n")
        return datasets.build(Component("table", {"target": "kind", "train": str(tmp_path)}))

    found = folder_of("TRAIN.csv", "valid.csv", "test.tsv", "README.txt", "codes.csv")
    assert list(found.splits) == ["train", "validation", "test"]
    assert len(folder_of("train-00000-of-00002.csv", "train-00001-of-00002.csv").splits["train"]) == 4
    assert list(folder_of("prices.csv", "README.txt").splits) == ["train"]
    with pytest.raises(TfloopError, match="no training file in this folder"):
        folder_of("a.csv", "test.csv")
    with pytest.raises(TfloopError, match="are both the train split"):
        folder_of("train.csv", "train.tsv")
    with use_context(BuildContext(split="test")):
        assert list(folder_of("a.csv", "test.csv").splits) == ["test"]


def test_other_data_is_a_file_or_the_test_table_of_a_folder(build, tmp_path: Path) -> None:
    document = json.loads(json.dumps(build(TRAIN).encoders.to_json()))

    def rows_of(*names: str) -> int:
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            (folder / name).write_text(TEST if name == "test.csv" else TRAIN)
        with use_context(BuildContext(encoders=document, data=folder)):
            return len(build(TRAIN).splits["data"])

    assert (rows_of("new.csv"), rows_of("train.csv", "test.csv")) == (4, TEST.count("\n") - 1)
    with pytest.raises(TfloopError, match="which table of this folder"):
        rows_of("a.csv", "b.csv")


def test_separator_is_no_word(build) -> None:
    with pytest.raises(TfloopError, match=r"`dataset\.separator` is `colon`") as caught:
        build(TRAIN, separator="colon")
    assert caught.value.code == ExitCode.USAGE


# Held-out rows

ROWS = [(day, f"p{day % 4}", float(day), f"w{day % 3}") for day in range(1, 41)]
DATED = "date,patient,x,word,kind\n" + "".join(
    f"2024-{1 + day // 28:02}-{1 + day % 28:02},{patient},{x},{word},{'ab'[day % 2]}\n"
    for day, patient, x, word in ROWS
)


def with_rules(build, text: str, own_test: str | None = None, **rules: object) -> tuple[Dataset, dict[str, list[int]]]:
    """Returns the dataset, and the numbers of the rows of each split that is held out of the training file."""
    rules = SplitRules(**{"test": 0.25, **rules})
    with use_context(BuildContext(rules=rules)):
        dataset = build(text, own_test)
    names = list(dataset.columns)
    columns = {name: dataset.columns[name]["train"] for name in names}
    labels = np.asarray(dataset.splits["train"].all_targets)
    candidates = Candidates(len(labels), list(dataset.splits), labels, columns, names)
    return dataset, {one.split: one.indices.tolist() for one in choose_held_out(candidates, rules)}


@pytest.mark.parametrize("rules", [{}, {"validation": 5}, {"group": "patient"}, {"split_by": "date"}])
def test_encoders_are_fitted_without_the_held_out_rows(build, rules: dict) -> None:
    dataset, held_out = with_rules(build, DATED, **rules)
    lines = DATED.splitlines()
    rows = set(range(40)).difference(*held_out.values())
    kept = [lines[0], *(lines[1 + row] for row in sorted(rows))]
    expected = {column.name: column for column in build("\n".join(kept) + "\n").encoders.columns}
    for column in dataset.encoders.columns:
        if column.name not in rules.values():
            assert column == expected[column.name]
    spoiled = [
        line if number - 1 in rows or not number else line.replace(",w", ",other") for number, line in enumerate(lines)
    ]
    changed, again = with_rules(build, "\n".join(spoiled) + "\n", **rules)
    same = replace(changed.encoders, notes=dataset.encoders.notes)  # the unknown words of held-out rows are counted
    assert (same, again) == (dataset.encoders, held_out)
    np.testing.assert_array_equal(inputs(changed)[sorted(rows)], inputs(dataset)[sorted(rows)])


def test_unknown_categories_of_held_out_rows_are_counted(build) -> None:
    rows = ["a,x\n"] * 6 + ["b,y\n"] * 6 + [f"{name},x\n" for name in "cdef"]
    rules = SplitRules(test=4, split_by="time")
    train = "time,color,kind\n" + "".join(f"{number},{row}" for number, row in enumerate(rows))
    note = "held-out rows: 4 value(s) of `color` do not occur in training, or only once, and share one level"
    with use_context(BuildContext(rules=rules)):
        encoders = build(train).encoders
    assert note in encoders.notes
    with use_context(BuildContext(rules=rules, encoders=encoders.to_json())):  # a resumed run
        assert build(train).encoders.notes == encoders.notes


def test_column_of_groups_or_times_is_no_input_unless_it_is_listed(build) -> None:
    dataset, held_out = with_rules(build, DATED, DATED, group="patient")
    patients = dataset.columns["patient"]["train"]
    assert not set(patients[held_out["test"]]) & set(np.delete(patients, held_out["test"]))
    assert dataset.columns["patient"]["test"].tolist() == [row[1] for row in ROWS]
    note = {column.name: column.note for column in dataset.encoders.columns}["patient"]
    assert note == "ignored: `group` names it; `columns` or `only` use it as an input too"
    with use_context(BuildContext(rules=SplitRules(test=0.25, group="patient"))):
        listed = build(DATED, columns={"patient": "category"})
        ignored = build(DATED, ignore=["patient"])
        missing = pytest.raises(TfloopError, match="`group: patient`: the dataset has no column `patient`")
        with missing as caught:
            build(TRAIN)
    assert "patient" in [column.name for column in listed.encoders.used]
    assert list(ignored.columns) == ["patient"]
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("times", "latest"),
    [
        (["02/01/2024", "12/31/2023", "01/15/2024", "NA"], [0, 2]),  # text would be 12/31/2023
        (["9", "10", "1000", ""], [1, 2]),
        (["2024-01-03T10:00", "2024-01-03T09:00", "2024-01-01", "2024-01-03T11:00"], [0, 3]),
        (["b", "a", "c", "?"], [0, 2]),
    ],
)
def test_text_of_split_by_is_ordered_as_dates_or_numbers(build, times: list[str], latest: list[int]) -> None:
    text = "when,x,kind\n" + "".join(f"{time},{n},{'ab'[n % 2]}\n" for n, time in enumerate(times))
    assert with_rules(build, text, test=2, split_by="when")[1]["test"] == latest


def test_large_whole_numbers_are_different_groups(build) -> None:
    base = 2**60
    text = "id,x,kind\n" + "".join(f"{base + n // 2},{n},{'ab'[n % 2]}\n" for n in range(8)) + ",9,a\n,9,b\n"
    dataset, _ = with_rules(build, text, group="id", test=2)
    assert len(set(group_numbers(dataset.columns["id"]["train"]).tolist())) == 5


@pytest.mark.parametrize("target", [[], ["kind", "kind"]])
def test_target_is_one_or_several_different_columns(build, target: list[str]) -> None:
    with pytest.raises(TfloopError, match=r"`dataset\.target` must be a column, or a list of different") as caught:
        build(TRAIN, target=target)
    assert caught.value.code == ExitCode.USAGE


def test_pattern_without_files_is_an_error() -> None:
    with pytest.raises(TfloopError, match=r"/nowhere/\*\.csv: this pattern finds no file") as caught:
        datasets.build(Component("table", {"target": "kind", "train": "/nowhere/*.csv"}))
    assert caught.value.code == ExitCode.DATA


def test_fingerprint_depends_on_names_of_classes_and_columns(build) -> None:
    first, same, classes, columns = (
        build(text).fingerprint for text in (TRAIN, TRAIN, TRAIN.replace(",b", ",c"), TRAIN.replace("color", "colour"))
    )
    assert first == same
    assert len({first, classes, columns}) == 3


def test_model_learns_from_a_table(build, trainer) -> None:
    random = np.random.default_rng(0)
    rows = [(random.standard_normal(), random.integers(20)) for _ in range(200)]
    text = "x,word,kind\n" + "".join(f"{x:.3f},w{n},{'high' if x + n / 5 > 2 else 'low'}\n" for x, n in rows)
    dataset = build(text)
    assert [column.ids for column in dataset.spec.columns] == [0, 21]
    for model in ("linear", "mlp"):
        *_, last = trainer(dataset, epochs=15, model=model, optimizer={"name": "adam", "learning_rate": 0.05}).fit()
        assert last.train["accuracy"] > 0.9


def vectors(*lengths: int) -> str:
    return "".join(
        json.dumps({"v": [row + number for number in range(length)], "kind": "ab"[row % 2]}) + "\n"
        for row, length in enumerate(lengths)
    )


def test_vectors_of_other_lengths_than_in_training_are_refused(build, tmp_path: Path) -> None:
    trained = cast(TableEncoders, build(vectors(3, 3, 3, 3), kind="jsonl").encoders)
    reader = TableInputs(trained, DialectOptions())
    for lengths in ((3, 3), (3, 4, 3), (4, 4), (2, 3)):
        (tmp_path / "new.jsonl").write_text(vectors(3, *lengths))
        (found,) = reader.read(find_files(str(tmp_path / "new.jsonl")), 10)
        wrong = {row: length for row, length in enumerate(lengths, 1) if length != 3}
        assert found.errors == {row: f"`v` has {length} values, and the run needs 3" for row, length in wrong.items()}
        records = [json.loads(line) for line in vectors(3, *lengths).splitlines()]
        assert reader.records(records, np.arange(len(records))).errors == found.errors
    assert "split `test`: `v` has more values than the 3 of training" in message_of(
        build, vectors(3, 3, 3, 3), vectors(4, 4), kind="jsonl"
    )
