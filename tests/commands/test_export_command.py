"""`tfloop export`: files predict what the run does, load without tfloop, and are not written if they do not."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from tfloop_cli import export_formats
from tfloop_cli.cli import app
from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.data.tables.encoders import ColumnEncoder, Scale
from tfloop_cli.engine.data.tables.encoding import encode as encode_in_float64
from tfloop_cli.engine.data.tables.values import Numbers
from tfloop_cli.engine.data.text_source import text_dataset
from tfloop_cli.engine.exporting import FORMATS, Listener, comparison, examples, formats
from tfloop_cli.engine.exporting import export as export_from_python
from tfloop_cli.engine.exporting.examples import ExportExamples
from tfloop_cli.engine.exporting.export import Exporter
from tfloop_cli.engine.exporting.model import build_model
from tfloop_cli.engine.exporting.raw_numbers import decode, encode
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import TfloopError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own saving
IMAGES = {"name": "synthetic", "shape": [8, 8, 3], "classes": 3, "train_examples": 40, "test_examples": 33}
ROWS = IMAGES | {"shape": [6]}
MODELS: dict[str, dict[str, Any]] = {
    "conv_net": {"dataset": IMAGES, "model": {"name": "conv_net", "filters": [4], "batch_norm": True, "dropout": 0.5}},
    "mlp": {"dataset": ROWS, "model": {"name": "mlp", "hidden": [8]}},
    "resnet": {"dataset": IMAGES, "model": {"name": "resnet", "depth": 8, "width": 4}},
    "vit": {"dataset": IMAGES, "model": {"name": "vit", "patch_size": 4, "width": 8, "depth": 1, "heads": 2}},
    "image_classifier": {"dataset": IMAGES, "model": {"name": "image_classifier", "width": 0.1}},
    "tabular_ensemble": {"dataset": ROWS, "model": {"name": "tabular_ensemble", "members": 2, "hidden": [4]}},
    "text_classifier": {
        "dataset": {"name": "synthetic_text", "words": 50, "longest": 9, "train_examples": 40, "test_examples": 33},
        "model": {"name": "text_classifier", "width": 4, "hidden": [4]},
    },
}  # fmt: skip
LOAD = """
import sys
from pathlib import Path
sys.modules["tfloop_cli"] = None  # importing it fails
import keras
import numpy as np
import tensorflow as tf
for folder in map(Path, sys.argv[1:]):
    inputs = dict(np.load(folder / "inputs.npz"))
    expected = np.load(folder / "expected.npy")
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    (name,) = model.output_names
    assert name == "prediction" if folder.name == "numbers" else "probabilities"
    given = inputs if len(inputs) > 1 else inputs["inputs"]
    np.testing.assert_allclose(model(given), expected, rtol=1e-5, atol=1e-5)
    if folder.name in ("conv_net", "vit", "text_linear"):  # the others would take a second each
        loaded = tf.saved_model.load(folder / "saved_model")
        np.testing.assert_allclose(loaded.serve(given)[name], expected, rtol=1e-5, atol=1e-5)
