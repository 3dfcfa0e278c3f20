"""MNIST, which ships with the package: four IDX files, verified each time they are read."""

import gzip
import hashlib
from importlib.resources import files

import numpy as np

from tfloop_cli.engine.data.array_dataset import from_arrays
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import datasets

# sha256 of the uncompressed files; assets/mnist/NOTICE.md has authors and license
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@datasets.register("mnist")
def mnist() -> Dataset:
    """Handwritten digits, shipped with tfloop: 60,000 training and 10,000 test images, uint8 28x28x1, ten classes."""
    return from_arrays(
        {
            "train": (_images("train-images-idx3-ubyte"), _labels("train-labels-idx1-ubyte")),
            "test": (_images("t10k-images-idx3-ubyte"), _labels("t10k-labels-idx1-ubyte")),
        },
        class_names=tuple("0123456789"),
        fingerprint=hashlib.sha256("".join(SHA256.values()).encode()).hexdigest(),
    )


def _images(name: str) -> np.ndarray:
    pixels = np.frombuffer(_read(name), np.uint8, offset=16)  # the header: magic, count, rows, columns
    return pixels.reshape(-1, 28, 28, 1)


def _labels(name: str) -> np.ndarray:
    return np.frombuffer(_read(name), np.uint8, offset=8).astype(np.int32)  # the header: magic, count


def _read(name: str) -> bytes:
    path = files("tfloop_cli") / "assets" / "mnist" / f"{name}.gz"
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise TfloopError(
            f"the shipped MNIST file {path} cannot be read: {error}", hint="reinstall tfloop", code=ExitCode.DATA
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise TfloopError(
            f"the shipped MNIST file {path} is damaged: its sha256 differs from the published one",
            hint="reinstall tfloop",
            code=ExitCode.DATA,
        )
    return content
