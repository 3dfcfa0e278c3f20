"""Modules beside a `--code` file: they can be imported and are copied; no other module and no other run sees them."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import Component, models, plugins, registry, user_modules
from tfloop_cli.runs.code_copies import changed_code, copy_code, verified_copies

MY = """
import json
import helper
import parts.blocks as blocks
from parts import NAME
from tfloop_cli import models
from loose.folder.deep import DEEP

@models.register("mine")
def mine(spec, units=2):
    from lazy import LAZY
    return [helper.VALUE, helper.__name__.rpartition(".")[2], blocks.twice(units), NAME, DEEP, LAZY, json.dumps([])]
"""
FILES = {
    "helper.py": "from parts.blocks import twice\nVALUE = twice(1)\n",
    "lazy.py": "LAZY = 'imported in a function'\n",
    "parts/__init__.py": "from . import blocks\nfrom .blocks import *\nNAME = blocks.__name__.rpartition('.')[2]\n",
    "parts/blocks.py": "import numbers\ndef twice(number):\n    return 2 * number\n",
    "parts/unused.py": "raise SystemExit\n",
    "loose/folder/deep.py": "import helper\nDEEP = 'deep'\n",
    "unused.py": "raise SystemExit\n",
}
USED = ["helper.py", "lazy.py", "loose/folder/deep.py", "parts/__init__.py", "parts/blocks.py"]
RESULT = [2, "helper", 4, "blocks", "deep", "imported in a function", "[]"]


@pytest.fixture(autouse=True)
def forget_code() -> Iterator[None]:
    yield
    user_modules.forget()
    for one in registry.REGISTRIES.values():
        one.forget_code()


def write(folder: Path, files: dict[str, str]) -> Path:
    """Writes files; returns the path of the first."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / next(iter(files))


def build(*code: Path, name: str = "mine", **options: Any) -> Any:
    plugins.load(code, **options)
    return models.build(Component(name), None)


def test_modules_and_packages_beside_the_code_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = write(tmp_path / "code", {"my.py": MY, **FILES}), list(sys.path)
    assert build(path) == RESULT
    assert sys.path == before
    assert not {"helper", "lazy", "parts", "loose", "my"} & set(sys.modules)
    assert not list((tmp_path / "code").rglob("*.pyc"))
    monkeypatch.chdir(tmp_path / "code")
    monkeypatch.syspath_prepend("")  # as `python -m tfloop_cli` does
    assert build(Path("my.py")) == RESULT
    assert list(copy_code([Path("my.py")], tmp_path / "run")[1]) == USED
    assert not {"helper", "lazy", "parts", "loose", "my"} & set(sys.modules)


def test_two_runs_in_one_process_have_their_own_modules(tmp_path: Path) -> None:
    code = (
        "from tfloop_cli import models\nimport helper\n@models.register('mine')\ndef mine(spec): return helper.VALUE\n"
    )
    for value in (1, 2):
        write(tmp_path / str(value), {"my.py": code, "helper.py": f"VALUE = {value}\n"})
    assert [build(tmp_path / str(value) / "my.py") for value in (1, 2, 1)] == [1, 2, 1]
    (tmp_path / "1" / "helper.py").write_text("VALUE = 3\n")
    assert build(tmp_path / "1" / "my.py") == 3


def test_module_beside_the_code_takes_precedence_there_alone(tmp_path: Path) -> None:
    """As in a Python script, but installed packages do not get it, and the file itself does not hide a package."""
    code = """
import colorsys, statistics, tfloop_cli
from xml import sax
from tfloop_cli import models

@models.register("mine")
def mine(spec): return statistics.OWN, colorsys.rgb_to_hsv is not None, sax.__name__, tfloop_cli.__version__
"""
    others = {"statistics.py": "OWN = 1", "tfloop_cli.py": "", "xml/data.py": "", "random.py": "raise SystemExit"}
    path = write(tmp_path, {"colorsys.py": code, **others})
    assert build(path) == (1, True, "xml.sax", "0.1.0")
    assert sys.modules["random"].__file__ != str(tmp_path / "random.py")
    assert "OWN" not in vars(__import__("statistics"))


def test_component_of_module_beside_the_code_is_registered(tmp_path: Path) -> None:
    net = "from tfloop_cli import models\n@models.register('net')\ndef net(spec, units=3): return units\n"
    path = write(tmp_path, {"my.py": "import nets\n", "nets.py": net})
    plugins.load([path])
    assert models.declaration("net").file == str(tmp_path / "nets.py")
    assert models.build(Component("net"), None) == 3
    plugins.load()
    assert "net" not in models.names()


def test_error_in_module_beside_the_code_has_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, {"my.py": "import helper\n", "helper.py": "\n1 / 0\n"})
    with pytest.raises(TfloopError) as caught:
        plugins.load([path])
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(tmp_path / "helper.py"), 2)
    write(tmp_path, {"helper.py": "1 +\n"})
    with pytest.raises(TfloopError, match=r"helper\.py:1.*not valid Python"):
        plugins.load([path])
    write(tmp_path, {"helper.py": "import missing_helper\n"})
    with pytest.raises(TfloopError, match="No module named 'missing_helper'"):
        plugins.load([path])


def test_run_has_a_copy_of_the_modules(tmp_path: Path) -> None:
    path = write(tmp_path / "code", {"my.py": MY, **FILES})
    other = write(tmp_path / "other", {"my.py": "import helper\n", "helper.py": ""})
    assert build(path, other) == RESULT
    files, modules = copy_code([path, other], tmp_path / "run")
    assert (list(files), list(modules)) == (["my.py", "folder-2/my.py"], [*USED, "folder-2/helper.py"])
    assert changed_code(files | modules, [path, other]) == []
    (tmp_path / "code" / "lazy.py").write_text("LAZY = 1\n")
    assert changed_code(files | modules, [path, other]) == [tmp_path / "code" / "lazy.py"]
    shutil.rmtree(tmp_path / "code")
    copies = verified_copies(tmp_path / "run", files)
    assert build(*copies, only=[*copies, *verified_copies(tmp_path / "run", modules)]) == RESULT
    assert copy_code(copies, tmp_path / "run") == (files, modules)  # `--resume --code run/code/my.py`


def test_copies_import_no_file_that_was_not_copied(tmp_path: Path) -> None:
    code = """
from tfloop_cli import models
try:
    import extra as found
except ImportError:
    found = None
import statistics

@models.register("mine")
def mine(spec): return found, statistics.__name__
"""
    path = write(tmp_path / "code", {"my.py": code})
    files, modules = copy_code([path], tmp_path / "run")
    write(tmp_path / "run", {"extra.py": "", "statistics/__init__.py": "raise SystemExit", "my/extra.py": ""})
    copies = verified_copies(tmp_path / "run", files)
    assert build(*copies, only=[*copies, *verified_copies(tmp_path / "run", modules)]) == (None, "statistics")