assert [name for name in sys.modules if name.startswith("tfloop")] == ["tfloop_cli"]
"""


def ngrams() -> Any:
    """A dataset of weighted ids."""
    ids, splits = np.arange(1, 81, dtype=np.int32) % 9 + 1, np.arange(0, 81, 2)
    arrays = ids, splits, (np.arange(40) % 3).astype(np.int32), np.linspace(0.1, 1, 80, dtype=np.float32)
    return text_dataset({"train": arrays, "test": arrays}, ("a", "b", "c"), 10)


def positive_numbers() -> Any:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(80, 5)).astype(np.float32)
    arrays = inputs, np.exp(inputs.sum(axis=1) * 2)
    return from_arrays({"train": arrays, "test": arrays})


def trained(run: Any, encoders: dict[str, Any] | None = None) -> tuple[TrainedRun, ExportExamples]:
    """Returns a run in this process, with random weights, and its test examples."""
    random = np.random.default_rng(1)
    for variable in run.state.model.weights:
        values = random.normal(scale=0.3, size=variable.shape)
        variable.assign(np.abs(values) + 0.5 if "variance" in variable.name else values)
    source, indices = run.data.split("test")
    inputs, targets = source.gather(tf.constant(indices))
    checkpoint: Any = SimpleNamespace(path=Path("run/checkpoints/step-00000001"))
    made = TrainedRun(checkpoint, run.config, run.data.spec, encoders or {}, run.task, run.state)
    known = run.data.spec.labels_of(targets) if run.data.spec.classes else tf.reshape(targets, [len(targets), -1])
    return made, ExportExamples(inputs, np.asarray(known), "the test")


@pytest.fixture(autouse=True)
def one_timed_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "WARM_UP", 0)
    monkeypatch.setattr(comparison, "TIMED", 1)


@pytest.fixture(scope="module")
def runs(trainer: Callable) -> dict[str, tuple[TrainedRun, ExportExamples]]:
    made = {name: trainer(**changes) for name, changes in MODELS.items()}
    made["text_linear"] = trainer(own=ngrams(), model="text_linear")
    made["numbers"] = trainer(own=positive_numbers(), model="mlp", task={"name": "regression", "log": True})
    return {name: trained(run) for name, run in made.items()}


def exporter(run: tuple[TrainedRun, ExportExamples], output: Path, logits: bool = False) -> Exporter:
    return Exporter(run[0], output, logits, 0.005, run[1])


def test_keras_and_saved_model_load_without_tfloop(runs, shell, tmp_path: Path) -> None:
    for name, run in runs.items():
        (tmp_path / name).mkdir()
        export = exporter(run, tmp_path / name)
        for format_ in ("keras", "saved_model"):
            found = export.export(format_, "none").comparison
            assert found.relative_difference <= 1e-5, (name, format_)
            assert found.drop <= 0
        np.savez(tmp_path / name / "inputs.npz", **export.own.arrays(run[1].inputs))
        np.save(tmp_path / name / "expected.npy", export.expected)
        assert {one.name for one in (tmp_path / name).iterdir()} == {
            "inputs.npz", "expected.npy", "model.keras", "saved_model",
        }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *(str(tmp_path / name) for name in runs)], cwd=tmp_path,
        env=shell.environment(PYTHONPATH=""), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore")  # of tf2onnx
@pytest.mark.parametrize("name", ["vit", "tabular_ensemble", "text_linear"])
def test_onnx(runs, name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    one = exporter(runs[name], tmp_path).export("onnx", "none")
    assert one.comparison.max_difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [output.name for output in session.get_outputs()] == ["probabilities"]
    classes = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    assert classes == list(runs[name][0].class_names)


@pytest.mark.filterwarnings("ignore")  # of the converter
def test_litert_in_float32_and_quantized(runs, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    sizes = []
    for quantization in ("none", "float16", "int8"):
        export = exporter(runs["conv_net"], tmp_path)
        export.max_drop = 1.0
        one = export.export("litert", quantization)
        assert one.comparison.max_difference < {"none": 1e-5, "float16": 1e-2, "int8": 0.2}[quantization]
        sizes.append(one.bytes)
    assert sizes == sorted(sizes, reverse=True)
    names = {"model.tflite", "model-float16.tflite", "model-int8.tflite"}
    assert {one.name for one in tmp_path.iterdir()} == names
    assert exporter(runs["text_linear"], tmp_path).export("litert", "none").comparison.max_difference < 1e-5


def test_logits_have_the_probabilities_of_the_run(runs, tmp_path: Path) -> None:
    assert exporter(runs["mlp"], tmp_path, logits=True).export("saved_model", "none").comparison.max_difference < 1e-5
    with pytest.raises(TfloopError, match="predicts numbers"):
        build_model(runs["numbers"][0], plain=True, logits=True)


@pytest.mark.parametrize(("units", "activation"), [(3, "softmax"), (3, "sigmoid"), (1, "sigmoid")])
@pytest.mark.parametrize("logits", [False, True])
def test_head_of_model(trainer, tmp_path: Path, units: int, activation: str, logits: bool) -> None:
    net = keras.Sequential([keras.Input([6]), keras.layers.Dense(units, activation=activation)])
    run = trained(trainer(net=net, dataset=ROWS | {"classes": max(units, 2)}))
    for format_ in ("keras", "saved_model"):
        found = exporter(run, tmp_path, logits).export(format_, "none").comparison
        assert found.max_difference < 1e-5
        assert found.equal_classes == 1


@pytest.mark.parametrize(("precision", "limit"), [("bfloat16", 0.1), ("float64", 1e-5)])
def test_other_precision_is_exported_in_float32(trainer, tmp_path: Path, precision: str, limit: float) -> None:
    run = trained(trainer(**MODELS["vit"], precision=precision))
    made = build_model(run[0], plain=True)
    assert {layer.compute_dtype for layer in made.keras_model._flatten_layers() if layer.weights} == {"float32"}
    assert made.notes == [f"the run computes in {precision}, the exported models in float32"]
    for format_ in ("keras", "saved_model"):
        assert 0 < exporter(run, tmp_path).export(format_, "none").comparison.max_difference < limit


def test_model_with_layers_of_the_user(trainer, tmp_path: Path) -> None:
    class Twice(keras.layers.Layer):
        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return inputs * 2

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = keras.layers.Dense(3)

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return self.last(inputs)

    functional = keras.Sequential([keras.Input([6]), Twice(), keras.layers.Dense(3)])
    for net in (functional, Net()):
        run = trained(trainer(net=net, dataset=ROWS))
        assert exporter(run, tmp_path).export("saved_model", "none").comparison.max_difference < 1e-5
        with pytest.raises(TfloopError, match="would need code") as caught:
            exporter(run, tmp_path).export("keras", "none")
        assert caught.value.code == 2


def test_operation_that_litert_does_not_have(trainer, tmp_path: Path) -> None:
    net = keras.Sequential([keras.Input([6]), keras.layers.Lambda(tf.math.erf), keras.layers.Dense(3)])
    with pytest.raises(TfloopError, match="LiteRT cannot convert the model: it has no operation Erf"):
        exporter(trained(trainer(net=net, dataset=ROWS)), tmp_path).export("litert", "none")


def test_numbers_of_a_table_are_encoded_in_the_model() -> None:
    columns = [
        ColumnEncoder("a", "number", indicator=True, scales=(Scale(0.1, 0.3),)),
        ColumnEncoder("b", "number", scales=(Scale(2000.0, 12.5),), levels=("1999", "2000.5")),
        ColumnEncoder("c", "number", scales=(Scale(5.0, 0.0),)),
    ]
    numbers = np.array([[0.1, 1999, 5], [np.nan, 2000.5, 6], [1e30, -1e30, 0], [0.25, 2013, np.nan], [0.4, 2001, 5]])
    numbers = numbers.astype(np.float32)
    expected = np.zeros([5, 6], np.float32)
    start = 0
    for position, column in enumerate(columns):
        values = Numbers(numbers[:, position].astype(np.float64))
        encode_in_float64(values, column, expected[:, start : start + column.width])
        start += column.width
    inputs = keras.Input([3])
    model = keras.Model(inputs, encode(inputs, columns))
    np.testing.assert_allclose(model(numbers), expected, atol=1e-6)
    decoded = decode(expected, columns)
    np.testing.assert_array_equal(np.isnan(decoded[:, 0]), np.isnan(numbers[:, 0]))
    np.testing.assert_allclose(model(decoded), expected, atol=1e-5)


# The command


@pytest.fixture
def call(machine: None, finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Returns a function that calls the command for the shared run, in this process."""
    monkeypatch.chdir(finished.cwd)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["export", str(finished.folder), "-o", str(tmp_path / "out"), *arguments])
        return result.exit_code, result.stdout, result.stderr

    return invoke


