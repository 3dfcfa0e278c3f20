"""Files and folders of labelled texts: columns, encodings, quotes, and invalid rows."""

import bz2
import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.texts.building import TextOptions, build_texts
from tfloop_cli.engine.data.texts.reading import TARGETS, Columns, find_splits, read_texts, texts_of
from tfloop_cli.errors import ExitCode, TfloopError


def rows_of(*paths: Path, **dialect: str):
    options = DialectOptions(free_text=True, **dialect)
    return read_texts([str(path) for path in paths], CsvReader("train", options, (*TARGETS, "text"), (), ()))


def columns_of(path: Path, text: str = "", target: str = "") -> Columns:
    return Columns(text, (target,) if target else ()).of(rows_of(path))


def read(path: Path, text: str = "", target: str = "", **dialect: str) -> list[tuple[str, str]]:
    """Returns the texts and targets of all rows."""
    rows = rows_of(path, **dialect)
    columns = Columns(text, (target,) if target else ()).of(rows)
    return list(zip(texts_of(rows, columns.text), texts_of(rows, columns.targets[0]), strict=True))


def labels_of(path: Path) -> list[str]:
    """Returns the class of each usable row."""
    encoders, splits, _ = build_texts({"train": [str(path)]}, TextOptions(classes=True))
    return [encoders.target.class_names[label] for label in splits["train"][2]]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


ROWS = [('fine,\n"good"', "5"), ("bad", "10")]
CSV = '\ufeffreview,id,stars\r\n"fine,\n""good""",1,5\r\nbad,2,10\r\n\r\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV.encode()),
        ("a.CSV", CSV.removeprefix("\ufeff").encode("utf-16")),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("a.csv.bz2", bz2.compress(CSV.encode())),
        ("a.csv", CSV.replace(",", ";").replace("fine;", "fine,").encode()),
        ("a.jsonl", b'\xef\xbb\xbf{"review": "fine,\\n\\"good\\"", "stars": 5}\n\n{"review": "bad", "stars": 10}'),
    ],
)
def test_files_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    assert read(write(tmp_path / name, content), "review", "stars") == ROWS


