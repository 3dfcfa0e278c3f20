"""Formats that tfloop does not read: what they are, and the command that converts them.

A format is one entry of `FORMATS`; `refusals` makes errors of them.
"""

import re
from dataclasses import dataclass

_OWN = "a dataset of your own can read it: docs/extending.md#a-dataset"
_TABLE = "save it as .csv, .xlsx or .parquet"


@dataclass(frozen=True)
class Format:
    """A format that is refused.

    Attributes:
        what: in words.
        hint: what to do; {file} is the file, {stem} its name without suffix.
        suffixes: in lower case.
        starts: first bytes of such binary files, where they are certain.
        text: a regular expression for the beginning of such text files; None if it is not certain.
    """

    what: str
    hint: str
    suffixes: tuple[str, ...] = ()
    starts: tuple[bytes, ...] = ()
    text: bytes | None = None


def _python(code: str) -> str:
    return f'convert it: python -c "{code}"'


def _pandas(reader: str) -> str:
    return _python(f"import pandas; pandas.{reader}('{{file}}').to_parquet('{{stem}}.parquet')")


def _r(value: str) -> str:
    return f"""convert it: Rscript -e 'write.csv({value}, "{{stem}}.csv", row.names = FALSE)'"""


FORMATS = (
    Format("a pointer of Git LFS, not the data", "get the data: git lfs pull", text=rb"version https://git-lfs"),
    Format(
        "a pickle file, which may run any code when it is opened",
        f"if you trust it, and it is a table, {_pandas('read_pickle')}; arrays: numpy.savez('data.npz', x=x, y=y)",
        (".pkl", ".pickle", ".p"),
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    ),
    Format("a Stata file", _pandas("read_stata"), (".dta",), (b"<stata_dta>", b"q\x02", b"r\x02", b"s\x02", b"t\x02")),
    Format("an SPSS file", f"pip install pyreadstat; {_pandas('read_spss')}", (".sav", ".zsav"), (b"$FL2", b"$FL3")),
    Format("a SAS file", _pandas("read_sas"), (".sas7bdat", ".xpt")),
    Format("an R file", _r('readRDS("{file}")'), (".rds",), (b"X\n\0\0",)),
    Format("an R file", _r('get(load("{file}"))'), (".rda", ".rdata"), (b"RDX",)),
    Format(
        "an Avro file",
        _python("import polars; polars.read_avro('{file}').write_parquet('{stem}.parquet')"),
        (".avro",),
        (b"Obj\x01",),
    ),
    Format(
        "a MATLAB file",
        _python("import numpy, scipy.io; m = scipy.io.loadmat('{file}'); numpy.savez('{stem}.npz', x=m['X'], y=m['y'])")
        + ", with the names of its variables",
        (".mat",),
        (b"MATLAB 5.0",),
    ),
    Format(
        "an HDF5 file",
        _python("import h5py, numpy; f = h5py.File('{file}'); numpy.savez('{stem}.npz', x=f['x'][:], y=f['y'][:])")
        + ", with the names of its datasets; a table of pandas: pandas.read_hdf",
        (".h5", ".hdf5", ".hdf"),
        (b"\x89HDF\r\n\x1a\n",),
    ),
    Format(
        "HTML",
        _python("import pandas; pandas.read_html('{file}')[0].to_csv('{stem}.csv', index=False)")
        + "; without a table in it, the download may have needed a login",
        (".html", ".htm"),
        text=rb"(<!--.*?-->\s*)?<(!doctype html|html|table|head|meta)\b",
    ),
    Format("XML", f"if it has a table, {_pandas('read_xml')}", (".xml",), text=rb"<\?xml"),
    Format(
        "geographic data",
        _python(
            "import geopandas; geopandas.read_file('{file}').drop(columns='geometry').to_csv('{stem}.csv', index=False)"
        ),
        (".shp", ".gpkg", ".kml", ".kmz"),
    ),
    Format(
        "a file of TFRecords, whose features only its author knows",
        f"data of TensorFlow Datasets has a name: `dataset: NAME`; otherwise {_OWN}",
        (".tfrecord", ".tfrecords", ".tfrec"),
    ),
    Format("an LMDB database", _OWN, (".mdb", ".lmdb")),
    Format(
        "LibSVM text",
        _python(
            "import numpy; from sklearn.datasets import load_svmlight_file; x, y = load_svmlight_file('{file}'); "
            "numpy.savez('{stem}.npz', x=x.toarray(), y=y)"
        )
        + "; with y=y.astype(int) if these are classes",
        (".svm", ".libsvm", ".svmlight"),
        text=rb"([-+]?[\d.]+( \d+:[-+.\de]+)+ *\n){3}",
    ),
    Format("a dump of a database", "save a table of it as .csv", (".sql", ".dump", ".accdb")),
    Format("a file of Apple Numbers or a link to Google Sheets", "export it as .csv or .xlsx", (".numbers", ".gsheet")),
    Format(
        "a table in Markdown or of a terminal",
        f"{_TABLE}: sqlite3 -csv, psql --csv, mysql --batch, or pandas.to_csv",
        (".md", ".markdown", ".rst"),
        text=rb"(\|?[^\n|]*\|[^\n]*\n\s*\|?\s*:?-{2,}:?\s*([|+]\s*:?-{2,}:?\s*)*\|?\s*\n|\+-{2,}[-+]*\+\s*\n)",
    ),
    Format(
        "a document",
        f"{_TABLE}, or texts as CLASS/*.txt",
        (".pdf", ".doc", ".docx", ".odt", ".rtf", ".ppt", ".pptx", ".epub"),
        text=rb"(%PDF|\{\\rtf)",
    ),
    Format(
        "sound",
        f"images, tables, texts and arrays can be trained on; {_OWN}",
        (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".aac", ".opus"),
        (b"RIFF", b"ID3", b"fLaC", b"OggS"),
    ),
    Format(
        "video",
        "save its frames as images: ffmpeg -i {file} -vf fps=1 CLASS/%05d.jpg",
        (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg"),
    ),
    Format("a medical image", f"save it as .png, or in an array; {_OWN}", (".dcm", ".dicom", ".nii", ".mha", ".nrrd")),
    Format("a point cloud or a mesh", _OWN, (".ply", ".las", ".laz", ".obj", ".stl", ".off", ".pcd")),
    Format(
        "a model, not data",
        "`tfloop predict` takes runs of tfloop only",
        (".keras", ".pt", ".pth", ".ckpt", ".onnx", ".tflite", ".safetensors", ".pb", ".joblib"),
    ),
    Format("code", "`--code FILE` loads components; name the data, too", (".py", ".ipynb", ".r", ".rmd")),
)
_TAR = "mkdir {folder} && tar -xf {file} -C {folder}"
ARCHIVES = {  # suffix -> the command that unpacks it
    ".zip": "unzip -q {file} -d {folder}", ".tar": _TAR, ".tgz": _TAR, ".tbz2": _TAR, ".txz": _TAR,
    ".7z": "7z x {file} -o{folder}", ".rar": "unrar x {file} {folder}/",
}  # fmt: skip
SUFFIXES = frozenset(suffix for one in FORMATS for suffix in one.suffixes)
_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")  # in no text
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def is_binary(head: bytes) -> bool:
    """Whether the first bytes of a file are no text: they have zeros and control characters."""
    return not head.startswith(_UTF16_MARKS) and _CONTROLS.search(head) is not None and b"\0" in head


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file may be text, not in UTF-16: they have no control characters."""
    return b"\0" not in head and _CONTROLS.search(head) is None


def format_of(head: bytes) -> Format | None:
    """Returns the format of `FORMATS` that a file has, by its first bytes; None if they do not show it."""
    if is_binary(head):
        return next((one for one in FORMATS if head.startswith(one.starts)), None)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((one for one in FORMATS if one.text and re.match(one.text, text, re.I | re.S)), None)
