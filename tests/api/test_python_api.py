"""tfloop in a Python program: results, models and predictions, and that the process is as before."""

import logging
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import tfloop_cli as tfloop
from tests.run_folders import write_run
from tfloop_cli import Run, TfloopError
from tfloop_cli.api.process import ApiConsole, in_this_process

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(240, 5)).astype(np.float32)
LABELS = (INPUTS[:, 0] > 0).astype(np.int64)
ARRAYS = {"train": (INPUTS[:200], LABELS[:200]), "test": (INPUTS[200:], LABELS[200:])}
HOW = {"model": "linear", "epochs": 20, "batch_size": 16, "threads": 1, "device": "cpu", "progress": False}
FAST = {**HOW, "optimizer": {"name": "adam", "learning_rate": 0.05}}


@pytest.fixture(scope="module")
def folder(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(autouse=True)
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TFLOOP_CACHE", str(folder / "cache"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield tfloop.train(data=ARRAYS, **FAST)


def test_results_of_a_run(run: Run) -> None:
    assert run.metrics["accuracy"] > 0.9
    assert [row["epoch"] for row in run.history] == list(range(1, 21))
    assert run.history[-1]["train/accuracy"] > 0.9
    assert run.history[-1]["validation/loss"] < run.history[0]["validation/loss"]
    assert list(run.history[0])[:5] == ["epoch", "step", "seconds", "examples_per_second", "learning_rate"]
    assert run.summary["evaluations"]["test"]["examples"] == 40
    assert run.config["optimizer"]["learning_rate"] == 0.05
    assert run.config["dataset"] == {"name": "in_memory"}


def test_config_of_a_run_with_unknown_code(folder: Path) -> None:
    assert Run(write_run(folder / "other", model="of_the_user")).config["model"]["name"] == "of_the_user"


def test_run_is_loaded_by_path_name_and_last(run: Run) -> None:
    loaded = [tfloop.load(run.path), tfloop.load(run.path.name), tfloop.load("last")]
    assert [one.metrics for one in loaded] == [run.metrics] * 3
    with pytest.raises(TfloopError, match="no such run"):
        tfloop.load("nothing")


def test_last_run_is_not_one_without_a_checkpoint(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    newer = write_run(Path("runs/newer"), meta={"started": "2999-01-01T00:00:00.000000+00:00"})
    try:
        assert tfloop.load("last").path == run.path
        assert f"warning: runs/newer has no checkpoint yet: `last` is {run.path}" in capfd.readouterr().err
    finally:
        shutil.rmtree(newer)


def test_predictions_are_those_of_the_model(run: Run) -> None:
    rows = run.predict(INPUTS[200:], probabilities=True)
    logits = np.asarray(run.model()(INPUTS[200:]))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [row["prediction"] for row in rows] == [str(label) for label in logits.argmax(axis=1)]
    found = [[row["probability_0"], row["probability_1"]] for row in rows]
    assert np.allclose(found, probabilities, atol=1e-6)
    accuracy = np.mean([row["prediction"] == str(label) for row, label in zip(rows, LABELS[200:], strict=True)])
    assert accuracy == pytest.approx(run.metrics["accuracy"])
    assert np.allclose(run.raw_model()(INPUTS[200:]), probabilities, atol=1e-6)


def test_loaded_run_is_evaluated_on_arrays(run: Run) -> None:
    metrics = tfloop.load(run.path).evaluate((INPUTS[200:], LABELS[200:]))
    with pytest.raises(TfloopError, match="best checkpoint"):
        run.evaluate((INPUTS[200:], LABELS[200:]), checkpoint="last")
    assert metrics == pytest.approx(run.metrics)
    assert run.evaluate((INPUTS[200:].astype(np.float64), LABELS[200:, None])) == pytest.approx(run.metrics)
    with pytest.raises(TfloopError, match="in_memory"):  # the data is not in the run
        run.evaluate()


@pytest.mark.parametrize(
    ("inputs", "targets", "problem"),
    [
        (INPUTS[:, :3], LABELS, r"rows are float32\[3\], and those of the run are float32\[5\]"),
        ((INPUTS, INPUTS), LABELS, "the inputs are `0`, `1`, and those of the run are one array"),
        (INPUTS, LABELS + 0.5, "example 0 has label .*5, which is not in 0 to 1"),
        (INPUTS, np.eye(2)[LABELS], r"has the shape \[2\], and those of the run have \[\]"),
        (INPUTS, (LABELS, LABELS), "the targets are not as many"),
    ],
)
def test_arrays_unlike_those_of_the_run_are_refused(inputs: Any, targets: Any, problem: str, run: Run) -> None:
    with pytest.raises(TfloopError, match=problem):
        run.evaluate((inputs, targets))


def test_classes_are_those_of_the_data(tmp_path: Path) -> None:
    """Not their positions: 1 is the first of the classes 1, 2 and 3."""
    for name, labels in {"numbers": LABELS + 1, "words": np.array(["no", "yes"])[LABELS]}.items():
        file = tmp_path / f"{name}.npz"
        np.savez(file, x_train=INPUTS, y_train=labels, x_test=INPUTS, y_test=labels)
        dataset = {"name": "arrays", "path": file}
        run = tfloop.train({"dataset": dataset}, output=tmp_path / name, **{**FAST, "epochs": 1})
        assert run.evaluate((INPUTS, labels)) == pytest.approx(run.metrics)
        if name == "numbers":
            assert run.evaluate((INPUTS, labels.astype(float))) == pytest.approx(run.metrics)
        other = np.full(len(LABELS), 0 if name == "numbers" else "0")
        with pytest.raises(TfloopError, match="the target of an example is `0`, which is no class of the run"):
            run.evaluate((INPUTS, other))
    assert run.evaluate((INPUTS, LABELS)) == pytest.approx(run.metrics)  # positions among classes that are words


def test_wrong_and_empty_inputs_of_predict(run: Run) -> None:
    assert run.predict([]) == run.predict(INPUTS[:0]) == []
    with pytest.raises(TfloopError, match="`top` is 0"):
        run.predict(INPUTS, top=0)
    with pytest.raises(TfloopError, match="those of the run are one array"):
        run.predict((INPUTS, INPUTS))


@pytest.mark.filterwarnings("error")  # Keras' `save` has some
def test_export_returns_the_files(run: Run) -> None:
    import keras

    (path,) = run.export("keras")
    assert path == run.path.resolve() / "export" / "model.keras"
    outputs = keras.saving.load_model(path, compile=False)(INPUTS[:3])
    assert np.allclose(
        outputs,
        [list(row.values())[-2:] for row in run.predict(INPUTS[:3], probabilities=True)],
        atol=1e-6,
    )


def test_table_is_trained_from_a_mapping_and_predicted_from_rows() -> None:
    rows = "\n".join(f"{a},{'xy'[a % 2]},{3 * a + (a % 2)}" for a in range(60))
    Path("t.csv").write_text(f"a,b,price\n{rows}\n")
    config = {"extends": "tabular_mlp.yaml", "dataset": {"name": "table", "train": Path("t.csv"), "target": "price"}}
    run = tfloop.train(config, epochs=2, threads=1, device="cpu", progress=False, output="table")
    assert run.path == Path("table")
    found = run.predict([{"a": 3, "b": "y"}, {"a": "many", "b": "y"}, {"a": 4, "b": "x", "price": 1}])
    assert [row["input"] for row in found] == [1, 2, 3]
    assert isinstance(found[0]["prediction"], float)
    assert run.predict(pa.table({"a": [3.0, None, 4.0], "b": ["y", "y", "x"]}))[0] == found[0]  # as of pandas, polars
    assert run.predict("t.csv")[3]["prediction"] == pytest.approx(found[0]["prediction"], abs=1e-4)
    assert run.evaluate()["rmse"] == pytest.approx(run.metrics["rmse"])
    assert run.evaluate("t.csv")["mae"] > 0


def test_path_of_data_needs_no_config() -> None:
    Path("p.csv").write_text("a,b,price\n" + "".join(f"{n},{'xy'[n % 2]},{2.5 * n}\n" for n in range(40)))
    with pytest.raises(TfloopError, match=r"p\.csv.*predict"):
        tfloop.train("p.csv")
    run = tfloop.train("p.csv", **HOW | {"epochs": 1, "dataset.target": "price"})
    assert run.path.name.startswith("p-")
    assert run.config["task"]["name"] == "regression"


def test_process_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    import tensorflow as tf

    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(3)
    expected = random.random(), np.random.rand(), float(tf.random.uniform([])), float(keras.random.uniform([]))
    keras.utils.set_random_seed(3)
    tfloop.train(data=ARRAYS, **HOW | {"epochs": 1, "precision": "float64", "seed": 9})
    drawn = random.random(), np.random.rand(), float(tf.random.uniform([])), float(keras.random.uniform([]))
    assert drawn == expected
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == ("mixed_bfloat16", "float32")
    assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ


def test_runs_in_a_loop_are_no_reason_for_warnings(run: Run) -> None:
    records: list[logging.LogRecord] = []
    handler, logger = logging.Handler(), logging.getLogger("tensorflow")
    handler.emit = records.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        for _ in range(9):
            tfloop.load(run.path).predict(INPUTS[:2])
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == []


def test_two_runs_in_a_process_are_equal_and_resume(run: Run) -> None:
    again = tfloop.train(data=ARRAYS, **FAST)
    assert again.path != run.path
    assert again.summary["weights_sha256"] == run.summary["weights_sha256"]
    longer = tfloop.train(data=ARRAYS, **FAST | {"epochs": 21}, resume=True)
    assert longer.path == again.path
    assert len(longer.history) == 21


def test_errors_are_exceptions(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(TfloopError, match="learning_rat") as caught:
        tfloop.train("mnist.yaml", optimizer={"name": "adam", "learning_rat": 1})
    assert caught.value.code == 2
    with pytest.raises(TfloopError, match="no config is given"):
        tfloop.train()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda run: run.evaluate((INPUTS,)), "`data` has 1 value"),
        (lambda run: run.predict(INPUTS, batch_size=0), "`batch_size` is 0"),
        (lambda run: tfloop.train(data=INPUTS), "`data` is a ndarray, and has to be a dict of splits"),
        (lambda run: tfloop.train(data={}), "there is no split"),
        (lambda run: tfloop.train(5), "`config` is 5, and has to be a file"),
    ],
)
def test_wrong_arguments(call: Callable[[Run], Any], problem: str, run: Run) -> None:
    with pytest.raises(TfloopError, match=problem):
        call(run)


