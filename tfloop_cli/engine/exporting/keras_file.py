"""A Keras file, for `keras.saving.load_model(path)`."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from tfloop_cli.engine.exporting.model import Arrays, ExportModel, Runtime
from tfloop_cli.errors import TfloopError

METADATA = "tfloop.json"  # the file in the archive with the names of the classes


def write(model: ExportModel, path: Path) -> None:
    """Writes the model and its metadata as a zip archive.

    Raises:
        TfloopError: it would need code to be loaded (exit code 2).
    """
    if model.code:
        raise TfloopError(f"a Keras file would need code to be loaded: {model.code}", hint="use `--format saved_model`")
    model.keras_model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(model.facts(), indent=2))


def load(path: Path) -> Runtime:
    """Returns a function that computes the output of a file."""
    model = keras.saving.load_model(path, compile=False)

    def compute(inputs: Arrays) -> np.ndarray:
        (single, *others) = inputs.values()
        return model(dict(inputs) if others else single, training=False).numpy()

    return compute
