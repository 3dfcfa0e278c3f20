"""Reading of tables: formats, compression, several files, and what is detected about a file."""
# ruff: noqa: RUF001 (characters of other scripts)

import bz2
import gzip
import io
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.data.tables.csv_reading import CsvReader, null_texts
from tfloop_cli.engine.data.tables.dialect import DialectOptions, detect
from tfloop_cli.engine.data.tables.files import find_files
from tfloop_cli.engine.data.tables.preview import column_names, first_rows
from tfloop_cli.engine.data.tables.reading import Rows, read_rows
from tfloop_cli.engine.inference.rows import RowReader
from tfloop_cli.errors import ExitCode, TfloopError

PLAIN = "x,y\n1,a\n2,b\n"
VALUES = {"x": [1, 2], "y": ["a", "b"]}


def read(names: object, target: str = "y", **options: str) -> Rows:
    names = [str(name) for name in names] if isinstance(names, list) else str(names)
    nulls = null_texts(["NA"])
    return read_rows(names, CsvReader("train", DialectOptions(**options), [target], [target], nulls))


def read_text(folder: Path, text: str | bytes, name: str = "a.csv", **options: str) -> Rows:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(folder / name, **options)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.json", "a.jsonl", "a.parquet", "a.feather"])
def test_every_format_is_read(tmp_path: Path, name: str, suffix: str) -> None:
    rows = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]
    buffer = io.BytesIO()
    if name.endswith("parquet"):
        pa.parquet.write_table(pa.table(VALUES), buffer)
    elif name.endswith("feather"):
        pa.feather.write_feather(pa.table(VALUES), buffer)
    contents = {
        "a.csv": PLAIN, "a.tsv": PLAIN.replace(",", "\t"), "a.txt": PLAIN.replace(",", "  "),
        "a.json": json.dumps(rows), "a.jsonl": "\n".join(map(json.dumps, rows)),
    }  # fmt: skip
    content = contents[name].encode() if name in contents else buffer.getvalue()
    pack = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": lambda raw: pa.compress(raw, "zstd", asbytes=True),
    }
    assert read_text(tmp_path, pack[suffix](content), name + suffix).table.to_pydict() == VALUES


