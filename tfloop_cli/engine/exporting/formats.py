"""The formats: how each is written, and run by its own runtime. `export_formats.py` has what they need."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfloop_cli.engine.exporting import keras_file, litert_file, onnx_file, openvino_file, saved_model
from tfloop_cli.engine.exporting.model import ExportModel, Runtime


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: its name, or that of its folder.
        write: writes a model to a path of that name.
        load: returns a function that computes outputs with the format's own runtime.
        plain: whether the model has layers of Keras alone.
        other_files: further files.
    """

    file: str
    write: Callable[[ExportModel, Path], None]
    load: Callable[[Path], Runtime]
    plain: bool = False
    other_files: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files, the main one last: when it is there, all are."""
        return (*self.other_files, self.file)


FORMATS = {
    "keras": Format("model.keras", keras_file.write, keras_file.load, plain=True),
    "saved_model": Format("saved_model", saved_model.write, saved_model.load),
    "litert": Format("model.tflite", litert_file.write, litert_file.load),
    "onnx": Format("model.onnx", onnx_file.write, onnx_file.load),
    "openvino": Format(
        "model.xml", openvino_file.write, openvino_file.load,
        plain=True,  # its CPU plugin fails for matrices that are broadcast over the members of an ensemble
        other_files=("model.bin",),
    ),
}  # fmt: skip
