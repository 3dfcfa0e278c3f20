"""What is known of the formats of `tfloop export` without TensorFlow: their names, and the packages that they need."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from tfloop_cli.errors import TfloopError

QUANTIZATIONS = ("float16", "int8")  # of LiteRT


@dataclass(frozen=True)
class Needs:
    """What a format needs.

    Attributes:
        packages: modules that must be installed.
        extra: of tfloop, that installs them.
    """

    packages: tuple[str, ...] = ()
    extra: str = ""


NEEDS = {  # in the order of messages and of completion
    "keras": Needs(),
    "saved_model": Needs(),
    "litert": Needs(("ai_edge_litert",), "export-litert"),
    "onnx": Needs(("onnx", "onnxruntime", "tf2onnx"), "export-onnx"),
    "openvino": Needs(("openvino", "scipy"), "export-openvino"),
}


def check_formats(formats: Sequence[str], quantize: str | None) -> None:
    """Raises TfloopError for a wrong format or quantization, and for a package that is missing (exit code 2)."""
    if not formats:
        raise TfloopError("no format is given", hint=f"use `--format` with one of {', '.join(NEEDS)}")
    for name in formats:
        if name not in NEEDS:
            raise TfloopError(f"there is no format `{name}`", hint=f"use one of {', '.join(NEEDS)}")
    if quantize not in (None, *QUANTIZATIONS):
        raise TfloopError(f"`--quantize {quantize}` does not exist", hint=f"use {' or '.join(QUANTIZATIONS)}")
    if quantize and "litert" not in formats:
        raise TfloopError("`--quantize` is for LiteRT", hint="add `--format litert`, or remove `--quantize`")
    for name in formats:
        missing = [package for package in NEEDS[name].packages if find_spec(package) is None]
        if missing:
            hint = f"run `pip install 'tfloop[{NEEDS[name].extra}]'`"
            raise TfloopError(f"`--format {name}` needs {', '.join(missing)}", hint=hint)