def test_several_files_are_one_table(tmp_path: Path) -> None:
    for name, text in (("b1", "x,y\n3,c\n"), ("a1", PLAIN), ("c", "y,x\nd,4.5\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    rows = read([tmp_path / "?1.csv", tmp_path / "c.csv"])
    assert rows.table.to_pydict() == {"x": [1, 2, 3, 4.5], "y": ["a", "b", "c", "d"]}
    assert [rows.place(row) for row in (1, 2, 3)] == [
        (str(tmp_path / "a1.csv"), 3), (str(tmp_path / "b1.csv"), 2), (str(tmp_path / "c.csv"), 2),
    ]  # fmt: skip
    assert rows.notes == []
    (tmp_path / "c.csv").write_text("z,y\n1,d\n")
    notes = read([tmp_path / "?1.csv", tmp_path / "c.csv"]).notes
    assert notes == [
        f"column `{name}` is not in {n} of 3 files: its values are missing there" for name, n in (("x", 1), ("z", 2))
    ]


def test_target_is_in_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(PLAIN)
    (tmp_path / "b.csv").write_text("3,c\n4,d\n")  # without a header
    with pytest.raises(TfloopError, match=r"b\.csv: there is no column `y`, as in .*a\.csv"):
        read([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (PLAIN, '{"x": 1, "y": "a"}\n{"x": 2, "y": "b"}', '[{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]'):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        assert read("-").table.to_pydict() == VALUES


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("x;y\n1;a\n2;b\n", {}),
        ("x|y\n1|a\n2|b\n", {}),
        ("  x y\n  1   a\n 22 b\n".replace("22", "2"), {}),
        ("\ufeffx,y\r\n1,a\r\n\r\n2,b\r\n", {}),
        ("\n\nx,y\n1,a\n2,b\n", {}),
        ("'x','y'\n1,'a'\n2,'b'\n", {}),
        ("x#y\n1#a\n2#b\n", {"separator": "#"}),
        ("x,y\n% a comment, with a comma, or two\n1,a\n2,b\n", {"comment": "%"}),
        ("1,a\n2,b\n", {"header": "none", "target": "column_2"}),
        ("x,y\r1,a\r2,b\r", {}),
        (PLAIN.encode("utf-16"), {}),
    ],
)
def test_dialect_is_detected_or_set(tmp_path: Path, text: str | bytes, options: dict[str, str]) -> None:
    assert list(read_text(tmp_path, text, **options).table.to_pydict().values()) == list(VALUES.values())


def test_file_without_header_has_generated_names(tmp_path: Path) -> None:
    rows = read_text(tmp_path, "5.1,3,a\n4.9,2,b\n", target="column_3")
    assert rows.table.to_pydict() == {"column_1": [5.1, 4.9], "column_2": [3, 2], "column_3": ["a", "b"]}
    assert rows.notes == [f"{tmp_path}/a.csv: no header, the columns are column_1 to column_3 (key `header`)"]
    # A header of numbers is one, if it has the target.
    assert read_text(tmp_path, "y,1990,1991\na,1,2\n").table.column_names == ["y", "1990", "1991"]


def test_spaces_around_names_are_no_part_of_them_unless_the_target_has_them(tmp_path: Path) -> None:
    for target in ("y", " y "):
        assert read_text(tmp_path, "x , y \n1,a\n", target=target).table.column_names == ["x", target]


def test_first_line_with_equal_cells_is_no_header(tmp_path: Path) -> None:
    rows = read_text(tmp_path, "p,p,a\ne,p,b\n", target="column_3")
    assert rows.table.to_pydict() == {"column_1": ["p", "e"], "column_2": ["p", "p"], "column_3": ["a", "b"]}


@pytest.mark.parametrize("above", ["# Source: x", "A title", "569,30,malignant,benign,1", "Title;\n\nby: me"])
@pytest.mark.parametrize("broken", ["", "1,2\n"])
def test_lines_above_the_table_are_not_read(tmp_path: Path, above: str, broken: str) -> None:
    body = "".join(f"{number},{number % 7},a\n" for number in range(30))
    with collect_invalid_examples(True) as found:
        rows = read_text(tmp_path, f"{above}\nid,x,y\n{body}{broken}5,6,b\n")
    assert rows.table.column_names == ["id", "x", "y"]
    assert rows.table.column("id").to_pylist() == [*range(30), 5]
    lines = above.count("\n") + 1
    assert rows.notes == [f"{tmp_path}/a.csv: {lines} line(s) above the table are not read (key `header`)"]
    assert rows.place(0) == (f"{tmp_path}/a.csv", lines + 2)
    assert [f"a.csv:{lines + 32}: " in message for message in found.messages()] == [True] * bool(broken)
    headless = read_text(tmp_path, f"{above}\n{body}", target="column_3")
    assert headless.table.column("column_1").to_pylist() == [*range(30)]


def rows_with(separator: str) -> str:
    names = separator.join(["x", "text", "y"])
    return names + "".join(f'\n{number}{separator}"a, b; c"{separator}{"ab"[number % 2]}' for number in range(9))


@pytest.mark.parametrize("separator", ["~", "^", "¦", "§", ":", "::", "||", "\x01"])
def test_uncommon_separators_are_found_where_all_rows_fit(tmp_path: Path, separator: str) -> None:
    text = rows_with(separator)
    rows = read_text(tmp_path, text)
    assert rows.table.to_pydict()["x"] == [*range(9)]
    assert rows.table.to_pydict()["text"] == ["a, b; c"] * 9
    assert rows.notes == [f"{tmp_path}/a.csv: cells are separated by {separator!r} (key `separator`)"]
    assert rows.place(8) == (f"{tmp_path}/a.csv", 10)
    assert first_rows([f"{tmp_path}/a.csv"], DialectOptions(), ["y"], 1) == [{"x": "0", "text": "a, b; c", "y": "a"}]
    with collect_invalid_examples(True) as found:
        given = read_text(tmp_path, f"# z\n{text}\n7{separator}a\n", separator=separator, comment="#")
    assert (given.table.num_rows, given.notes) == (9, [])
    assert [": the row has 2 cell(s)" in message and "a.csv:12" in message for message in found.messages()] == [True]


@pytest.mark.parametrize("separator", ["~", "^", "¦", "::", ":"])
def test_uncommon_separator_that_a_row_lacks_is_not_used(tmp_path: Path, separator: str) -> None:
    with pytest.raises(TfloopError, match="which character separates several columns"):
        read_text(tmp_path, f"{rows_with(separator)}\n7{separator}a\n".replace("a, b; c", "word")).require(["y"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("begin\n10:30:00\n11:45:30\n", ["begin"]),
        ("a:b:c\n10:30:00\n11:45:30\n", ["a:b:c"]),
        ("begin y\n10:30:00 1\n11:45:30 2\n", ["begin", "y"]),
        ("a:b:c,y:z:w\n1:2:3,4:5:6\n", ["a:b:c", "y:z:w"]),
        ("a~b;c~d\n1~2;3~4\n", ["a~b", "c~d"]),
        ("a^b|c\nd^e|f\n", ["a^b", "c"]),
        ("key:value\na:1\nb:2\n", ["key:value"]),
        ("x^2 y^2 z\n1^2 5^3 0\n2^2 6^3 1\n", ["x^2", "y^2", "z"]),
        ("urn:isbn:id pages\nurn:isbn:100 7\nurn:isbn:101 8\n", ["urn:isbn:id", "pages"]),
        ("id: name: y\n1: a: 2\n2: b: 3\n", ["id", "name", "y"]),
        ("u0:x::/root:/sh\nu1:x::/home:/sh\n", ["u0:x::/root:/sh"]),
    ],
)
def test_uncommon_separators_do_not_split_times_or_cells_of_usual_ones(
    tmp_path: Path, text: str, names: list[str]
) -> None:
    assert read_text(tmp_path, text, target=names[0]).table.column_names == names


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"'])
def test_line_of_excel_names_the_separator(tmp_path: Path, first: str) -> None:
    rows = read_text(tmp_path, f"{first}\nx;z;y\n" + "1,5;a, b;a\n2;c;b\n" * 3)
    assert rows.table.to_pydict()["x"] == [1.5, 2] * 3
    assert rows.notes[0] == f"{tmp_path}/a.csv: 1 line(s) above the table are not read (key `header`)"
    assert rows.place(0) == (f"{tmp_path}/a.csv", 3)


def test_spaces_in_cells_of_fixed_width_are_refused(tmp_path: Path) -> None:
    text = "id  name          y\n" + "1   Ann Lee       a\n2   John Smith    b\n" * 3
    with pytest.raises(TfloopError, match=r"a\.csv:1: columns of fixed width have spaces in their cells"):
        read_text(tmp_path, text)
    assert read_text(tmp_path, text, separator="space").table.column_names == ["rownames", "id", "name", "y"]
    printed = "   x    y\n1  1.5  a\n2  2.5  b\n"  # by R
    assert read_text(tmp_path, printed).table.to_pydict() == {"rownames": [1, 2], "x": [1.5, 2.5], "y": ["a", "b"]}


def test_damaged_header_is_no_line_above_the_table(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="the row has 4 cell"):
        read_text(tmp_path, "x;z,y\n" + "1,2,3,a\n" * 40)


def test_separators_at_the_ends_of_rows_are_an_empty_column(tmp_path: Path) -> None:
    table = read_text(tmp_path, "x,y\n1,a,\n2,b,\n").table
    assert table.to_pydict() == VALUES | {"column_3": [None, None]}
    assert read_text(tmp_path, "x,y,\n1,a,\n2,b,\n").table.column_names == ["x", "y", "column_3"]


def test_very_long_lines_are_read(tmp_path: Path) -> None:
    names = [*(f"{'a long name ' * 8}{number:06}" for number in range(12_000)), "y"]
    row = ",".join(["0.5"] * 12_000)
    table = read_text(tmp_path, ",".join(names) + f"\n{row},a\n{row},b\n").table  # the header has 1.2 MB
    assert (table.num_columns, table["y"].to_pylist()) == (12_001, ["a", "b"])


def test_missing_first_name_is_that_of_the_row_names(tmp_path: Path) -> None:
    assert read_text(tmp_path, '"y" "x"\n"r 1" "a" 1\n"r 2" "b" 2\n', "a.txt").table.to_pydict() == {
        "rownames": ["r 1", "r 2"], "y": ["a", "b"], "x": [1, 2],
    }  # fmt: skip


def test_decimal_comma_is_detected(tmp_path: Path) -> None:
    rows = read_text(tmp_path, "x;y\n1,5;a\n-2,25;b\n")
    assert rows.table.column("x").to_pylist() == [1.5, -2.25]
    assert "decimal comma" in rows.notes[0]
    thousands = read_text(tmp_path, "x;y\n1,500;a\n2,250;b\n").table.column("x")
    assert thousands.to_pylist() == ["1,500", "2,250"]
    assert "decimal comma" in read_text(tmp_path, "x;y\n1.234,5;a\n2.500,5;b\n").notes[0]
    assert read_text(tmp_path, 'x,y\n"1,5",a\n"2",b\n', decimal=",").table["x"].to_pylist() == [1.5, 2]
    assert read_text(tmp_path, "x;y\n1,500;a\n2,250;b\n", decimal=",").table.column("x").to_pylist() == [1.5, 2.25]

    quoted = 'x,y\n"1,5",a\n"0,123",b\n2,c\n'
    assert read_text(tmp_path, quoted).table["x"].to_pylist() == [1.5, 0.123, 2]
    assert read_text(tmp_path, quoted.replace("2,c", "2.5,c")).table["x"].to_pylist() == ["1,5", "0,123", "2.5"]
    assert read_text(tmp_path, 'x,y\n"1,500",a\n"2,250",b\n').table["x"].to_pylist() == ["1,500", "2,250"]


def test_points_between_thousands_are_no_decimal_points() -> None:
    grouped = b"a;b\n1.500;3,5\n2;1.200,75\n"
    assert detect(grouped, "x.csv", DialectOptions(), ()).decimal == ","
    assert detect(b"a;b\n1.500;3,5\n2.25;1,5\n", "x.csv", DialectOptions(), ()).decimal == "."
    trained = {"decimal": ",", "header": True}
    assert detect(b"a;b\n1.500;2.500\n", "x.csv", DialectOptions(), (), trained).decimal == ","
    assert detect(b"a;b\n1.5;2.5\n", "x.csv", DialectOptions(), (), trained).decimal == "."


def test_quotation_mark_of_a_small_file_is_that_of_training() -> None:
    text = b"a,b\n'x',1\n"
    assert detect(text, "x.csv", DialectOptions(), ()).quote == "'"
    for quote in ("'", '"'):
        trained = {"decimal": ".", "header": True, "quote": quote}
        assert detect(text, "x.csv", DialectOptions(), (), trained).quote == quote
    tabs = b'a\tb\n"x"\t1\n'
    for quote in ('"', ""):
        trained = {"decimal": ".", "header": True, "quote": quote}
        assert detect(tabs, "x.tsv", DialectOptions(), (), trained).quote == quote


def test_quotes_in_a_tsv_file_are_characters_unless_cells_are_quoted(tmp_path: Path) -> None:
    assert read_text(tmp_path, 'x\ty\n5" pipe\ta\n"odd\tb\n', "a.tsv").table["x"].to_pylist() == ['5" pipe', '"odd']
    assert read_text(tmp_path, 'x\ty\n"a, b"\ta\n"c"\tb\n', "a.tsv").table["x"].to_pylist() == ["a, b", "c"]
    # A quoted cell may have line breaks and tabs.
    lines = read_text(tmp_path, 'x\ty\n"a\nb\tc ""d"""\ta\ne\tb\n', "a.tab")
    assert (lines.table["x"].to_pylist(), lines.place(1)[1]) == (['a\nb\tc "d"', "e"], 4)
    unclosed = "x\ty\n" + '"odd\tb\n' + "even\ta\n" * 30
    assert read_text(tmp_path, unclosed, "a.tsv").table["x"].to_pylist() == ['"odd', *["even"] * 30]


def test_tsv_file_without_tabs_has_another_separator(tmp_path: Path) -> None:
    assert read_text(tmp_path, PLAIN, "a.tsv").table.to_pydict() == VALUES


def test_bytes_that_are_not_utf8_are_read_as_windows_text(tmp_path: Path) -> None:
    early = "x,y\n1,größe\n".encode("cp1252")
    late = ("x,y\n" + "1,a\n" * 90_000 + "2,größe\n").encode("cp1252")  # beyond the sample
    for text in (early, late):
        rows = read_text(tmp_path, text)
        assert rows.table["y"][-1].as_py() == "größe"
        assert rows.notes == [f"{tmp_path}/a.csv: not UTF-8, read as cp1252 (key `encoding`)"]
        with pytest.raises(TfloopError, match=rf"a\.csv:{text.count(10)}: split `train`: byte 0xf6 is not UTF-8"):
            read_text(tmp_path, text, encoding="utf-8")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp932", "氏名,y\n田中太郎,東京都\n鈴木,大阪府\n"),
        ("gb18030", "姓名,y\n张伟,北京市\n李娜,上海市\n"),
        ("cp949", "이름,y\n김철수,서울특별시\n"),
        ("cp1251", "имя,y\nИван,Москва\nПётр,Казань\n"),
    ],
)
def test_other_scripts_are_not_read_as_windows_text(tmp_path: Path, encoding: str, text: str) -> None:
    with pytest.raises(TfloopError, match=f"it is not UTF-8; `{encoding}` reads {text[0]}") as error:
        read_text(tmp_path, text.encode(encoding))
    assert error.value.code is ExitCode.DATA
    assert f"`dataset.encoding={encoding}`" in str(error.value)
    assert read_text(tmp_path, text.encode(encoding), encoding=encoding).table.column_names == [text.split(",")[0], "y"]


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", ["«été»", "À…", "œuvre"]),
        ("cp1252", ["5\xa0£", "6\xa0‰", "7\xa0½", "«\xa08\xa0»", "§§ 9"]),
        ("cp1252", ["5\xa0°C", "6\xa0µg/m³", "¿¡Sí!?", "Il dit «\xa0été\xa0» à Orléans"]),
        ("cp1254", ["Muğla", "şöğüt", "çağrı"]),
    ],
)
def test_signs_and_letters_beside_ascii_are_windows_text(tmp_path: Path, encoding: str, words: list[str]) -> None:
    text = "x,y\n" + "".join(f"{word},{number}\n" for number, word in enumerate(words * 10))
    rows = read_text(tmp_path, text.encode(encoding))
    assert rows.table["x"][0].as_py() == words[0].encode(encoding).decode("cp1252")
    assert rows.notes == [f"{tmp_path}/a.csv: not UTF-8, read as cp1252 (key `encoding`)"]