def test_command_prints_one_document_per_file(call, tmp_path: Path) -> None:
    code, out, err = call("--format", "keras", "-f", "saved_model", "--json")
    assert code == 0, err
    documents = [json.loads(line) for line in out.splitlines()]
    paths = [tmp_path / "out" / name for name in ("model.keras", "saved_model")]
    assert [Path(one["path"]) for one in documents] == paths
    for one in documents:
        assert one["event"] == "export"
        assert one["max_difference"] < 1e-5
        assert (one["equal_classes"], one["examples"], one["origin"]) == (
            1,
            50,
            "kept of the test split, with its worst and best",
        )
        assert one["metric_value"] == one["run_metric"]
    code, out, err = call("--format", "saved_model", "--split", "test")  # replaces the folder
    assert code == 0, err
    assert " ".join(out.splitlines()[0].split()) == "file size largest difference equal classes accuracy latency"
    assert "compared with the run on 50 examples (test split); accuracy of the run: " in out
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"model.keras", "saved_model"}


def test_file_that_predicts_something_else_is_not_written(call, tmp_path: Path, monkeypatch) -> None:
    def load(path: Path) -> Callable:
        return lambda inputs: np.full([len(inputs["inputs"]), 3], 1 / 3)

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.keras").write_text("an older file")
    wrong = formats.Format("model.keras", FORMATS["keras"].write, load, plain=True)
    monkeypatch.setitem(FORMATS, "keras", wrong)
    code, out, err = call("--format", "keras", "--format", "saved_model", "--json")
    assert code == 3
    assert "model.keras is not written: accuracy is" in err
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["export", "error"]  # the other one is written
    assert (tmp_path / "out" / "model.keras").read_text() == "an older file"
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"model.keras", "saved_model"}
    assert call("--format", "keras", "--max-drop", "1", "--quiet")[0] == 0


