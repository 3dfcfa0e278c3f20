"""The promise: what needs no TensorFlow does not load it, and a wrong config fails at once."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from tfloop_cli.commands.shared import loading_tensorflow
from tfloop_cli.terminal.console import Console

HEAVY = ("tensorflow", "keras", "tensorflow_datasets", "numpy", "jax", "torch", "safetensors", "matplotlib")
WATCH = """\
import atexit, os, sys
@atexit.register
def tell():
    with open(os.environ["LOADED"], "w") as file:
        file.write("\\n".join(sys.modules))
from tfloop_cli.cli import main
main()
"""

WRONG = """\
dataset: mnist
model: {name: conv_net, filter: [32]}
epochs: five
"""


@pytest.fixture
def loaded(tmp_path: Path, shell):
    """Runs tfloop in a process of its own; its exit code, what it said, and which of the heavy modules it loaded."""

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        file = tmp_path / "loaded"
        done = subprocess.run(
            [sys.executable, "-c", WATCH, *arguments], cwd=tmp_path, env=shell.environment(LOADED=str(file)),
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        modules = {name.partition(".")[0] for name in file.read_text().split()}
        assert "tfloop_cli" in modules
        return done.returncode, done.stdout + done.stderr, sorted(modules & set(HEAVY))

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "evaluate"),
        (["--version"], 0, "."),
        (["train", "--help"], 0, "--fail-under"),
        (["config", "show", "-c", "mnist.yaml"], 0, "filters: [32]"),
        (["config", "check", "-c", "gan_mnist"], 0, ""),
        (["config", "schema"], 0, '"batch_size"'),
        (["list", "models"], 0, "conv_net"),
        (["list", "datasets"], 0, "mnist"),
        (["list", "optimizers"], 0, "adam"),
        (["list", "augmentations"], 0, "affine"),
        (["train", "-c", "wrong.yaml"], 2, "wrong.yaml:3"),
        (["train", "-c", "mnist", "--set", "dataset=mnits"], 2, "mnist"),
        (["train", "-c", "mnist", "--set", "optimizer=adan"], 2, "adam"),
        (["train", "-c", "absent.yaml"], 2, "absent.yaml"),
        (["train", "-c", "mnist", "--code", "own.py", "--set", "model.sizes=[0]"], 2, "sizes"),
        (["evaluate", "nowhere"], 2, "nowhere"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_tensorflow_is_not_loaded(loaded, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    (tmp_path / "own.py").write_text(OWN)
    got, text, heavy = loaded(*arguments)
    assert heavy == []
    assert got == code, text
    assert said in text
    assert "Traceback" not in text


OWN = '''\
import numpy as np
import tensorflow as tf
from tfloop_cli.registry.argument_types import PositiveInt
from tfloop_cli.registry import models, tasks


@models.register("own")
def own(spec, *, sizes: list[PositiveInt] = [1]):
    """A model of my own."""
'''
TASK = '''

@tasks.register("mine")
class Mine:
    """A task of my own."""

    models = ("model",)
    metrics = ("loss",)
    monitor = None

    def __init__(self, spec, *, scale: PositiveInt = 1):
        self.scale = scale
'''


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [("models", OWN, "A model of my own."), ("tasks", OWN + TASK, "A task of my own.")],
    ids=["model", "task"],
)
def test_user_code_is_read_and_not_run_to_list_it(loaded, tmp_path: Path, kind: str, code: str, said: str) -> None:
    (tmp_path / "own.py").write_text(code)
    status, text, heavy = loaded("list", kind, "--code", "own.py")
    assert (status, heavy) == (0, [])
    assert said in text


def test_this_test_can_tell(loaded, tmp_path: Path) -> None:
    """Code that cannot be read without running it is run, and then numpy is loaded."""
    code = OWN.replace('register("own")', 'register("ow" + "n")').replace("import tensorflow as tf\n", "")
    (tmp_path / "own.py").write_text(code)
    status, _, heavy = loaded("list", "models", "--code", "own.py")
    assert (status, heavy) == (0, ["numpy"])


def test_pythons_collector_rests_while_tensorflow_is_imported(monkeypatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # put back afterwards
    try:
        with loading_tensorflow(Console(), offline=False, verbose=False):
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0  # what was imported is not looked through any more
    finally:
        gc.unfreeze()
