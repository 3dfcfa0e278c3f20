"""Tables as other tools write them: in archives, databases and forms of JSON; and folders of tables."""

import gzip
import json
import lzma
import sqlite3
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, feather, orc, parquet

from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.files import find_splits
from tfloop_cli.engine.data.tables.folders import labelled_splits
from tfloop_cli.engine.data.tables.preview import column_names, first_rows, has_images
from tfloop_cli.engine.data.tables.reading import Rows, read_rows
from tfloop_cli.errors import ExitCode, TfloopError

CSV = "x,y\n1,a\n2,b\n"
ROWS = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]
VALUES = {"x": [1, 2], "y": ["a", "b"]}


def read(path: Path, target: str = "y") -> Rows:
    return read_rows(str(path), CsvReader("train", DialectOptions(), [target], [target], ()))


def test_table_in_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/table.csv", CSV)
        archive.writestr("__MACOSX/folder/._table.csv", "x")
    (tmp_path / "a.csv.xz").write_bytes(lzma.compress(CSV.encode()))
    (tmp_path / "gzip.csv").write_bytes(gzip.compress(CSV.encode()))
    (tmp_path / "plain.csv.gz").write_text(CSV)
    for name in ("a.zip", "a.csv.xz", "gzip.csv", "plain.csv.gz"):
        assert read(tmp_path / name).table.to_pydict() == VALUES
        assert column_names(str(tmp_path / name)) == ["x", "y"]
        assert read(tmp_path / name).place(1) == (str(tmp_path / name), 3)


def test_binary_tables_are_read(tmp_path: Path) -> None:
    table = pa.table(VALUES)
    orc.write_table(table, tmp_path / "a.orc")
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as stream:
        stream.write_table(table)
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute('CREATE TABLE "my table" (x INTEGER, y TEXT)')
        database.executemany('INSERT INTO "my table" VALUES (?, ?)', [(1, "a"), (2, "b")])
    parquet.write_table(table, tmp_path / "parquet.csv")  # the content decides
    for name in ("a.orc", "a.arrow", "a.db", "parquet.csv"):
        assert read(tmp_path / name).table.to_pydict() == VALUES
        assert column_names(str(tmp_path / name)) == ["x", "y"]


def test_database_of_several_tables_is_an_error_with_the_command(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE one (x)")
        database.execute("CREATE TABLE two (x)")
    with pytest.raises(TfloopError, match=r'has `one`, `two`\n  sqlite3 -header -csv .*a\.db "SELECT') as caught:
        read(tmp_path / "a.db")
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1, "data": ROWS},
        VALUES,
        {"x": {"0": 1, "1": 2}, "y": {"0": "a", "1": "b"}},  # pandas by default
        {"columns": ["x", "y"], "index": [0, 1], "data": [[1, "a"], [2, "b"]]},
        {"0": ROWS[0], "1": ROWS[1]},
        {"schema": {"fields": [{"name": "x"}]}, "data": ROWS},
        {"type": "FeatureCollection", "features": [{"geometry": None, "properties": row} for row in ROWS]},
    ],
)
def test_forms_of_json_are_tables(tmp_path: Path, document: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert read(tmp_path / "a.json").table.to_pydict() == VALUES
    assert first_rows([str(tmp_path / "a.json")], DialectOptions(), (), 1) == [{"x": "1", "y": "a"}]


def test_lines_of_json_in_a_json_file_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, ROWS)))
    rows = read(tmp_path / "a.json")
    assert rows.table.to_pydict() == VALUES
    assert rows.place(1) == (str(tmp_path / "a.json"), 2)


@pytest.mark.parametrize(
    "document",
    [
        [[1, "a"], [2, "b"]],
        {"x": [1, 2], "y": ["a"]},
        {"x": 1},
        5,
        [],
        {"data": [{"x": 1}, 2]},
        {"train": [{"x": 1}], "test": [{"x": 2}]},
        {"type": "FeatureCollection", "features": [1]},
    ],
)
def test_json_without_rows_is_an_error(tmp_path: Path, document: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(TfloopError, match="there are no rows in it"):
        read(tmp_path / "a.json")


def test_wide_tables_are_read_in_time_that_grows_with_their_columns(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(8000)]
    (tmp_path / "a.csv").write_text(f"{','.join(names)}\n{','.join(['1'] * 8000)}\n")
    parquet.write_table(pa.table({name: [1] for name in names}), tmp_path / "a.parquet")
    start = time.process_time()
    assert [read(tmp_path / name, "c0").table.num_columns for name in ("a.csv", "a.parquet")] == [8000, 8000]
    assert time.process_time() - start < 2  # 0.4 s; several seconds if each column is searched among all


def test_vectors_in_lines_of_json_are_no_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"v": [0.1, 0.2, 0.3, 0.4], "y": "a"}\n' * 3)
    assert first_rows([str(tmp_path / "a.jsonl")], DialectOptions(), (), 1) == [
        {"v.0": "0.1", "v.1": "0.2", "v.2": "0.3", "v.3": "0.4", "y": "a"}
    ]


