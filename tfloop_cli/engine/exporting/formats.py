"""The formats: what each is called, which packages it needs, how it is written and run by its own runtime."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tfloop_cli.engine.exporting import keras_file, litert_file, onnx_file, openvino_file, saved_model
from tfloop_cli.engine.exporting.model import ExportModel, Runtime
from tfloop_cli.errors import TfloopError


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: its name, or that of its folder.
        write: writes a model to a path of that name.
        load: returns a function that computes outputs with the format's own runtime.
        plain: whether the model has layers of Keras alone.
        other_files: further files.
        packages: modules that must be installed.
        extra: of tfloop, that installs them.
    """

    file: str
    write: Callable[[ExportModel, Path], None]
    load: Callable[[Path], Runtime]
    plain: bool = False
    other_files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    extra: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files, the main one last: when it is there, all are."""
        return (*self.other_files, self.file)

    def require_packages(self, name: str) -> None:
        """Raises TfloopError with the pip command if a package is missing (exit code 2)."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise TfloopError(
                f"`--format {name}` needs {', '.join(missing)}", hint=f"run `pip install 'tfloop[{self.extra}]'`"
            )


FORMATS = {
    "keras": Format("model.keras", keras_file.write, keras_file.load, plain=True),
    "saved_model": Format("saved_model", saved_model.write, saved_model.load),
    "litert": Format(
        "model.tflite", litert_file.write, litert_file.load, packages=("ai_edge_litert",), extra="export-litert"
    ),
    "onnx": Format(
        "model.onnx", onnx_file.write, onnx_file.load,
        packages=("onnx", "onnxruntime", "tf2onnx"), extra="export-onnx",
    ),
    "openvino": Format(
        "model.xml", openvino_file.write, openvino_file.load,
        plain=True,  # its CPU plugin fails for matrices that are broadcast over the members of an ensemble
        other_files=("model.bin",), packages=("openvino", "scipy"), extra="export-openvino",
    ),
}  # fmt: skip
