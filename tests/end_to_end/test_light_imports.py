"""Commands that need no TensorFlow do not load it, so that they respond immediately and errors are reported at once."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from tfloop_cli.commands.shared import loading_tensorflow
from tfloop_cli.terminal.console import Console

HEAVY = ("tensorflow", "keras", "tensorflow_datasets", "numpy", "jax", "torch", "safetensors", "matplotlib")
MAIN_WITH_MODULE_LIST = """\
import atexit, os, sys
@atexit.register
def write_modules():
    with open(os.environ["MODULES_FILE"], "w") as file:
        file.write("\\n".join(sys.modules))
from tfloop_cli.cli import main
sys.argv[0] = "tfloop"
main()
"""

INVALID_CONFIG = """\
dataset: mnist
model: {name: conv_net, filter: [32]}
epochs: five
"""


@pytest.fixture
def run_tfloop(tmp_path: Path, shell):
    """Returns a function that runs tfloop in a process; returns exit code, output, and the heavy modules it loaded."""

    def run(*arguments: str, **environment: str) -> tuple[int, str, list[str]]:
        file = tmp_path / "modules"
        process = subprocess.run(
            [sys.executable, "-c", MAIN_WITH_MODULE_LIST, *arguments], cwd=tmp_path,
            env=shell.environment(MODULES_FILE=str(file), **environment),
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        modules = {name.partition(".")[0] for name in file.read_text().split()}
        assert "tfloop_cli" in modules
        return process.returncode, process.stdout + process.stderr, sorted(modules & set(HEAVY))

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--help"], 0, "evaluate"),
        (["-h"], 0, "evaluate"),
        (["--version"], 0, "."),
        (["train", "--help"], 0, "--fail-under"),
        (["config", "show", "-c", "mnist.yaml"], 0, "filters: [32]"),
        (["config", "check", "-c", "gan_mnist"], 0, "ok: dcgan on mnist"),
        (["config", "check", "mnist.yaml"], 0, "ok: conv_net on mnist"),
        (["config", "schema"], 0, '"batch_size"'),
        (["config", "schema", "--draft", "07"], 0, "draft-07"),
        (["list", "models"], 0, "conv_net"),
        (["list", "models", "conv_net"], 0, "kernel_size"),
        (["list", "datasets"], 0, "mnist"),
        (["list", "optimizers"], 0, "adam"),
        (["list", "augmentations"], 0, "affine"),
        (["completion", "bash"], 0, "complete -o default"),
        (["train", "-c", "invalid.yaml"], 2, "invalid.yaml:3"),
        (["train", "invalid.yaml"], 2, "invalid.yaml:3"),
        (["train", "--lr", "0.1"], 2, "--set optimizer.learning_rate=VALUE"),
        (["train", "-c", "mnist", "--set", "dataset=mnits"], 2, "mnist"),
        (["train", "-c", "mnist", "--set", "optimizer=adan"], 2, "adam"),
        (["train", "-c", "missing.yaml"], 2, "missing.yaml"),
        (["train", "-c", "mnist", "--code", "own.py", "--set", "model=own", "--set", "model.sizes=[0]"], 2,
         "`model.sizes[0]` must be an integer, at least 1"),
        (["inspect", "data", "--help"], 0, "--strict"),
        (["inspect", "data", "missing.yaml"], 2, "missing.yaml"),
        (["evaluate", "missing"], 2, "missing"),
        (["resume", "missing"], 2, "missing"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)  # fmt: skip
def test_tensorflow_is_not_loaded(run_tfloop, tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    (tmp_path / "invalid.yaml").write_text(INVALID_CONFIG)
    (tmp_path / "own.py").write_text(MODEL_CODE)
    status, output, heavy = run_tfloop(*arguments)
    assert heavy == []
    assert status == code, output
    assert text in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "words",
    [
        "tfloop tr",
        "tfloop list ",
        "tfloop list models co",
        "tfloop train --set opt",
        "tfloop evaluate la",
        "tfloop resume la",
    ],
)
def test_completion_does_not_load_tensorflow(run_tfloop, words: str) -> None:
    position = str(len(words.split(" ")) - 1)
    environment = {"COMP_WORDS": words, "COMP_CWORD": position, "_TFLOOP_COMPLETE": "complete_bash"}
    status, output, heavy = run_tfloop(**environment)
    assert (status, heavy) == (0, [])
    assert output.strip()


MODEL_CODE = '''\
import numpy as np
import tensorflow as tf
from tfloop_cli import PositiveInt, models, tasks


@models.register("own")
def own(spec, *, sizes: list[PositiveInt] = [1]):
    """A custom model."""
'''
TASK_CODE = '''

@tasks.register("mine")
class Mine:
    """A custom task."""

    models = ("model",)
    metrics = ("loss",)
    monitor = None

    def __init__(self, spec, *, scale: PositiveInt = 1):
        self.scale = scale
'''


@pytest.mark.parametrize(
    ("kind", "code", "summary"),
    [("models", MODEL_CODE, "A custom model."), ("tasks", MODEL_CODE + TASK_CODE, "A custom task.")],
    ids=["model", "task"],
)
def test_user_code_is_listed_without_import(run_tfloop, tmp_path: Path, kind: str, code: str, summary: str) -> None:
    (tmp_path / "own.py").write_text(code)
    status, output, heavy = run_tfloop("list", kind, "--code", "own.py")
    assert (status, heavy) == (0, [])
    assert summary in output


@pytest.mark.parametrize(
    ("imports", "replacements"),
    [
        (
            "from tfloop_cli.registry import models, tasks\nfrom tfloop_cli.registry.argument_types import PositiveInt",
            {},
        ),
        ("import tfloop_cli", {"@models": "@tfloop_cli.models", "[PositiveInt": "[tfloop_cli.PositiveInt"}),
    ],
    ids=["deep imports", "module import"],
)
def test_other_import_styles_are_listed_without_import(
    run_tfloop, tmp_path: Path, imports: str, replacements: dict[str, str]
) -> None:
    code = MODEL_CODE.replace("from tfloop_cli import PositiveInt, models, tasks", imports)
    for old, new in replacements.items():
        code = code.replace(old, new)
    (tmp_path / "own.py").write_text(code)
    status, output, heavy = run_tfloop("list", "models", "own", "--code", "own.py")
    assert (status, heavy) == (0, []), output
    assert "sizes  list of integers, at least 1; default [1]" in output


def test_dynamic_user_code_is_imported(run_tfloop, tmp_path: Path) -> None:
    """Also shows that `run_tfloop` detects heavy modules."""
    code = MODEL_CODE.replace('register("own")', 'register("ow" + "n")').replace("import tensorflow as tf\n", "")
    (tmp_path / "own.py").write_text(code)
    status, _, heavy = run_tfloop("list", "models", "--code", "own.py")
    assert (status, heavy) == (0, ["numpy"])


def test_garbage_collection_is_disabled_while_tensorflow_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # restores the variable after the test
    try:
        with loading_tensorflow(Console(), offline=False, verbose=False):
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0  # later collections do not traverse the imported objects
    finally:
        gc.unfreeze()
