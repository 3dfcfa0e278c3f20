"""A SavedModel, from which the other formats but Keras' own are made."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.exporting.model import Arrays, ExportModel, Runtime

METADATA = "assets.extra/tfloop.json"  # TensorFlow's folder for files of the user


def endpoint(model: ExportModel) -> tuple[Callable[..., Mapping[str, tf.Tensor]], list[Any]]:
    """Returns the exported function, and its signature: one tensor, or a dict of several by name."""
    signature = model.signature
    only = signature if len(signature) > 1 else next(iter(signature.values()))
    return lambda inputs: {model.output: model.keras_model(inputs, training=False)}, [only]


def write(model: ExportModel, path: Path) -> None:
    """Writes a folder with the endpoints `serve` and `serving_default`, and the metadata."""
    function, signature = endpoint(model)
    # Not Keras' ExportArchive, which stores each variable twice. Nor the model itself: LiteRT would keep its variables.
    exported = tf.Module()
    exported.values = [one.value for one in model.keras_model.variables]
    exported.serve = tf.function(function, input_signature=signature, autograph=False)
    tf.saved_model.save(exported, path, signatures={"serving_default": exported.serve})
    (path / METADATA).parent.mkdir()
    (path / METADATA).write_text(json.dumps(model.facts(), indent=2))


def load(path: Path) -> Runtime:
    """Returns a function that computes the output of a SavedModel."""
    loaded = tf.saved_model.load(path)
    function = loaded.signatures["serving_default"]

    def compute(inputs: Arrays, _: object = loaded) -> np.ndarray:  # its variables must stay alive
        (output,) = function(**{name: tf.constant(one) for name, one in inputs.items()}).values()
        return output.numpy()

    return compute
