"""Lines that are no rows: those of Orange below the header, and the header of ARFF files."""

from pathlib import Path

import pytest

from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.data.tables.csv_reading import CsvReader, null_texts
from tfloop_cli.engine.data.tables.dialect import DialectOptions, detect
from tfloop_cli.engine.data.tables.files import find_files
from tfloop_cli.engine.data.tables.preview import column_names, first_rows
from tfloop_cli.engine.data.tables.reading import Rows, read_rows
from tfloop_cli.engine.inference.rows import RowReader
from tfloop_cli.errors import TfloopError

ROWS = "63\tmale\ttrue\t0\n67\tfemale\tfalse\t1\n"
ARFF = """\
% A comment, with a comma
@RELATION people

@ATTRIBUTE 'body size'\tNUMERIC % in cm
@attribute "it's"  {no, 'yes, always'}
@ATTRIBUTE y { a, b }
@DATA
1.5,'yes, always',a
% 2.5,no,b
?,no,b
%
%
"""


def read(folder: Path, text: str, name: str, target: str) -> Rows:
    (folder / name).write_text(text)
    reader = CsvReader("train", DialectOptions(), [target], [target], null_texts(["?"]))
    return read_rows(str(folder / name), reader)


@pytest.mark.parametrize(
    ("types", "roles"),
    [
        ("c\td\td\td", "\t\t\tclass"),
        ("continuous\tmale female\tdiscrete\td", "\tmeta\tignore\tclass"),
        ("c\tstring\td\ttime", "\t\tname=value other=2\t"),
    ],
)
def test_lines_of_orange_below_the_header_are_no_rows(tmp_path: Path, types: str, roles: str) -> None:
    with collect_invalid_examples(True) as found:
        rows = read(tmp_path, f"age\tchest pain\tx\ty\n{types}\n{roles}\n{ROWS}1\t2\n", "a.tab", "y")
    assert rows.table.to_pydict() == {
        "age": [63, 67], "chest pain": ["male", "female"], "x": ["true", "false"], "y": ["0", "1"],
    }  # fmt: skip
    assert rows.notes == [f"{tmp_path}/a.tab: 2 line(s) below the header are no rows (key `header`)"]
    assert rows.place(0) == (f"{tmp_path}/a.tab", 4)
    assert [": the row has 2 cell(s)" in message and "a.tab:6" in message for message in found.messages()] == [True]
    assert first_rows([f"{tmp_path}/a.tab"], DialectOptions(), ["y"], 1)[0]["age"] == "63"


@pytest.mark.parametrize("rows", ["c\td\tc\td\n" + ROWS, "c\td\tc\td\nd\tc\td\t0\n", "7\t8\t9\td\n\t\t\tclass\n"])
def test_rows_that_look_like_types_are_rows(tmp_path: Path, rows: str) -> None:
    table = read(tmp_path, f"age\tchest pain\tx\ty\n{rows}{ROWS}", "a.tab", "y")
    assert table.table.num_rows == rows.count("\n") + 2


def test_arff_files_are_read(tmp_path: Path) -> None:
    rows = read(tmp_path, ARFF, "a.arff", "y")
    assert rows.table.to_pydict() == {"body size": [1.5, None], "it's": ["yes, always", "no"], "y": ["a", "b"]}
    assert (rows.notes, rows.place(1)) == ([], (f"{tmp_path}/a.arff", 10))
    assert column_names(f"{tmp_path}/a.arff") == ["body size", "it's", "y"]


def test_every_name_of_a_wide_arff_file_is_read(tmp_path: Path) -> None:
    names = [f"gene_{number}{'x' * 60}" for number in range(5000)]
    text = "@relation genes\n" + "".join(f"@attribute {name} numeric\n" for name in names) + "@data\n"
    table = read(tmp_path, text + ",".join(["1"] * 5000) + "\n" + ",".join(["2"] * 5000), "a.arff", names[0]).table
    assert (table.column_names, table.num_rows) == (names, 2)


def test_letters_in_a_csv_file_are_values(tmp_path: Path) -> None:
    rows = read(tmp_path, "x,y\nc,d\nc,m\ns,d\n", "letters.csv", "y")
    assert rows.table.to_pydict() == {"x": ["c", "c", "s"], "y": ["d", "m", "d"]}


