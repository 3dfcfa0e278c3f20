"""The public names of `tfloop_cli`: loaded on first use, and the same objects as in the modules that define them."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import tfloop_cli


def python(program: str) -> str:
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


def type_checking_imports() -> dict[str, str]:
    """Returns public name -> module, from the block `if TYPE_CHECKING` of the package."""
    tree = ast.parse(Path(tfloop_cli.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    found = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname == alias.name, "type checkers treat only `import X as X` as public"
            found[alias.name] = str(statement.module)
    return found


def test_public_names_equal_imports_for_type_checkers() -> None:
    assert type_checking_imports() == tfloop_cli.PUBLIC


@pytest.mark.parametrize("name", tfloop_cli.PUBLIC)
def test_public_name_is_what_its_module_defines(name: str) -> None:
    assert getattr(tfloop_cli, name) is getattr(importlib.import_module(tfloop_cli.PUBLIC[name]), name)


def test_import_from_returns_public_names() -> None:
    from tfloop_cli import DataSpec, ExitCode, models

    assert DataSpec is tfloop_cli.DataSpec
    assert ExitCode is tfloop_cli.ExitCode
    assert models is tfloop_cli.models


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module `tfloop_cli` has no attribute `model`"):
        tfloop_cli.model  # noqa: B018 (the access is the test)
    with pytest.raises(ImportError, match="cannot import name 'model'"):
        exec("from tfloop_cli import model")
    assert not hasattr(tfloop_cli, "Trainer")


def test_dir_contains_public_names() -> None:
    assert set(tfloop_cli.PUBLIC) <= set(dir(tfloop_cli))
    assert "__version__" in dir(tfloop_cli)


@pytest.mark.parametrize(
    "statement",
    [
        "import tfloop_cli; dir(tfloop_cli); tfloop_cli.__version__",
        "from tfloop_cli import models, datasets, tasks, optimizers, schedules, augmentations",
        "from tfloop_cli import PositiveInt, Fraction, Description, TfloopError, ExitCode",
    ],
)
def test_registries_and_argument_types_load_no_tensorflow(statement: str) -> None:
    program = f"{statement}\nimport sys\nprint({{'tensorflow', 'keras', 'numpy'}} & set(sys.modules) or 'none')"
    assert python(program) == "none"


def test_import_loads_no_other_module_of_the_package() -> None:
    program = "import tfloop_cli, sys\nprint([name for name in sys.modules if name.startswith('tfloop_cli')])"
    assert python(program) == "['tfloop_cli']"