def test_spaces_before_quotation_marks_are_no_part_of_cells(tmp_path: Path) -> None:
    text = 'name,  x, y\n"Bolt, U.", "JAM", 9.6\n"Kim ""K"" L.",  "KOR",  10\nLee,   "a, ""b""", 11\n'
    table = read_text(tmp_path, text).table
    assert table["name"].to_pylist() == ["Bolt, U.", 'Kim "K" L.', "Lee"]
    assert table["x"].to_pylist() == ["JAM", "KOR", 'a, "b"']
    inner = 'x,y\n"a, ""b""",1\n"c, ""d""",2\n'
    assert read_text(tmp_path, inner).table["x"].to_pylist() == ['a, "b"', 'c, "d"']


def test_commands_read_quotation_marks_and_encodings_as_training_does(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("size, kind, y\n" + '5, "a, b", no\n6, "c", yes\n' * 9)
    facts = {"decimal": ".", "header": True, "quote": '"'}
    reader = RowReader(DialectOptions(), facts, ["y"], ["size", "kind"], ["kind"], ["size"], ["size", "kind"])
    (found,) = reader.read(find_files(str(file))[0])
    assert found.table.slice(0, 2).to_pydict() == {"size": [5, 6], "kind": ["a, b", "c"]}
    assert column_names(str(file)) == ["size", "kind", "y"]
    assert first_rows([str(file)], DialectOptions(), ["y"], 1) == [{"size": "5", "kind": "a, b", "y": "no"}]
    file.write_text("size,kind,y\n" + "5,Москва,no\n6,Казань,yes\n" * 9, "cp1251")
    with pytest.raises(TfloopError, match="`cp1251` reads Москва"):
        list(reader.read(find_files(str(file))[0]))


@pytest.mark.parametrize(
    ("file", "line"), [("a.csv", 'he said, "hello" and left;{}'), ("a.tsv", 'he said, "hello" and left\t{}'),
                       ("a.tsv", '["a", "b"]\t{}'), ("a.csv", '{{"a", "b"}};{}')],
)  # fmt: skip
def test_quotation_marks_in_texts_and_lists_are_kept(tmp_path: Path, file: str, line: str) -> None:
    separator = line[-3]
    text = f"x{separator}y\n" + "".join(f"{line.format(number)}\n" for number in range(30))
    table = read_text(tmp_path, text, file).table
    assert table.to_pydict() == {"x": [line.format("")[:-1]] * 30, "y": list(map(str, range(30)))}


def test_codes_are_text(tmp_path: Path) -> None:
    table = read_text(tmp_path, "zip,hex,x,y\n007,0x1F,0.5,a\n12,3,0,b\n").table
    assert table.to_pydict() == {"zip": ["007", "12"], "hex": ["0x1F", "3"], "x": [0.5, 0], "y": ["a", "b"]}


def test_ragged_rows_are_invalid_examples(tmp_path: Path) -> None:
    text = 'x,y\n"1\n1",a\n2\n3,b,c\n4,d\n'
    with pytest.raises(TfloopError, match=r"a\.csv:4: split `train`: the row has 1 cell\(s\)") as caught:
        read_text(tmp_path, text)
    assert caught.value.code == ExitCode.DATA
    with collect_invalid_examples(skip=True) as found:
        rows = read_text(tmp_path, text)
    assert rows.table.to_pydict() == {"x": ["1\n1", "4"], "y": ["a", "d"]}
    assert found.counts == {"train": 2}
    assert rows.place(1)[1] == 6


def test_json_lines_of_several_types_are_read_and_located(tmp_path: Path) -> None:
    lines = ['{"x": 1, "y": "a"}', '{"x": "two", "y": "b", "z": {"u": 1}}', "", "[1]", '{"y": "c"}', '{"y": ']
    with pytest.raises(TfloopError, match=r"a\.jsonl:4: split `train`: this line is not a JSON object"):
        read_text(tmp_path, "\n".join(lines), "a.jsonl")
    with collect_invalid_examples(skip=True) as found:
        rows = read_text(tmp_path, "\n".join(lines), "a.jsonl")
    assert rows.table.to_pydict() == {"x": ["1", "two", None], "y": ["a", "b", "c"], "z.u": [None, 1, None]}
    assert found.counts == {"train": 2}
    assert rows.place(2)[1] == 5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.docx", "", "a.docx: this is a document\n  save it as .csv"),
        ("a.json", "{}", "there are no rows in it"),
        ("a.json", "[\n{\n]", "a.json:3: it is not JSON"),
        ("a.parquet", "text", "a.parquet: it cannot be read"),
    ],
)
def test_unreadable_files_are_errors(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(TfloopError) as caught:
        read_text(tmp_path, text, name)
    assert message in str(caught.value)
    assert caught.value.code == ExitCode.DATA


def test_columns_of_one_name_get_numbers_in_every_format(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3]), pa.array(["a"])], ["x", "x", "x.1", "y"])
    pa.feather.write_feather(table, tmp_path / "a.feather")
    for rows in (read(tmp_path / "a.feather"), read_text(tmp_path, "x,x,x.1,y\n1,2,3,a\n", "a.csv")):
        assert rows.table.to_pydict() == {"x": [1], "x.2": [2], "x.1": [3], "y": ["a"]}
        assert rows.notes[0].endswith("several columns are called `x`; all but the first have a number, as in `x.1`")
    pa.feather.write_feather(table.rename_columns(["x", "a", "y", "y"]), tmp_path / "a.feather")
    with pytest.raises(TfloopError, match=r"a\.feather: two columns are called `y`"):
        read(tmp_path / "a.feather")


