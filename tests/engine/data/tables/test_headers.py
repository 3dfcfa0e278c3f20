"""Headers of several lines: names that are joined, units and descriptions that are no rows."""

from pathlib import Path

import pytest

from tests.engine.data.tables.test_reading import write_excel
from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.files import find_files
from tfloop_cli.engine.data.tables.preview import column_names, first_rows
from tfloop_cli.engine.data.tables.reading import Rows, read_rows
from tfloop_cli.engine.inference.rows import RowReader

NUMBERS = "".join(f"{number}.5,{number},{2 * number}\n" for number in range(6))
NAMED = "".join(f"r{number % 3},{number}.5,{number},{2 * number}\n" for number in range(6))
GROUPS = "price,price,size\nmean,max,\n"


def read(folder: Path, text: str, *targets: str, name: str = "a.csv", **options: str) -> Rows:
    (folder / name).write_text(text)
    return read_path(folder / name, *targets, **options)


def read_path(path: Path, *targets: str, **options: str) -> Rows:
    return read_rows(str(path), CsvReader("train", DialectOptions(**options), targets, (), ["NA"]))


@pytest.mark.parametrize(
    ("text", "names", "lines"),
    [
        (GROUPS + NUMBERS, ["price mean", "price max", "size"], 2),
        (f"{GROUPS}USD,USD,m\n{NUMBERS}", ["price mean", "price max", "size"], 3),
        # pandas: an index without and with a name, and columns whose second level are numbers
        (f",price,price,size\n,mean,max,sum\n{NAMED}", ["rownames", "price mean", "price max", "size sum"], 2),
        (f",price,price,size\n,mean,max,sum\nplace,,,\n{NAMED}", ["place", "price mean", "price max", "size sum"], 3),
        (f"stat,price,price,size\nyear,1,2,1\nplace,,,\n{NAMED}", ["place", "price 1", "price 2", "size 1"], 3),
        (f"a,x,x,x\nb,u,u,v\nc,1,2,1\nplace,,,\n{NAMED}", ["place", "x u 1", "x u 2", "x v 1"], 4),
        (f"Unnamed: 0_level_0,x,x,y\nk,u,v,w\n{NAMED}", ["k", "x u", "x v", "y w"], 2),
        # spreadsheets: a merged cell has a value in its first column only; years are names
        (f",2019,,Size\nplace,mean,max,\n{NAMED}", ["place", "2019 mean", "2019 max", "Size"], 2),
    ],
)
def test_names_are_joined_from_several_lines(tmp_path: Path, text: str, names: list[str], lines: int) -> None:
    rows = read(tmp_path, text)
    assert rows.table.column_names == names
    assert rows.table.column(-1).to_pylist() == [0, 2, 4, 6, 8, 10]
    assert rows.place(0) == (f"{tmp_path}/a.csv", 1 + lines)
    shown = next(name for name in names if " " in name)
    joined = lines - text.startswith(f"{GROUPS}USD")
    assert rows.notes[0] == (
        f"{tmp_path}/a.csv: the names of columns are joined from {joined} lines, as in `{shown}` (key `header`)"
    )
    assert column_names(f"{tmp_path}/a.csv") == names
    assert first_rows([f"{tmp_path}/a.csv"], DialectOptions(), (), 1)[0][names[-1]] == "0"


def test_column_to_predict_decides_how_many_lines_are_joined(tmp_path: Path) -> None:
    text = f"price,size,age\nmean,max,min\n{NUMBERS}"
    assert read(tmp_path, text, "price").table.column_names == ["price", "size", "age"]
    assert read(tmp_path, text, "price").notes == [
        f"{tmp_path}/a.csv: 1 line(s) below the header are no rows (key `header`)"
    ]
    assert read(tmp_path, text, "price mean").table.column_names == ["price mean", "size max", "age min"]
    assert read(tmp_path, GROUPS + NUMBERS, "size").table.column_names == ["price mean", "price max", "size"]
    ungrouped = f"x,,\na,b,y\n{NUMBERS}"
    assert read(tmp_path, ungrouped, "y").table.column_names == ["x a", "x b", "y"]


@pytest.mark.parametrize("line", ["kg,cm,years", "kilograms,inches,years", "kg,,", ",Deg C,W/m^2"])
def test_line_of_units_or_descriptions_is_no_row(tmp_path: Path, line: str) -> None:
    rows = read(tmp_path, f"weight,height,age\n{line}\n{NUMBERS}", "age")
    assert rows.table.to_pydict()["height"] == [0, 1, 2, 3, 4, 5]
    assert rows.notes == [f"{tmp_path}/a.csv: 1 line(s) below the header are no rows (key `header`)"]