def many(lines: str, count: int = 12) -> str:
    return "".join(f"{number}.5,{'ab'[number % 2]},{lines}{number}\n" for number in range(count))


@pytest.mark.parametrize("units", ["(m),,(USD)", "kg,,%", "[s],[-],[€]"])
def test_line_of_units_is_no_row(tmp_path: Path, units: str) -> None:
    rows = read(tmp_path, f"size,kind,price\n{units}\n{many('')}", "a.csv", "kind")
    assert rows.table.num_rows == 12
    assert rows.table.column("size").to_pylist()[0] == 0.5
    assert rows.notes == [f"{tmp_path}/a.csv: 1 line(s) below the header are no rows (key `header`)"]


@pytest.mark.parametrize("cells", ["m,,b", "(m),,(USD)", "(12),,(3)", "m,,"])  # words, as in the column; amounts
def test_other_lines_below_the_header_are_rows(tmp_path: Path, cells: str) -> None:
    below = many("") if cells in ("m,,b", "(12),,(3)") else ",a,y\nx,a,y\n" * 3
    assert read(tmp_path, f"size,kind,price\n{cells}\n{below}", "a.csv", "kind").notes == []


@pytest.mark.parametrize("total", ["Total,,66", "6.0,Average:,6", "grand total,,66"])
def test_last_line_of_totals_is_no_row(tmp_path: Path, total: str) -> None:
    rows = read(tmp_path, f"size,kind,price\n{many('')}{total}\n", "a.csv", "price")
    assert rows.table.num_rows == 12
    word = next(cell for cell in total.split(",") if cell[:1].isalpha())
    assert rows.notes == [f"{tmp_path}/a.csv: the last line, `{word}`, is no row (key `header`)"]


def test_word_of_totals_that_is_a_category_is_a_row(tmp_path: Path) -> None:
    text = "size,brand,price\n" + "1,Total,5\n2,Shell,6\n" * 4 + "3,Total,7\n"
    rows = read(tmp_path, text, "a.csv", "price")
    assert (rows.table.num_rows, rows.notes) == (9, [])


def test_word_of_totals_beside_other_numbers_is_a_row(tmp_path: Path) -> None:
    rows = read(tmp_path, f"size,kind,price\n{many('')}3.0,sum,66.5\n", "a.csv", "price")
    assert rows.table.num_rows == 13


@pytest.mark.parametrize(("last", "count"), [(",66,7", 12), (",66,8", 13), ("k,66,7", 13), (",66,", 13)])
def test_last_line_without_a_word_is_a_total_if_all_cells_are_sums(tmp_path: Path, last: str, count: int) -> None:
    body = "".join(f"page {number % 5},{number},{1 - number % 2 + (number == 0)}\n" for number in range(12))
    rows = read(tmp_path, f"page,views,y\n{body}{last}\n", "a.csv", "y")
    assert rows.table.num_rows == count
    note = f"{tmp_path}/a.csv: the last line, `(no word)`, is no row (key `header`)"
    assert rows.notes == [note] * (count == 12)


@pytest.mark.parametrize(
    ("numbers", "last"),
    [
        ([0] * 12, ",0,0"),
        ([*range(-5, 7), -6], ",0,0"),
        ([0] * 11 + [1], ",1,1"),
        ([0] * 12, "sum,3,0"),
        ([5] * 12, "mean,3,5"),
    ],
)
def test_last_line_is_a_row_if_it_is_a_total_by_chance(tmp_path: Path, numbers: list[int], last: str) -> None:
    body = "".join(f"k{row},{number},{number}\n" for row, number in enumerate(numbers))
    rows = read(tmp_path, f"x,a,y\n{body}{last}\n", "a.csv", "y")
    assert (rows.table.num_rows, rows.notes) == (len(numbers) + 1, [])


