"""Any exception ends a run with one message, an error document and a summary; the run can be resumed."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.errors import ExitCode
from tfloop_cli.memory import out_of_memory

CONFIG: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 60, "test_examples": 23},
    "model": "linear",
    "epochs": 1,
    "device": "cpu",
    "threads": 1,
}
# TensorFlow waits for ten seconds before it raises the error, so the tests have its text only.
TENSORFLOW = """Graph execution error:

Detected at node huge_1/dense_1/MatMul defined at (most recent call last):
  File "/home/me/huge.py", line 11, in call

OOM when allocating tensor with shape[60,1099511627776] and type float on /job:localhost/replica:0/task:0/device:CPU:0 \
by allocator mklcpu
\t [[{{node huge_1/dense_1/MatMul}}]]
Hint: If you want to see a list of allocated tensors when OOM happens, add report_tensor_allocations_upon_oom
 [Op:__inference_trace_8012]"""
OPERATION = (
    "{{function_node __inference_trace_8}} OOM when allocating a buffer of a custom C++ operation\n\t [[{{node x}}]]"
)


@pytest.fixture
def tfloop(machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Returns a function that runs a command in this process; `-o run --json` is added to its arguments."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(json.dumps(CONFIG))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["train", "-c", "small.yaml", "-o", "run", "--json", *arguments])

    return run


def error_document(result: Any) -> dict[str, Any]:
    document = json.loads(result.stdout.splitlines()[-1])
    assert document["event"] == "error"
    return document


def reason() -> str:
    return json.loads(Path("run/summary.json").read_text())["reason"]


@pytest.mark.parametrize("place", ["restore_run", "start_event", "evaluate_test"])
def test_any_exception_ends_with_error_document_and_summary(tfloop, monkeypatch, place: str) -> None:
    with monkeypatch.context() as patches:
        patches.setattr(f"tfloop_cli.commands.train.{place}", Mock(side_effect=KeyError("surprise")))
        result = tfloop()
    assert result.exit_code == ExitCode.BUG
    document = error_document(result)
    assert (document["code"], document["errors"][0]["message"]) == (1, "KeyError: 'surprise'")
    assert "this is a bug of tfloop:\nTraceback" in result.stderr
    assert reason() == "failed"
    assert tfloop("--resume").exit_code == 0
    assert reason() == "completed"


def test_refused_resume_leaves_the_summary(tfloop) -> None:
    assert tfloop().exit_code == 0
    before = Path("run/summary.json").read_bytes()
    assert tfloop("--resume", "--set", "model=mlp").exit_code != 0
    assert Path("run/summary.json").read_bytes() == before


def test_checkpoints_that_cannot_be_read_end_with_their_path(tfloop) -> None:
    assert tfloop().exit_code == 0
    before = {path.name: path.read_bytes() for path in Path("run").glob("*.*")}
    Path("run/checkpoints").rename("elsewhere")
    Path("run/checkpoints").write_text("")
    result = tfloop("--resume")
    assert result.exit_code == ExitCode.USAGE
    assert "run/checkpoints: Not a directory" in result.stderr
    assert {path.name: path.read_bytes() for path in Path("run").glob("*.*")} == before


def test_path_need_not_be_utf_8(tfloop) -> None:
    name = os.fsdecode(b"r\xff")
    result = tfloop("-o", name)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["run"] == name
    assert json.loads(Path(name, "summary.json").read_text())["run"] == name


def test_process_in_which_tensorflow_runs_can_train_again_with_other_settings(tfloop) -> None:
    """As a notebook does, in any thread; a default config fits whatever TensorFlow has started with."""
    assert tfloop().exit_code == 0
    results = []
    thread = threading.Thread(
        target=lambda: results.append(
            tfloop("-o", "other", "--set", "threads=auto", "--set", "precision=bfloat16", "--set", "seed=3")
        )
    )
    thread.start()
    thread.join()
    assert results[0].exit_code == 0, results[0].output
    assert tfloop("-o", "third").exit_code == 0
    first, third = (json.loads(Path(run, "summary.json").read_text())["weights_sha256"] for run in ("run", "third"))
    assert first == third


@pytest.mark.parametrize(
    "dataset",
    [
        "{name: synthetic, train_examples: 2147483647}", "{name: synthetic, shape: [2147483647, 2147483647]}",
        "{name: synthetic, classes: 2147483647}", "{name: synthetic_text, train_examples: 2147483647}",
        "{name: synthetic_text, longest: 2147483647}",
    ],
)  # fmt: skip
def test_dataset_larger_than_memory_is_a_config_error(tfloop, dataset: str) -> None:
    result = tfloop("--set", f"dataset={dataset}")
    assert result.exit_code == ExitCode.USAGE
    assert "GiB of memory, and this machine has" in error_document(result)["errors"][0]["message"]
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", 10**30, "the largest integer is 2147483647"),
        ("dataset.seed", 10**40, "the largest integer is 2147483647"),
        ("model", "{name: vit, depth: 100000}", "integer from 1 to 1000"),
        ("model", "{name: resnet, depth: 600002}", "integer from 1 to 1000"),
        ("optimizer", "{name: muon, ns_steps: 100000}", "integer from 1 to 1000"),
    ],
)
def test_integer_without_a_use_is_a_config_error(tfloop, key: str, value: object, message: str) -> None:
    result = tfloop("--set", f"{key}={value}")
    assert result.exit_code == ExitCode.USAGE
    assert message in result.stderr


def test_exit_of_user_code_does_not_end_the_run_with_success(tfloop) -> None:
    Path("exits.py").write_text("import sys\nfrom tfloop_cli import *\nsys.exit()\n")
    result = tfloop("--code", "exits.py")
    assert result.exit_code == ExitCode.USER_CODE
    assert error_document(result)["errors"][0]["message"] == "SystemExit"


def test_out_of_memory_names_tensor_and_keys(tfloop, monkeypatch) -> None:
    error = tf.errors.ResourceExhaustedError(None, None, TENSORFLOW)
    with monkeypatch.context() as patches:
        patches.setattr("tfloop_cli.commands.train.fit", Mock(side_effect=error))
        result = tfloop()
    assert result.exit_code == ExitCode.OUT_OF_MEMORY
    (problem,) = error_document(result)["errors"]
    assert problem["message"] == (
        "out of memory: a tensor of shape [60, 1099511627776] and type float does not fit "
        "(operation `huge_1/dense_1/MatMul`)"
    )
    assert "`batch_size`" in problem["hint"]
    assert "`micro_batch_size`" in problem["hint"]
    assert "Traceback" not in result.stderr
    assert reason() == "failed"


def test_out_of_memory_of_numpy_and_python() -> None:
    with pytest.raises(MemoryError) as caught:
        np.zeros((2**40, 1000))
    (problem,) = out_of_memory(caught.value).problems
    assert problem.message.startswith("out of memory: Unable to allocate 7.81 PiB for an array with shape")
    (problem,) = out_of_memory(tf.errors.ResourceExhaustedError(None, None, OPERATION)).problems
    assert problem.message == "out of memory: OOM when allocating a buffer of a custom C++ operation"
    assert out_of_memory(MemoryError()).problems[0].message == "out of memory: an allocation failed"
    assert out_of_memory(ValueError("memory")) is None
    (problem,) = out_of_memory(ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger")).problems
    assert problem.message.startswith("out of memory: array is too big")


@pytest.mark.parametrize("arguments", ["train --json --epoch 3", "evaluate --json", "list models nope --json"])
def test_wrong_command_line_has_an_error_document(arguments: str) -> None:
    result = CliRunner().invoke(app, arguments.split())
    assert (result.exit_code, error_document(result)["code"]) == (2, 2)