def test_runs_in_two_threads_are_equal(run: Run, tmp_path: Path) -> None:
    """They wait for each other: both use Keras' seed."""
    found = {}

    def train(number: int) -> None:
        found[number] = tfloop.train(data=ARRAYS, output=tmp_path / str(number), **{**FAST, "epochs": 2}).metrics

    threads = [threading.Thread(target=train, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2]


def test_code_in_training_may_open_a_run_while_another_thread_waits(run: Run) -> None:
    waiting = threading.Thread(target=tfloop.load(run.path).model, daemon=True)

    def train() -> None:
        with in_this_process(ApiConsole(progress=False)):
            waiting.start()
            waiting.join(0.2)
            tfloop.load(run.path).model()

    training = threading.Thread(target=train, daemon=True)
    training.start()
    for thread in (training, waiting):
        thread.join(60)
        assert not thread.is_alive()


def test_arrays_do_not_start_tensorflow(shell: Any, tmp_path: Path) -> None:
    """Otherwise a number of threads could not be set, even in a new process."""
    program = """
import numpy as np
import tfloop_cli as tfloop
data = {"train": (np.zeros((8, 2), "float32"), np.arange(8) % 2)}
how = {"model": "linear", "epochs": 1, "validation": 0, "test": 0, "progress": False, "device": "cpu"}
print(tfloop.train(data=data, threads=1, **how).config["threads"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=shell.environment(), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_progress_is_lines_of_text_on_stderr(capfd: pytest.CaptureFixture) -> None:
    tfloop.train(data=ARRAYS, **HOW | {"epochs": 1, "progress": True})
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1/1  loss" in err
    assert "\x1b" not in err


def test_python_code_of_a_dataset_is_not_taken_for_the_callers(capfd: pytest.CaptureFixture, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x_train=INPUTS[:200], y_train=LABELS[:200])
    dataset = {"name": "arrays", "path": str(tmp_path / "data.npz"), "in_memory": "never"}
    tfloop.train(dataset=dataset, **FAST | {"epochs": 1, "progress": True})
    err = capfd.readouterr().err
    assert "epoch 1/1" in err
    assert "numpy_function" not in err
