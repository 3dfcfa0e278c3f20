"""What is compiled when the wheel is built, and what is said where it cannot be."""

import importlib.util
import os
import platform
import stat
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tfloop_cli.engine.kernels import native

FILE = Path(native.__file__).with_name("building.py")


@pytest.fixture
def building(monkeypatch, tmp_path: Path) -> ModuleType:
    """The module as hatchling loads it, which makes its library elsewhere."""
    plugin = ModuleType("hatchling.builders.hooks.plugin.interface")
    plugin.BuildHookInterface = object
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    spec = importlib.util.spec_from_file_location("building", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LIBRARY", tmp_path / "operations.so")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return module


def compiler(folder: Path, text: str) -> str:
    """A compiler that is a shell script."""
    script = folder / "compiler"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


def built(building: ModuleType) -> tuple[dict, list[str]]:
    """What a build of the wheel is told, and what the user is."""
    hook, data, said = building.KernelsHook(), {"artifacts": []}, []
    hook.root, hook.app = str(building.LIBRARY.parent), SimpleNamespace(display_warning=said.append)
    hook.initialize("standard", data)
    return data, said


def test_a_wheel_with_them_is_for_its_kind_of_machine(building, monkeypatch, tmp_path) -> None:
    # It writes down its arguments, and makes what stands behind -o.
    text = f'echo "$@" >> {tmp_path}/asked; while [ "$1" != -o ]; do shift; done; echo done > "$2"'
    monkeypatch.setenv("CXX", compiler(tmp_path, text))
    data, said = built(building)
    assert data == {"artifacts": ["operations.so"], "pure_python": False, "tag": "py3-none-linux_x86_64"}
    assert not said
    assert building.LIBRARY.read_text() == "done\n"
    stub, library = (tmp_path / "asked").read_text().splitlines()
    assert "-soname,libtensorflow_framework.so.2" in stub
    assert str(FILE.with_name("operations.cc")) in library


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("none", "there is no C++ compiler"),
        ("away", "No such file or directory"),
        ("failing", "compiler says: error: unrecognized command-line option"),
        ("arm", "they are for x86-64 processors under Linux"),
        ("mac", "they are for x86-64 processors under Linux"),
    ],
)
def test_where_they_cannot_be_built_the_wheel_goes_without(building, monkeypatch, tmp_path, how: str, why: str) -> None:
    monkeypatch.setenv("CXX", compiler(tmp_path, "echo 'error: unrecognized command-line option' >&2; exit 1"))
    if how == "none":
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", str(tmp_path))
    elif how == "away":
        Path(os.environ["CXX"]).unlink()
    elif how == "arm":
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    elif how == "mac":
        monkeypatch.setattr(sys, "platform", "darwin")
    building.LIBRARY.write_text("an older one")
    data, said = built(building)
    assert data == {"artifacts": []}
    (message,) = said
    assert message.startswith("tfloop goes without its own kernels: ")
    assert why in message
    assert not building.LIBRARY.exists()
