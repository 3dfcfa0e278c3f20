"""What is in a data file: the kind of a table, by the first bytes of the file and by its suffix.

`unreadable_formats` has those that are refused.
"""

import bz2
import gzip
import lzma
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from tfloop_cli.config.unreadable_formats import ARCHIVES, SUFFIXES, format_of, is_binary, is_text
from tfloop_cli.errors import ExitCode, TfloopError

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}  # suffix -> what pyarrow calls it, or Python
TABLE_KINDS = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv", ".dat": "csv", ".data": "csv", ".arff": "csv",
    ".json": "json", ".geojson": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
    ".feather": "feather", ".arrow": "feather", ".orc": "orc", ".xlsx": "excel", ".xlsm": "excel", ".xlsb": "excel",
    ".xls": "excel", ".ods": "excel", ".db": "sqlite", ".db3": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}  # fmt: skip
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".heic",
    ".heif", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip
HEAD_BYTES = 4096
_SIGNATURES = {  # first bytes -> kind of a table, or of a compression
    b"PAR1": "parquet", b"ORC": "orc", b"ARROW1": "feather", b"FEA1": "feather", b"\xff\xff\xff\xff": "feather",
    b"SQLite format 3": "sqlite", b"\xd0\xcf\x11\xe0": "excel", b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip",
    b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz",
}  # fmt: skip
_WORDS = ("parquet", "orc", "feather")  # whose first bytes may begin a text
_OPENERS: dict[str, Any] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_LEFT_BY_ARCHIVES = ("__MACOSX/", ".DS_Store")


def suffix_of(path: str) -> str:
    """Returns the suffix of a file in lower case, without that of its compression and the number of a part."""
    name = re.sub(r"-\d+-of-\d+$", "", PurePath(path).name)
    suffixes: Sequence[str] = [suffix.lower() for suffix in PurePath(name).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes else ""


def head_of(path: Path) -> bytes:
    """Returns the first bytes of a file, decompressed if Python can; b"" if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if opener := _OPENERS.get(_signature(head)):
            with opener(path) as file:
                head = file.read(HEAD_BYTES)
        return head
    except (OSError, EOFError, lzma.LZMAError):
        return b""


def compression_of(path: Path) -> str | None:
    """Returns what compresses a file by its first bytes: "gzip", "bz2", "zstd" or "xz"; None for nothing."""
    with path.open("rb") as file:
        found = _signature(file.read(8))
    return found if found in COMPRESSED.values() else None


def table_kind(path: str) -> str | None:
    """Returns the kind of the table in a file, see `TABLE_KINDS`; that in a zip archive of one table, too.

    The content decides where it is certain: many files are called .csv or .xls that are something else. A file with an
    unknown suffix is "csv" if it is text.

    Returns:
        None if no table can be read from the file.
    """
    file = Path(path).expanduser()
    named = TABLE_KINDS.get(suffix_of(path))
    head = head_of(file) if file.is_file() else b""
    if not head:
        return named
    found = _signature(head)
    if found == "zip":
        return _kind_in_zip(file, named)
    if found:
        return found if found not in COMPRESSED.values() else named
    if is_binary(head) or format_of(head) or head[257:262] == b"ustar":
        return None
    if named == "csv" and re.match(rb'\s*(\[\s*)?\{\s*"[^"\n]*"\s*:', head):
        return "json"
    unknown = named is None and suffix_of(path) not in (*SUFFIXES, *ARCHIVES)
    is_text = named == "excel" and b"\n" in head  # many programs save tables of text as .xls
    return "csv" if unknown or is_text else named


def zip_members(path: Path) -> list[str]:
    """Returns the files in a zip archive, without those that operating systems leave; [] if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except (OSError, zipfile.BadZipFile):
        return []
    return [name for name in names if not name.startswith(_LEFT_BY_ARCHIVES) and PurePath(name).name[0] != "."]


def zipped_table(path: Path) -> str | None:
    """Returns the only file in a zip archive, if it is a table; None for any other file.

    Raises:
        TfloopError: it is encrypted (exit code 4).
    """
    if not path.is_file() or not zipfile.is_zipfile(path):
        return None
    members = zip_members(path)
    if len(members) != 1 or PurePath(members[0]).suffix.lower() not in TABLE_KINDS:  # a.csv.gz is compressed twice
        return None
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(members[0]).flag_bits & 1:
            raise TfloopError(f"{path}: this archive has a password", hint="unpack it", code=ExitCode.DATA)
    return members[0]


def is_idx(name: str) -> bool:
    """Whether a file is an array as MNIST has it: train-images-idx3-ubyte, also .gz."""
    return re.search(r"[-.]idx[1-9]-ubyte(\.gz)?$", name.lower()) is not None


def is_cifar(name: str) -> bool:
    """Whether a file is one of CIFAR-10 or CIFAR-100, as their authors wrote them."""
    return re.search(r"(^|/)(data_batch_1(\.\w+)?|batches\.meta(\.\w+)?|fine_label_names\.txt)$", name) is not None


def _signature(head: bytes) -> str:
    """Returns the kind that the first bytes of a file show; "" for text such as `PAR1,PAR2` or `ORCID`."""
    found = next((kind for first, kind in _SIGNATURES.items() if head.startswith(first)), "")
    return "" if found in _WORDS and is_text(head) else found


def _kind_in_zip(path: Path, named: str | None) -> str | None:
    """Returns the kind of the table in a zip archive: a workbook is one, too."""
    members = zip_members(path)
    if any(name.startswith("xl/") for name in members) or "content.xml" in members:
        return "excel"
    member = zipped_table(path)
    return TABLE_KINDS[suffix_of(member)] if member else None