def test_three_lines_of_qualtrics_with_line_breaks(tmp_path: Path) -> None:
    labels = '"Start Date","How much?\nIn USD","Why, then?",Group'
    ids = ",".join(f'"{{""ImportId"":""QID{number}""}}"' for number in range(4))
    body = "".join(f'2024-01-0{number} 10:30:00,{number},"so, {number}",{"ab"[number % 2]}\n' for number in range(1, 7))
    rows = read(tmp_path, f"StartDate,Q1,Q2,Q3\n{labels}\n{ids}\n{body}", "Q3")
    assert rows.table.to_pydict()["Q1"] == [1, 2, 3, 4, 5, 6]
    assert rows.table.to_pydict()["Q2"][0] == "so, 1"
    assert (len(rows.notes), rows.place(0)) == (1, (f"{tmp_path}/a.csv", 5))


@pytest.mark.parametrize(
    "text",
    [
        f"x,y,z\nunknown,missing,\n{NUMBERS}",
        f"x,y,z\nunknown,unknown,unknown\n{NUMBERS}",
        f"x,y,z\nrefused,,absent\n{NUMBERS}",
        f"x,y,z\nNA,N/A,?\n{NUMBERS}",
        "x,y,z\nlow,cold,7\n" + NUMBERS,
        "x,y,z\nlow,cold,no\nlow,1,2\n" + NUMBERS,
    ],
)
def test_words_in_the_first_row_do_not_make_it_a_header(tmp_path: Path, text: str) -> None:
    rows = read(tmp_path, text, "z")
    assert rows.table.num_rows == text.count("\n") - 1
    assert rows.notes == []


def test_key_decides_about_the_lines_of_the_header(tmp_path: Path) -> None:
    assert read(tmp_path, GROUPS + NUMBERS, header="first_line").table.num_rows == 7
    words = "a,a,b\nx,y,z\nk,l,m\n"
    assert read(tmp_path, words, header="two_lines").table.to_pydict() == {"a x": ["k"], "a y": ["l"], "b z": ["m"]}


def test_other_files_have_a_header_of_several_lines_only_if_the_training_file_has(tmp_path: Path) -> None:
    def columns(text: str, trained: dict) -> list[str]:
        (tmp_path / "b.csv").write_text(text)
        reader = RowReader(DialectOptions(), trained, ["size"], [], [], [], ["price mean"])
        return [
            str(row) for row in next(reader.read(find_files(str(tmp_path / "b.csv"))[0])).table.column(0).to_pylist()
        ]

    rows = read(tmp_path, GROUPS + NUMBERS)
    facts = rows.parts[0].dialect.facts
    assert (facts["lines"], facts["joined"]) == (2, 2)
    assert columns("price,price\nmean,max\n7,8\n", facts) == ["7"]
    assert columns("price mean,price max\n7,8\n", facts) == ["7"]
    plain = read(tmp_path, "price mean,b,size\n1,2,3\n").parts[0].dialect.facts
    assert plain == {"decimal": ".", "header": True, "quote": '"'}
    assert columns(f"price mean,b,size\nlow,high,all\n{NUMBERS}", plain)[:2] == ["low", "0.5"]


@pytest.mark.parametrize("title", [[], [["Sales of 2020", None, None, None, None]]])
def test_groups_above_the_names_of_a_sheet(tmp_path: Path, title: list) -> None:
    pytest.importorskip("python_calamine")
    lines = [[None, "Price", None, "Size", None], ["place", "mean", "max", "mean", "max"]]
    body = [[f"r{number}", number / 2, number, 2 * number, 7] for number in range(8)]
    rows = read_path(write_excel(tmp_path / "a.xlsx", [*title, *lines, *body]))
    assert rows.table.column_names == ["place", "Price mean", "Price max", "Size mean", "Size max"]
    assert rows.table.column("Size mean").to_pylist() == [2 * number for number in range(8)]
    assert rows.place(0) == (str(tmp_path / "a.xlsx"), 3 + len(title))
    assert len(rows.notes) == 1 + len(title)


def test_key_decides_about_the_header_of_a_sheet(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    path = write_excel(tmp_path / "a.xlsx", [["a", "a"], ["x", "y"], ["k", "l"]])
    assert read_path(path, header="two_lines").table.to_pydict() == {"a x": ["k"], "a y": ["l"]}
    assert read_path(path, header="none").table.to_pydict() == {
        "column_1": ["a", "x", "k"],
        "column_2": ["a", "y", "l"],
    }
    assert read_path(path, header="none").place(1) == (str(path), 2)
