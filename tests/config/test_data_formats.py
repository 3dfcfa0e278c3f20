"""Formats of data files: the content decides, and what cannot be read is refused with what to do."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
from empty_files import touch

from tfloop_cli.config.data_formats import COMPRESSED, TABLE_KINDS, table_kind
from tfloop_cli.config.data_paths import dataset_of, is_data, split_tables
from tfloop_cli.config.refusals import refusal
from tfloop_cli.config.unreadable_formats import ARCHIVES, SUFFIXES
from tfloop_cli.errors import ExitCode, TfloopError

CSV = b"age,kind\n31,a\n52,b\n"
SVM = b"1 1:5.1 3:1.4\n0 1:4.9\n1 2:3.0 3:1.3\n"


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_dot_", ".").replace("_in_", "/"), content)
    return buffer.getvalue()


def tarred(content: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in names or ["a.csv"]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", CSV, "csv"),
        ("a.test", CSV, "csv"),
        ("a.csv", b"PAR1\x15\0", "parquet"),
        ("a.csv", b"PAR1,PAR2\n1,2\n", "csv"),
        ("a.csv", b"ORCID,age\na,31\n", "csv"),
        ("a.csv", b'[{"age": 31}]', "json"),
        ("a.txt", b'{"age": 31}\n', "json"),
        ("a.xls", CSV, "csv"),
        ("a.csv", gzip.compress(CSV, mtime=0), "csv"),
        ("a.data.bz2", bz2.compress(CSV), "csv"),
        ("a.csv.xz", lzma.compress(CSV), "csv"),
        ("a", zipped(a_dot_csv=CSV), "csv"),
        ("a.csv.zip", zipped(a_dot_csv=CSV, __MACOSX_in_a_dot_csv=b""), "csv"),
        ("a.csv", zipped(xl_in_workbook_dot_xml=b""), "excel"),
        ("a.db", b"SQLite format 3\0", "sqlite"),
        ("a.arrow", b"\xff\xff\xff\xff\0", "feather"),
        ("a.csv", "age,kind\n31,a\n".encode("utf-16"), "csv"),
        ("a.zip", zipped(a_dot_csv=CSV, b_dot_csv=CSV), None),
        ("a.zip", zipped(a_dot_csv_dot_gz=gzip.compress(CSV)), None),
        ("a.tar.gz", tarred(CSV), None),
        ("a.csv", tarred(CSV), None),
        ("a.csv", b"<!DOCTYPE html>", None),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", None),
        ("a.txt", SVM, None),
        ("a.txt", b"| age | kind |\n|-----|:----:|\n| 31 | a |\n", None),
        ("a.txt", b"+-----+------+\n| age | kind |\n", None),
        ("a.dat", b"\x80\x04\x95\0\0\0", None),
        ("a.pkl", CSV, None),
    ],
)
def test_content_decides_the_kind_of_a_table(tmp_path: Path, name: str, content: bytes, kind: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    assert table_kind(str(tmp_path / name)) == kind


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pkl", b"\x80\x04\0", "a pickle file, which may run any code when it is opened\n  if you trust it"),
        ("a.csv", b"\x80\x04\x95\0", "a pickle file"),
        ("a.dta", b"", "a Stata file\n  convert it: python -c \"import pandas; pandas.read_stata('a.dta').to_parquet("),
        ("a.sav", b"", "an SPSS file"),
        ("a.sas7bdat", b"", "a SAS file"),
        ("a.rds", b"", "an R file\n  convert it: Rscript -e 'write.csv(readRDS(\"a.rds\"), \"a.csv\""),
        ("a.mat", b"", "a MATLAB file"),
        ("a.h5", b"", "an HDF5 file"),
        ("a.csv", b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
        ("a.svm", b"", "LibSVM text\n  convert it: python -c \"import numpy; from sklearn"),
        ("a.txt", SVM, "LibSVM text"),
        ("a.csv", b"\n<html>", "HTML\n  convert it: python -c \"import pandas; pandas.read_html('a.csv')[0].to_csv('a"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, not the data\n  get"),
        ("a.txt", b"| x | y |\n|---|--:|\n| 1 | 2 |\n", "a table in Markdown or of a terminal"),
        ("a.tfrecord", b"", "a file of TFRecords"),
        ("a.wav", b"", "sound"),
        ("a.zip", zipped(a_dot_csv=CSV, b_dot_csv=CSV), "an archive of 2 files: a.csv, b.csv\n  unpack it: unzip"),
        ("a.tar.gz", tarred(CSV), "an archive\n  unpack it: mkdir a && tar -xf a.tar.gz -C a; then name the folder a"),
        ("a.tar", tarred(b"cat", "0.jpg", "0.cls"), "a WebDataset: images with their classes in .cls files\n"),
        ("a.tar", tarred(b"{}", "x/0.json", "x/0.png"), "a WebDataset: images with their classes in .json files\n"),
        ("a.rar", b"Rar!", "an archive\n  unpack it: unrar x a.rar a/"),
        ("a.bin", b"\x01\x02\0\0", "a binary file of an unknown format"),
    ],
)  # fmt: skip
def test_refused_format_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    assert is_data(name)
    with pytest.raises(TfloopError) as caught:
        dataset_of(name)
    assert caught.value.code == ExitCode.DATA
    assert f"{name}: this is {message}" in str(caught.value)
    assert str(refusal(name)) == str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a/1.wav", "b/2.wav"], "only 2 .wav; .wav is sound\n"),
        (["titanic.zip"], "only 1 .zip\n  unpack it: unzip -q "),
        (["3.0.1/mnist-train.tfrecord-00000-of-00001", "3.0.1/features.json"], "; .tfrecord is a file of TFRecords"),
        (["x/data.mdb"], ".mdb is an LMDB database"),
        (["data_batch_1", "batches.meta"], "this is CIFAR-10 or CIFAR-100 as its authors wrote it\n"),
        (["data_batch_1.bin", "batches.meta.txt"], "`tfloop train images --set dataset=cifar10`"),
        ([], "it is empty"),
    ],
)  # fmt: skip
def test_folder_of_refused_files_says_what_is_in_it(tmp_path: Path, files: list[str], message: str) -> None:
    with pytest.raises(TfloopError) as caught:
        dataset_of(str(touch(tmp_path, *files)))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train.csv", "test.csv", "sample_submission.csv"], {"train": ["train.csv"], "test": ["test.csv"]}),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "README.md"],
         {"train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]}),
        (["train/data-00000-of-00001.arrow", "train/state.json", "test/data-00000-of-00001.arrow", "dataset_dict.json"],
         {"train": ["data-00000-of-00001.arrow"], "test": ["data-00000-of-00001.arrow"]}),
        (["part-00000-a1.snappy.parquet", "part-00001-a1.snappy.parquet", "_SUCCESS"],
         {"train": ["part-00000-a1.snappy.parquet", "part-00001-a1.snappy.parquet"]}),
        (["mnist_train.csv", "mnist_test.csv"], {"train": ["mnist_train.csv"], "test": ["mnist_test.csv"]}),
    ],
)  # fmt: skip
def test_folders_of_competitions_and_hubs_have_splits(tmp_path: Path, files: list[str], splits: dict) -> None:
    found = split_tables(touch(tmp_path, *files))
    assert {split: [path.name for path in paths] for split, paths in found.items() if split} == splits
    assert dataset_of(str(tmp_path)) == "table"


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images.idx3-ubyte.gz"])
def test_folder_of_idx_files_has_arrays(tmp_path: Path, name: str) -> None:
    assert dataset_of(str(touch(tmp_path, f"MNIST/raw/{name}"))) == "arrays"


def test_page_on_formats_is_complete() -> None:
    page = (Path(__file__).parents[2] / "docs/data-formats.md").read_text(encoding="utf-8")
    assert {suffix for suffix in (*TABLE_KINDS, *COMPRESSED, *SUFFIXES, *ARCHIVES) if f"{suffix}" not in page} == set()
