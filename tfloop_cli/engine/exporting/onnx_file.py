"""An ONNX file, by tf2onnx. It writes invalid files without raising, so each one is checked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.exporting.model import ExportModel, Runtime
from tfloop_cli.engine.exporting.saved_model import endpoint
from tfloop_cli.errors import TfloopError

OPSET = 18  # the newest that tf2onnx 1.17 supports
MAX_BYTES = 2**31 - 1  # of a file of protobuf


def write(model: ExportModel, path: Path) -> None:
    """Writes a file with the metadata as `metadata_props`.

    Raises:
        TfloopError: an operation of the model does not exist in ONNX (exit code 2).
    """
    import onnx
    import tf2onnx

    _add_handlers()
    function, signature = endpoint(model)
    made, _ = tf2onnx.convert.from_function(tf.function(function, autograph=False), signature, opset=OPSET)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for key, value in model.facts().items():
        entry = made.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    known = {"", "ai.onnx", "ai.onnx.ml"}
    unknown = sorted({node.op_type for node in made.graph.node if not onnx.defs.has(node.op_type, node.domain)})
    extra = sorted({one.name for one in made.graph.input} - model.signature.keys())
    if unknown or extra or any(one.domain not in known for one in made.opset_import):
        raise TfloopError(
            f"tf2onnx cannot convert the model: {', '.join(unknown or extra) or 'it has operations of another domain'}",
            hint="use another format",
        )
    if made.ByteSize() > MAX_BYTES:
        raise TfloopError("the model has more than 2 GiB, the limit of an ONNX file", hint="use another format")
    onnx.checker.check_model(made, full_check=True)
    path.write_bytes(made.SerializeToString())


def load(path: Path) -> Runtime:
    """Returns a function that computes the output of a file with ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, dict(inputs))[0]


def _add_handlers() -> None:
    """Lets tf2onnx convert operations that it does not know."""
    from tf2onnx import utils
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")  # of gelu
    class Erfc:
        @classmethod
        def version_9(cls, context: Any, node: Any, **_: Any) -> None:
            """Makes 1 - Erf(x) of Erfc(x)."""
            dtype, shape = context.get_dtype(node.input[0]), context.get_shape(node.output[0])
            context.remove_node(node.name)
            erf = context.make_node("Erf", node.input)
            one = context.make_const(utils.make_name("one"), np.array(1, utils.map_onnx_to_numpy_type(dtype)))
            inputs = [one.output[0], erf.output[0]]
            context.make_node("Sub", inputs, name=node.name, outputs=node.output, shapes=[shape], dtypes=[dtype])