def test_carriage_return_in_a_cell_is_no_line_end(tmp_path: Path) -> None:
    rows = read_text(tmp_path, b"x,y\n1,a\rb\n2,c\n")
    assert rows.table.to_pydict() == {"x": [1, 2], "y": ["a b", "c"]}
    assert rows.place(1)[1] == 3
    assert read_text(tmp_path, b"x,y\r1,a\r2,c\r").table.to_pydict() == {"x": [1, 2], "y": ["a", "c"]}


def test_missing_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(PLAIN)
    with pytest.raises(TfloopError, match=r"this file does not exist\n  did you mean `.*/train.csv`\?"):
        read(tmp_path / "trian.csv")
    with pytest.raises(TfloopError, match="this pattern finds no file"):
        read(tmp_path / "*.tsv")


# Excel

CONTENT_TYPES = """<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>
</Types>"""
RELATIONS = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>"""
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def write_excel(path: Path, *sheets: list[list[object]], merged: str = "") -> Path:
    """Writes sheets of numbers, texts and empty cells (None); `merged` is a range of cells such as A2:A4."""
    merge = f'<mergeCells count="1"><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
    numbers = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="Sheet {number}" sheetId="{number}" r:id="r{number}"/>' for number in numbers)
    links = "".join(
        f'<Relationship Id="r{number}" Type="{OFFICE}/worksheet" Target="worksheets/{number}.xml"/>'
        for number in numbers
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", CONTENT_TYPES)
        root = f'<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", RELATIONS.format(root))
        book = f'<workbook xmlns="{SHEETS}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        archive.writestr("xl/workbook.xml", book)
        archive.writestr("xl/_rels/workbook.xml.rels", RELATIONS.format(links))
        for number, rows in zip(numbers, sheets, strict=True):
            lines = "".join(
                f'<row r="{row}">{"".join(map(excel_cell, [f"{letter}{row}" for letter in "ABCDE"], cells))}</row>'
                for row, cells in enumerate(rows, 1)
            )
            sheet = f'<worksheet xmlns="{SHEETS}"><sheetData>{lines}</sheetData>{merge}</worksheet>'
            archive.writestr(f"xl/worksheets/{number}.xml", sheet)
    return path


def excel_cell(place: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def test_first_sheet_of_an_excel_file_is_read(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    rows = [["x", "z", "w", "y"], [1.5, 3, "n/a", "a"], [None, 4, 2, "b"], [2, 5, 7.5, None]]
    found = read(write_excel(tmp_path / "a.xlsx", rows, [["x"], [1]]))
    assert found.table.to_pydict() == {
        "x": [1.5, None, 2.0], "z": [3, 4, 5], "w": ["n/a", "2", "7.5"], "y": ["a", "b", None],
    }  # fmt: skip
    assert found.notes == [f"{tmp_path / 'a.xlsx'}: only the first sheet, `Sheet 1`, is used, not `Sheet 2`"]
    assert found.place(1) == (str(tmp_path / "a.xlsx"), 3)
    (tmp_path / "b.xlsx").write_bytes(b"PK")
    with pytest.raises(TfloopError, match=r"b\.xlsx: it cannot be read") as caught:
        read(tmp_path / "b.xlsx")
    assert caught.value.code == ExitCode.DATA


def test_lines_above_the_header_of_a_sheet_are_not_read(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    title = [["Sales of 2020", None, None], [None, None, "in USD"]]
    body = [["x", "z", "y"], *([number, number / 2, "ab"[number % 2]] for number in range(8)), ["Total", 14, None]]
    found = read(write_excel(tmp_path / "a.xlsx", [*title, *body]))
    assert found.table.column_names == ["x", "z", "y"]
    assert found.table.column("z").to_pylist() == [number / 2 for number in range(8)]
    assert found.place(0) == (str(tmp_path / "a.xlsx"), 4)
    assert found.notes == [
        f"{tmp_path / 'a.xlsx'}: 2 line(s) above the table are not read (key `header`)",
        f"{tmp_path / 'a.xlsx'}: the last line, `Total`, is no row (key `header`)",
    ]


@pytest.mark.parametrize(
    ("merged", "places"), [("A3:A5", "p q q q r"), ("A3:B3", "p q None None r"), ("", "p q None None r")]
)
def test_merged_cells_have_their_value_in_each_row(tmp_path: Path, merged: str, places: str) -> None:
    pytest.importorskip("python_calamine")
    body = [["place", "x"], ["p", 1], ["q", 2], [None, 3], [None, 4], ["r", 5]]
    rows = read(write_excel(tmp_path / "a.xlsx", body, merged=merged), "x")
    assert " ".join(map(str, rows.table.column("place").to_pylist())) == places
    assert len(rows.notes) == (merged == "A3:A5")


def test_header_in_the_first_line_of_a_sheet_is_no_title(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    path = write_excel(tmp_path / "a.xlsx", [["x", None, None, None], *([[1, 2, 3, 4]] * 6)])
    found = read_rows(str(path), CsvReader("train", DialectOptions(header="first_line"), ["x"], (), ()))
    assert (found.table.column_names, found.table.num_rows) == (["x", "column_2", "column_3", "column_4"], 6)


def test_excel_without_its_package_names_the_command(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(TfloopError, match=r"a\.xlsx: it needs the package .* `pip install python-calamine`") as caught:
        read(write_excel(tmp_path / "a.xlsx", [["x"]]))
    assert caught.value.code == ExitCode.DATA
