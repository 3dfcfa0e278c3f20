"""OpenVINO's files: model.xml and model.bin."""

import json
import tempfile
from pathlib import Path

from tfloop_cli.engine.exporting import saved_model
from tfloop_cli.engine.exporting.model import ExportModel, Runtime


def write(model: ExportModel, path: Path) -> None:
    """Writes the files in float32, with the metadata as `rt_info` below `tfloop`."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved_model"
        saved_model.write(model, saved)
        made = openvino.convert_model(saved)
    for key, value in model.facts().items():
        made.set_rt_info(json.dumps(value), ["tfloop", key])
    openvino.save_model(made, path, compress_to_fp16=False)


def load(path: Path) -> Runtime:
    """Returns a function that computes the output of a file on the CPU in float32; its default computes in less."""
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: compiled(dict(inputs))[compiled.output(0)].copy()