def test_test_file_whose_first_line_lacks_the_target_is_a_split(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"x": 1, "y": "a"}\n' * 3)
    (tmp_path / "test.jsonl").write_text('{"x": 1}\n{"x": 2, "y": "a"}\n')
    assert list(labelled_splits(find_splits(tmp_path), ["y"])[0]) == ["train", "test"]


def test_only_the_first_usual_target_must_be_in_a_split(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label,category\na b,x,z\n")
    (tmp_path / "test.csv").write_text("text,label\na b,x\n")
    assert list(labelled_splits(find_splits(tmp_path), ["label", "category"], several=False)[0]) == ["train", "test"]


def test_column_of_objects_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**VALUES, "of": [{"z": 1}, {"z": 2}]}))
    assert read(tmp_path / "a.json").table.to_pydict() == VALUES | {"of.z": [1, 2]}


def test_places_of_geojson_are_columns(tmp_path: Path) -> None:
    feature = {"geometry": {"type": "Point", "coordinates": [8.5, 47.4]}, "properties": {"y": "a"}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert read(tmp_path / "a.geojson").table.to_pydict() == {"longitude": [8.5], "latitude": [47.4], "y": ["a"]}


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.int64())])
def test_vectors_are_columns(tmp_path: Path, kind: pa.DataType) -> None:
    parquet.write_table(
        pa.table({"v": pa.array([[1, 2], None, [3, 4]], kind), "y": ["a", "b", "a"]}), tmp_path / "a.parquet"
    )
    found = read(tmp_path / "a.parquet").table
    assert found.to_pydict() == {"v.0": [1, None, 3], "v.1": [2, None, 4], "y": ["a", "b", "a"]}


def test_lists_of_different_lengths_are_left_as_they_are(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"v": [[1.0], [1.0, 2.0]], "y": ["a", "b"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").table.column_names == ["v", "y"]


def test_table_with_images_is_one_of_images(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"image": [{"bytes": b"x", "path": "1.png"}], "label": [0]}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"x": [1], "label": [0]}), tmp_path / "b.parquet")
    assert has_images(str(tmp_path / "a.parquet"))
    assert not has_images(str(tmp_path / "b.parquet"))


def test_test_file_without_the_target_is_no_split(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "test.csv").write_text("x\n3\n")
    (tmp_path / "validation.csv").write_text(CSV)
    splits, (note,) = labelled_splits(find_splits(tmp_path), ["y"])
    assert list(splits) == ["train", "validation"]
    assert note == (
        f"{tmp_path}/test.csv is not the test split, since it has no column `y`: `tfloop predict last "
        f"{tmp_path}/test.csv` predicts it"
    )


def test_folder_of_parts_suggests_a_pattern(tmp_path: Path) -> None:
    for year in (2019, 2020):
        (tmp_path / f"{year}.csv").write_text(CSV)
    with pytest.raises(TfloopError, match=r"only `2019\.csv`, `2020\.csv`\n.*table are a pattern: '.*\*\.csv'"):
        find_splits(tmp_path)


def test_parts_of_spark_are_one_table(tmp_path: Path) -> None:
    for part in range(2):
        parquet.write_table(pa.table({"x": [part], "y": ["a"]}), tmp_path / f"part-0000{part}-c7.snappy.parquet")
    (files,) = find_splits(tmp_path).values()
    rows = read_rows([str(file) for file in files], CsvReader("train", DialectOptions(), ["y"], ["y"], ()))
    assert rows.table.to_pydict() == {"x": [0, 1], "y": ["a", "a"]}


FEATURES = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
CARD = """---
dataset_info:
- config_name: default
  features:
  - name: label
    dtype:
      class_label:
        names:
          '0': neg
          '1': pos
---
# A data set
"""


@pytest.mark.parametrize("where", ["metadata", "info", "card"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv"])
def test_numbers_of_classes_have_the_names_of_hugging_face(tmp_path: Path, where: str, suffix: str) -> None:
    if (where, suffix) == ("metadata", "csv"):
        return
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    if where == "metadata":
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})
    (tmp_path / "data").mkdir()
    file = tmp_path / f"data/train-00000-of-00001.{suffix}"
    {"parquet": parquet.write_table, "csv": csv.write_csv, "arrow": feather.write_feather}[suffix](table, file)
    if where == "info":
        (tmp_path / "data/dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    elif where == "card":
        (tmp_path / "README.md").write_text(CARD)
    rows = read(file, "label")
    assert rows.table.column("label").to_pylist() == ["pos", "neg", None]
    assert rows.notes == ["classes of `label` have the names in Hugging Face's description"]
    reader = CsvReader("train", DialectOptions(), ["label"], [], (), names_classes=False)
    assert [int(number) for number in read_rows(str(file), reader).table.column("label").to_pylist()] == [1, 0, -1]


@pytest.mark.parametrize("content", ["---\n- x\n---\n", "---\n\ta: [\n---\n", "text", CARD.replace("'1'", "'7'")])
def test_descriptions_that_do_not_fit_are_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "README.md").write_text(content)
    (tmp_path / "dataset_info.json").write_text('{"features": {"label": {"names": ["only one"]}}}')
    (tmp_path / "a.csv").write_text("x,label\n1,0\n2,1\n")
    rows = read(tmp_path / "a.csv", "label")
    assert (rows.table.column("label").to_pylist(), rows.notes) == (["0", "1"], [])