@pytest.mark.parametrize(
    ("expected", "found", "kept"), [(7.0, 7.000001, True), (7.0, 7.1, False), (7.0, np.nan, False)]
)
def test_constant_target_is_compared_with_the_run(expected: float, found: float, kept: bool) -> None:
    """Its R2 is 0 for the run and for any file: it shows nothing."""
    of_run, known = np.full((5, 1), expected), np.full((5, 1), 7.5)
    given = {"inputs": np.zeros((5, 2), np.float32)}
    made = comparison.compare(
        of_run, ExportExamples(given["inputs"], known, "the test"), given,
        lambda one: np.full((len(one["inputs"]), 1), found), "prediction",
    )  # fmt: skip
    assert made.run_metric == 0
    assert (made.drop <= 0.005) == kept


def test_file_with_other_probabilities_of_the_same_classes_is_not_written(call, tmp_path: Path, monkeypatch) -> None:
    right = FORMATS["saved_model"]

    def load(path: Path) -> Callable:
        compute = right.load(path)
        return lambda inputs: np.sqrt(compute(inputs)) / np.sqrt(compute(inputs)).sum(axis=1, keepdims=True)

    monkeypatch.setitem(FORMATS, "saved_model", formats.Format("saved_model", right.write, load))
    code, _, err = call("--format", "saved_model")
    assert code == 3
    assert "saved_model is not written: a probability differs by 0." in err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["keras", "openvino"])
def test_ensemble_for_two_classes(trainer, tmp_path: Path, name: str) -> None:
    """Keras adds a constant [2, 1, 1] to [2, batch, 2 classes] along the last axis: `keras.ops.add` sees a bias."""
    if name == "openvino":
        pytest.importorskip("openvino")
    run = trainer(
        dataset={"name": "synthetic", "shape": [5], "classes": 2, "train_examples": 40, "test_examples": 20},
        model={"name": "tabular_ensemble", "members": 2, "hidden": [4]},
    )
    exported = exporter(trained(run), tmp_path).export(name, "none")
    assert exported.comparison.max_difference < 1e-5


def test_not_finite_output_is_not_written(call, tmp_path: Path, monkeypatch) -> None:
    def load(path: Path) -> Callable:
        return lambda inputs: np.full([len(inputs["inputs"]), 3], np.nan)

    monkeypatch.setitem(FORMATS, "keras", formats.Format("model.keras", FORMATS["keras"].write, load, plain=True))
    code, _, err = call("--format", "keras", "--max-drop", "1")
    assert code == 3
    assert "its output has NaN or another shape" in err
    assert list((tmp_path / "out").iterdir()) == []


def test_signal_leaves_no_temporary_folder(call, tmp_path: Path, monkeypatch) -> None:
    def load(path: Path) -> Callable:
        assert len(list((tmp_path / "out").glob(".export-*.tmp"))) == 1
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    monkeypatch.setitem(FORMATS, "keras", formats.Format("model.keras", FORMATS["keras"].write, load, plain=True))
    code, _, err = call("--format", "keras")
    assert (code, err.splitlines()[-1]) == (143, "stopped")
    assert list((tmp_path / "out").iterdir()) == []


