"""Arrays in the format of MNIST: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, ..."""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from tfloop_cli.errors import ExitCode, TfloopError, short_path

_NAME = re.compile(r"(?P<set>.*?)(?P<split>train|t10k|test)[-_.](?P<what>images|labels)[-.]idx[1-9]-ubyte(\.gz)?")
_ROLES = {"images": "x", "labels": "y"}
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # code in the file -> dtype


def idx_names(files: Sequence[Path]) -> dict[str, Path]:
    """Returns `x_train`, `y_train`, `x_test` and `y_test` -> the file, as far as there are such files.

    Raises:
        TfloopError: there are those of several data sets, such as emnist-letters and emnist-digits (exit code 4).
    """
    found: dict[str, Path] = {}
    sets = set()
    for file in sorted(files, reverse=True):  # an unpacked file replaces the packed one of the same name
        if match := _NAME.fullmatch(file.name):
            sets.add(match["set"])
            split = "train" if match["split"] == "train" else "test"
            found[f"{_ROLES[match['what']]}_{split}"] = file
    if len(sets) > 1:
        names = ", ".join(f"`{name.strip('-_.') or 'mnist'}`" for name in sorted(sets, reverse=True))
        problem = f"{short_path(files[0].parent)}: there are several data sets in this folder: {names}"
        raise TfloopError(problem, hint="move the files of one into a folder of its own", code=ExitCode.DATA)
    return dict(sorted(found.items()))


def open_idx(path: Path) -> IO[bytes]:
    """Opens a file, decompressed."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Returns the shape and the dtype of an array, whose values follow.

    Raises:
        ValueError: this is not such a file.
    """
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or not start[3]:
        raise ValueError("it is not in the format of MNIST")
    shape = np.frombuffer(stream.read(4 * start[3]), ">u4")
    return tuple(map(int, shape)), np.dtype(_TYPES[start[2]])