def test_each_of_several_files_may_end_with_a_total(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("kind,price\nk,0\nk,1\nk,2\nk,3\nk,4\nk,5\nTotal,15\n")
    rows = read_rows(str(tmp_path / "*.csv"), CsvReader("train", DialectOptions(), ["price"], ["price"], []))
    assert (rows.table.num_rows, len(rows.notes), rows.place(6)) == (12, 2, (f"{tmp_path}/b.csv", 2))


def test_header_in_the_first_line_leaves_all_lines_below_as_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"size,kind,price\nkg,,%\n{many('')}Total,,66\n")
    options = DialectOptions(header="first_line")
    rows = read_rows(str(tmp_path / "a.csv"), CsvReader("train", options, ["price"], ["price"], null_texts(["?"])))
    assert (rows.table.num_rows, rows.notes) == (14, [])


def test_pairs_of_numbers_beside_thousands_have_no_decimal_comma(tmp_path: Path) -> None:
    rows = read(tmp_path, 'amount,tags,y\n"1,234","1,2",a\n999,"3,5",b\n"2,345","1,3",b\n', "a.csv", "y")
    assert rows.notes == []
    assert rows.table.column("amount").to_pylist() == ["1,234", "999", "2,345"]
    for mark in (".", ","):  # other files have the mark of the training file
        trained = {"decimal": mark, "header": True, "quote": '"'}
        for content in (b'x,y\n"1,5",a\n"2,5",b\n', b'x,y\n"1,500",a\n"2,250",b\n'):
            assert detect(content, "a.csv", DialectOptions(), ["y"], trained).decimal == mark


MIXED = "a;b;c;y\n" + "".join(f"{number}.25;{number},5;{number};{'ab'[number % 2]}\n" for number in range(9))


def test_columns_of_one_file_may_have_different_decimal_marks(tmp_path: Path) -> None:
    rows = read(tmp_path, MIXED, "a.csv", "y")
    assert rows.table.column("a").to_pylist()[:2] == [0.25, 1.25]
    assert rows.table.column("b").to_pylist()[:2] == ["0.5", "1.5"]
    note = "numbers have a decimal comma in `b`, and a decimal point elsewhere (key `decimal`)"
    assert rows.notes == [f"{tmp_path}/a.csv: {note}"]
    facts = rows.parts[0].dialect.facts
    assert (facts["decimal"], facts["commas"]) == (".", ["b"])
    (tmp_path / "b.csv").write_text("a;b\n1;2.345,5\n2;3\n")  # of other files, whose numbers show no point
    reader = RowReader(DialectOptions(), facts, ["y"], [], [], ["a", "b"], ["a", "b"])
    (found,) = reader.read(find_files(str(tmp_path / "b.csv"))[0])
    assert found.table.to_pydict() == {"a": [1, 2], "b": ["2345.5", "3"]}


@pytest.mark.parametrize(
    ("text", "column", "value"),
    [
        (f"{MIXED}1.5;2,5;1,234;a\n", "c", "1,234"),
        (f"{MIXED}1.5;2,5;2.345;a\n", "c", "2.345"),
        ("a;b;y\n" + "1.234;5,678;a\n2.345;6,789;b\n" * 3, "a", "2.345"),
        ("a;y\n" + "1.5;a\n2,5;b\n" * 3, "a", "a decimal comma (`2,5`) and a decimal point (`1.5`)"),
    ],
)
def test_numbers_with_an_open_decimal_mark_are_refused(tmp_path: Path, text: str, column: str, value: str) -> None:
    with pytest.raises(TfloopError) as caught:
        read(tmp_path, text, "a.csv", "y")
    assert f"column `{column}` has " in str(caught.value)
    assert value in str(caught.value)
    assert f"decimal: {{{column}: ','}}" in str(caught.value)
    for mark in (".", ","):
        options = DialectOptions(decimal=dict.fromkeys("abc", mark))
        rows = read_rows(str(tmp_path / "a.csv"), CsvReader("train", options, ["y"], ["y"], []))
        assert ("," in str(rows.table.column(column).to_pylist())) >= (mark == ",")


@pytest.mark.parametrize("cells", ["1.5;1,234", "1,5;1.234", "1,5;1", "1.5;1"])
def test_files_with_one_decimal_mark_are_read_as_before(tmp_path: Path, cells: str) -> None:
    rows = read(tmp_path, "a;b;y\n" + f"{cells};a\n" * 6, "a.csv", "y")
    assert rows.table.column("a").to_pylist() == [1.5] * 6
    assert rows.table.column("b").to_pylist() == [cells[4:] if len(cells) > 5 else 1] * 6
