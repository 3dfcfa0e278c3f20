"""A trained model is exported with Keras' own methods, in the process that trained it, and loads without tfloop."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# A convolution and a dense layer that the C++ operations support; and all layers with other replacements.
DATA = {"name": "synthetic", "shape": [20, 20, 1], "classes": 3, "train_examples": 40, "test_examples": 8}
MODELS = {
    "conv_net": {"name": "conv_net", "filters": [16], "batch_norm": True, "hidden": [8]},
    "resnet": {"name": "resnet", "depth": 8, "width": 4},
    "vit": {"name": "vit", "patch_size": 5, "width": 8, "depth": 1, "heads": 2},
}
LOAD = """
import sys
import numpy as np
import tensorflow as tf
import keras
folder, inputs = sys.argv[1], np.load(sys.argv[1] + "/inputs.npy")
exported = tf.saved_model.load(folder + "/saved_model")
np.testing.assert_allclose(exported.serve(inputs).numpy(), np.load(folder + "/outputs.npy"), rtol=1e-4, atol=1e-5)
if "keras" in sys.argv[2:]:
    loaded = keras.saving.load_model(folder + "/model.keras").predict(inputs, verbose=0)
    np.testing.assert_allclose(loaded, np.load(folder + "/outputs.npy"), rtol=1e-4, atol=1e-5)
assert not [name for name in sys.modules if name.startswith("tfloop")]
"""


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras' own saving
@pytest.mark.parametrize("name", MODELS)
def test_exported_model_loads_without_tfloop(name: str, trainer, shell, tmp_path: Path) -> None:
    run = trainer(dataset=DATA, model=MODELS[name], epochs=1, kernels="auto")
    run.fit()
    inputs = np.random.default_rng(0).normal(size=(5, 20, 20, 1)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "outputs.npy", run.state.model(inputs, training=False).numpy())
    run.state.model.export(tmp_path / "saved_model", verbose=False)
    run.state.model.save(tmp_path / "model.keras")
    assert b"Tfloop" not in (tmp_path / "saved_model" / "saved_model.pb").read_bytes()
    # `vit` has a layer of tfloop, so that its .keras file needs tfloop, which registers it.
    formats = ["saved_model"] if name == "vit" else ["saved_model", "keras"]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), *formats], cwd=tmp_path, env=shell.environment(PYTHONPATH=""),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_training_uses_cpp_operations_that_export_must_not_contain(trainer) -> None:
    """Otherwise the test above could not fail."""
    import tensorflow as tf

    from tfloop_cli.engine.kernels import native
    from tfloop_cli.engine.loop import compile_steps

    if reason := native.unavailable_reason():
        pytest.skip(reason)
    model = {"name": "conv_net", "filters": [16]}
    run = trainer(dataset=DATA, model=model, kernels="native")
    batches = run.data.batch_iterator(0, 1)
    steps = compile_steps(run.task, run.state, run.config)
    batches.set_epoch(0)
    graph = steps._function.get_concrete_function(batches.batches, tf.constant(1, tf.int32)).graph
    assert "TfloopConvolution" in str(graph.as_graph_def())