def test_parquet_is_read(tmp_path: Path) -> None:
    columns = {"review": ["a", None, "b"], "stars": [5, 10, None], "words": [["a"], [], []]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", "review", "stars") == [("a", "5"), ("", "10"), ("b", "")]


def test_quoted_cell_over_several_lines_in_tsv_names_the_key(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'label\ttext\nx\t"one\ntwo\nthree"\ny\tfour\n')
    with pytest.raises(TfloopError, match=r"a\.tsv:3: .* 1 cell\(s\)[^:]*\n.*set the key `quote`: '\"'"):
        read(path)
    assert read(path, quote='"') == [("one\ntwo\nthree", "x"), ("four", "y")]


def test_quotation_mark_in_tsv_is_a_character(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n5" disk\tx\n"so"\ty\n')
    assert read(path) == [('5" disk', "x"), ('"so"', "y")]
    assert read(write(path, 'text\tlabel\n"a\tb"\tx\n'), quote='"') == [("a\tb", "x")]
    assert read(write(tmp_path / "a.csv", 'text,label\n5" disk,x\n'), quote="none") == [('5" disk', "x")]


@pytest.mark.parametrize(
    ("header", "text", "target", "columns"),
    [
        ("label,text", "", "", ("text", "label")),
        ("body,class", "", "", ("body", "class")),
        ("text,lang", "", "", ("text", "lang")),
        ("lang,body", "", "lang", ("body", "lang")),
        ("a,text,target", "", "", ("text", "target")),
        ("label,target,b", "b", "", ("b", "label")),
        ("a,b", "", "", "set `dataset.target` to one of `a`, `b`; if these are no names, set `header: none`"),
        ("a,b,label", "", "", "which column is the text?"),
        ("text,label", "", "labels", "did you mean `label`?"),
    ],
)
def test_columns_follow_from_the_names(
    tmp_path: Path, header: str, text: str, target: str, columns: tuple[str, str] | str
) -> None:
    path = write(tmp_path / "a.csv", f"{header}\n1,2,3"[: len(header) + 2 * header.count(",") + 2] + "\n")
    if isinstance(columns, tuple):
        assert columns_of(path, text, target) == Columns(columns[0], (columns[1],))
        return
    with pytest.raises(TfloopError) as caught:
        read(path, text, target)
    assert caught.value.code == ExitCode.DATA
    assert columns in str(caught.value)


def test_classes_are_composed(tmp_path: Path) -> None:
    assert labels_of(write(tmp_path / "a.csv", "text,label\na,e\u0301\nb,é\nc,x\n")) == ["é", "é", "x"]


def test_row_without_a_target_is_skipped_and_counted(tmp_path: Path) -> None:
    for name, content in (("a.csv", "text,label\na,1\nb,\nc,2\n"), ("a.jsonl", '{"label": 1}\n{}\n{"label": 2}\n')):
        path = write(tmp_path / name, content.replace("{", '{"text": "a", ').replace(", }", "}"))
        with collect_invalid_examples(skip=False) as found:
            assert labels_of(path) == ["1", "2"]
        assert found.counts == {"train": 1}
        assert (
            f"{name}:{2 if 'json' in name else 3}: split `train`: column `label`: no target" in found.reasons["train"]
        )


HEAD = b"text,label\n"


@pytest.mark.parametrize(
    ("name", "content", "rows", "reasons"),
    [
        ("a.csv", HEAD + b'a,1\n"b,2\nc,3\nd,"4"\n', "acd", ":3: split `train`: this row cannot be read"),
        ("a.csv", HEAD + b'a,1\n"b,2\nc,3\n', "ac", ":3: split `train`: this row cannot be read"),
        ("a.csv", HEAD + b'"a\n",1\nb\nc,3\n', "ac", ":4: split `train`: the row has 1 cell(s), and the header has 2"),
        ("a.csv", HEAD + b"a,1\nb\xe9,2\nc,3\n", "ac", ":3: split `train`: byte 0xe9 is not UTF-8"),
        ("a.csv", HEAD + b'a,1\n"b\n\xe9",2\nc,3\n', "ac", ":3: split `train`: byte 0xe9 is not UTF-8"),
        ("a.tsv", b"text\tlabel\na\t1\nb\t2\t3\nc\t3\n", "ac", ":3: split `train`: the row has 3 cell(s)"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text"\n{"text": "c", "label": 1}\n', "ac", ":2: split"),
        (
            "a.jsonl",
            b'{"text": ["a"], "label": 1}\n{"text": "c", "label": 1}\n',
            "c",
            ":1: split `train`: column `text` is a",
        ),
        ("a.jsonl", b'[1]\n{"text": "c", "label": 1}\n', "c", ":1: split `train`: this line is not a JSON object"),
        ("a.jsonl", b'{"text": "\xe9", "label": 1}\n{"text": "c", "label": 1}\n', "c", ":1: split `train`: byte 0xe9"),
    ],
)
def test_invalid_row_is_skipped_alone(tmp_path: Path, name: str, content: bytes, rows: str, reasons: str) -> None:
    path = write(tmp_path / name, content)
    with collect_invalid_examples(skip=True) as found:
        read_rows = [text.strip() for text, _ in read(path)]
    lost = [row for row in read_rows if row not in rows]
    assert ("".join(read_rows), lost) == (rows, [])
    assert reasons in found.reasons["train"]
    with pytest.raises(TfloopError) as caught:
        read(path)
    assert (caught.value.code, reasons in str(caught.value)) == (ExitCode.DATA, True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,text\nx,1\n", "a.csv:1: two columns are called `text`"),
        ("a.csv", "text,label\n", "a.csv: it has no rows"),
        ("a.csv", "", "a.csv: it has no rows"),
        ("a.csv", b"t\xe9xt,label\nx,1\n", "a.csv:1: byte 0xe9 is not UTF-8"),
        ("a.jsonl", '{"text": ["x"], "label": 1}\n', "a.jsonl: split `train`: column `text` has values of type list"),
        ("a.parquet", "x", "a.parquet: it cannot be read"),
        ("a.csv.gz", b"\x1f\x8bx", "a.csv.gz: it cannot be read"),
        ("a.doc", "x", "a.doc: this is a document"),
    ],
)
def test_unreadable_file_is_an_error(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(TfloopError) as caught:
        read(write(tmp_path / name, content))
    assert caught.value.code == ExitCode.DATA
    assert message in str(caught.value)
    with pytest.raises(TfloopError, match=r"missing\.csv: it cannot be read: this file does not exist"):
        read(tmp_path / "missing.csv")


def test_latin_1_is_read_where_it_is_named(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.csv", "text,label\ncafé,x\n".encode("latin-1")), encoding="latin-1") == [
        ("café", "x")
    ]
    for wrong in ({"encoding": "utf-9"}, {"quote": "''"}, {"separator": "colon"}):
        with pytest.raises(TfloopError) as caught:
            DialectOptions(**wrong).check()
        assert caught.value.code == ExitCode.USAGE


def test_folders_are_classes_and_splits(tmp_path: Path) -> None:
    write(tmp_path / "Train/pos/b.txt", "good\n")
    write(tmp_path / "Train/pos/deeper/a.TXT", "\ufefffine")
    write(tmp_path / "Train/neg/a.txt", "bad")
    write(tmp_path / "Train/neg/._a.txt", "x")
    write(tmp_path / "Train/__MACOSX/a.txt", "x")
    write(tmp_path / "Train/none/readme.md", "x")
    write(tmp_path / "dev/pos/a.txt", "c")
    write(tmp_path / "TEST/pos/a.txt", "line\ncaf\xe9".encode("latin-1"))
    splits = find_splits(tmp_path)
    (tmp_path / "only").mkdir()
    (tmp_path / "only/test").symlink_to(tmp_path / "TEST")
    with pytest.raises(TfloopError, match="it has `test`, but no `train`"):
        find_splits(tmp_path / "only")
    assert find_splits(tmp_path / "only", training=False) == {"test": tmp_path / "only/test"}
    assert splits == {"train": tmp_path / "Train", "validation": tmp_path / "dev", "test": tmp_path / "TEST"}
    assert read(splits["train"]) == [("bad", "neg"), ("good\n", "pos"), ("fine", "pos")]
    assert find_splits(tmp_path / "Train") == {"train": tmp_path / "Train"}
    with pytest.raises(TfloopError, match=r"a\.txt:2: split `train`: byte 0xe9 is not UTF-8"):
        read(splits["test"])
    assert read(splits["test"], encoding="latin-1") == [("line\ncafé", "pos")]
    with pytest.raises(TfloopError, match=r"there are no texts in it\n.*find .* -exec mv {} {}.txt"):
        read(tmp_path / "Train/none")


def test_files_of_every_format_are_read_together(tmp_path: Path) -> None:
    """Several files and patterns; the last format is that of the issue, separated by semicolons."""
    columns = {"text": ["a"], "label": [1]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "1.parquet")
    pyarrow.feather.write_feather(pyarrow.table(columns), str(tmp_path / "2.feather"))
    write(tmp_path / "3.json", '[{"text": "b", "label": 2}]')
    write(tmp_path / "4.txt", "text\tlabel\nc\t1\n")
    with pyarrow.output_stream(tmp_path / "5.csv.zst", compression="zstd") as stream:
        stream.write(b"text;label\nd, e;2\n")
    rows = rows_of(tmp_path / "[1-4].*", tmp_path / "5.csv.zst")
    assert texts_of(rows, "text") == ["a", "a", "b", "c", "d, e"]
    assert texts_of(rows, "label") == ["1", "1", "2", "1", "2"]


def test_file_without_a_header_has_generated_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "good,1\nbad,2\n# no row\n")
    assert read(path, "column_1", "column_2", header="none", comment="#") == [("good", "1"), ("bad", "2")]


def test_row_may_be_longer_than_a_block(tmp_path: Path) -> None:
    long = "word " * 600_000  # 3 MB
    path = write(tmp_path / "a.csv", "text,label\na,1\n" * 1 + "b,2\n" * 70_000 + f'"{long}",3\n"c\nd",4\n')
    rows = read(path)
    assert [len(rows), *rows[-2:]] == [70_003, (long, "3"), ("c\nd", "4")]
    texts = json.dumps({"text": long, "label": 3}) + '\n{"text": "x", "label": 1}\n'
    assert read(write(tmp_path / "a.jsonl", texts)) == [(long, "3"), ("x", "1")]


def test_quote_that_swallows_rows_in_the_middle_is_found(tmp_path: Path) -> None:
    """pyarrow reads `b` to `d` as one valid row; only the row with the quote is lost."""
    path = write(tmp_path / "a.csv", HEAD + b'a,1\n"b,2\nc,3\nd,4"x,5\ne,6\n')
    with collect_invalid_examples(skip=True) as found:
        assert [text for text, _ in read(path)] == ["a", "c", "e"]
    assert found.counts == {"train": 2}  # `d` has three cells
    assert "a.csv:3: split `train`: this row cannot be read" in found.reasons["train"]


def test_times_and_lists_in_json_are_no_texts_of_another_form(tmp_path: Path) -> None:
    rows = [{"text": "2020-01-02", "label": "2020-01-03 04:05:06"}] * 2
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read(path)[0] == ("2020-01-02", "2020-01-03 04:05:06")


@pytest.mark.parametrize(
    ("column", "numbers", "are_classes"),
    [
        ("stars", list(range(20)), True),
        ("stars", list(range(21)), False),
        ("Label", list(range(21)), True),
        ("class", list(range(1, 78)), True),
        ("label", [number for number in range(30) if number != 7], False),
        ("stars", [0.5, 1], False),
    ],
)
def test_whole_numbers_are_classes_if_few_or_ids_of_classes(
    tmp_path: Path, column: str, numbers: list[float], are_classes: bool
) -> None:
    rows = "".join(f"a,{number}\n" for number in numbers) * 5
    encoders, splits, _ = build_texts(
        {"train": [str(write(tmp_path / "a.csv", f"text,{column}\n{rows}"))]}, TextOptions(Columns("text", (column,)))
    )
    assert encoders.target.class_names == (tuple(map(str, numbers)) if are_classes else ())
    assert splits["train"][2].tolist()[: len(numbers)] == (list(range(len(numbers))) if are_classes else numbers)


def test_json_numbers_are_written_as_in_json(tmp_path: Path) -> None:
    rows = [{"text": 1.5, "label": True}, {"text": None, "label": 1}]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read(path) == [("1.5", "true"), ("", "1")]
