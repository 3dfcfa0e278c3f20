"""A LiteRT file (TensorFlow Lite), in float32 or quantized."""

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tfloop_cli.engine.exporting import saved_model
from tfloop_cli.engine.exporting.model import Arrays, ExportModel, Runtime
from tfloop_cli.errors import TfloopError

METADATA = "tfloop.json"  # in a zip archive at the end of the file, which runtimes ignore
CALIBRATION = 200  # examples that int8 measures the ranges of values on


def write(model: ExportModel, path: Path) -> None:
    """Writes a file in float32; see `write_quantized`."""
    write_quantized(model, path, "none", {})


def write_quantized(model: ExportModel, path: Path, quantization: str, examples: Arrays) -> None:
    """Writes a file with the metadata in a zip archive at its end; inputs and outputs are those of the other formats.

    Args:
        model: to write.
        path: of the file.
        quantization: "none"; "float16": weights; "int8": weights and values between layers.
        examples: inputs that int8 is calibrated with, by name.

    Raises:
        TfloopError: an operation of the model does not exist in LiteRT (exit code 2).
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved_model"
        saved_model.write(model, saved)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # without "Flex" operations
        if quantization != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "int8":
            converter.representative_dataset = partial(_one_by_one, examples)
            converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
        try:
            path.write_bytes(converter.convert())
        except ConverterError as error:
            operations = ", ".join(sorted(set(re.findall(r"'tf\.(\w+)' op", str(error)))))
            reason = f"it has no operation {operations}" if operations else str(error).splitlines()[0]
            raise TfloopError(f"LiteRT cannot convert the model: {reason}", hint="use another format") from error
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(model.facts(), indent=2))


def _one_by_one(examples: Arrays) -> Iterator[dict[str, np.ndarray]]:
    count = min(CALIBRATION, *(len(one) for one in examples.values()))
    for number in range(count):
        yield {name: one[number : number + 1] for name, one in examples.items()}


def load(path: Path) -> Runtime:
    """Returns a function that computes the output of a file with LiteRT's own interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    run = interpreter.get_signature_runner()

    def compute(inputs: Arrays) -> np.ndarray:
        (output,) = run(**inputs).values()
        return output.copy()

    return compute