def test_converter_that_fails(call, tmp_path: Path, monkeypatch) -> None:
    def write(model: object, path: Path) -> None:
        raise RuntimeError("no such operation\nand a long trace")

    monkeypatch.setitem(FORMATS, "onnx", formats.Format("model.onnx", write, FORMATS["keras"].load))
    code, _, err = call("--format", "onnx")
    assert code == 2
    assert "error: the model cannot be exported as onnx: no such operation\n  use another format" in err
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_package_is_one_line(call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export_formats, "find_spec", lambda name: None if name == "openvino" else True)
    code, _, err = call("--format", "openvino")
    assert code == 2
    assert "`--format openvino` needs openvino\n  run `pip install 'tfloop[export-openvino]'`" in err
    assert not (tmp_path / "out").exists()


WRONG_OPTIONS = (
    (("--format", "caffe"), 2, "there is no format `caffe`\n  use one of keras, "),
    (("--format", "litert", "--quantize", "int4"), 2, "`--quantize int4` does not exist\n  use float16 or int8"),
    (("--format", "keras", "--quantize", "int8"), 2, "`--quantize` is for LiteRT"),
    (("--format", "keras", "--max-drop", "nan"), 2, "Invalid value for '--max-drop'"),
    (("--format", "keras", "--split", "test", "--data", "x"), 2, "exclude each other"),
    (("--format", "keras", "--data", "x.csv"), 4, "x.csv: this file does not exist"),
    (("--format", "keras", "--output", "small.yaml"), 2, "small.yaml exists, and is no folder"),
    (
        ("--format", "onnx"),
        2,
        "`--format onnx` needs onnx, onnxruntime, tf2onnx\n  run `pip install 'tfloop[export-onnx]'`",
    ),
)


def test_wrong_options_load_no_tensorflow(finished, shell) -> None:
    script = (
        "import json, sys; from typer.testing import CliRunner; from tfloop_cli import export_formats\n"
        "from tfloop_cli.cli import app\n"
        "export_formats.find_spec = lambda name: None if 'onnx' in name else True\n"
        "for arguments in json.load(sys.stdin):\n"
        f"    result = CliRunner().invoke(app, ['export', {str(finished.folder)!r}, *arguments])\n"
        "    print(json.dumps([result.exit_code, result.stderr]))\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps([one for one, _, _ in WRONG_OPTIONS]), cwd=finished.cwd,
        env=shell.environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    for (arguments, code, message), line in zip(WRONG_OPTIONS, done.stdout.splitlines(), strict=True):
        found, err = json.loads(line)
        assert (found, message in err) == (code, True), (arguments, err)


def test_split_that_does_not_exist(call) -> None:
    code, _, err = call("--format", "keras", "--split", "holdout")
    assert (code, "there is no split `holdout`" in err) == (2, True)


def test_what_is_no_exported_model_is_not_replaced(call, tmp_path: Path) -> None:
    for folder in ("saved_model", "model.keras"):
        (tmp_path / "out" / folder).mkdir(parents=True)
        (tmp_path / "out" / folder / "letter.txt").write_text("mine")
        code, _, err = call("--format", folder.removeprefix("model."))
        assert code == 2
        assert f"{folder} exists, and is no exported model" in err
        assert (tmp_path / "out" / folder / "letter.txt").read_text() == "mine"


def test_output_that_is_a_file(call, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    code, _, err = call("--format", "keras")
    assert code == 2
    assert "out exists, and is no folder" in err


def test_examples_that_the_run_does_not_have_are_random(runs, tmp_path: Path, monkeypatch) -> None:
    """Without data, the agreement of the classes decides."""
    warnings: list[str] = []
    monkeypatch.chdir(tmp_path)
    run = TrainedRun(*(getattr(runs["text_classifier"][0], key) for key in TrainedRun.__dataclass_fields__))

    def gone(*_: object, **__: object) -> None:
        raise TfloopError("train.csv: No such file or directory")

    monkeypatch.setattr(examples, "build_run_data", gone)
    (one,) = export_from_python(run, ["saved_model"], output=tmp_path, listener=Listener(warn=warnings.append))
    assert warnings == ["no test examples: train.csv: No such file or directory; use `--data FILE_OR_FOLDER`"]
    assert (one.comparison.origin, one.comparison.run_metric, one.comparison.equal_classes) == ("random", None, 1)
