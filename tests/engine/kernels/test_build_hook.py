"""The build hook of the wheel: what it compiles, and its warnings where it cannot compile."""

import importlib.util
import platform
import stat
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tfloop_cli.engine.kernels import native

FILE = Path(native.__file__).with_name("building.py")


@pytest.fixture
def building(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module as hatchling loads it, on x86-64 Linux, with its library in `tmp_path`."""
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


def write_compiler(folder: Path, commands: str) -> str:
    """Writes a shell script that replaces the compiler; returns its path."""
    script = folder / "compiler"
    script.write_text(f"#!/bin/sh\n{commands}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


def run_hook(building: ModuleType) -> tuple[dict, list[str]]:
    """Returns the build data after the hook, and its warnings."""
    hook, data, warnings = building.KernelsHook(), {"artifacts": []}, []
    hook.root, hook.app = str(building.LIBRARY.parent), SimpleNamespace(display_warning=warnings.append)
    hook.initialize("standard", data)
    return data, warnings


def test_compiled_library_makes_platform_wheel(building, monkeypatch, tmp_path) -> None:
    # The script logs its arguments, and writes the file after -o.
    commands = f'echo "$@" >> {tmp_path}/arguments; while [ "$1" != -o ]; do shift; done; echo done > "$2"'
    monkeypatch.setenv("CXX", write_compiler(tmp_path, commands))
    data, warnings = run_hook(building)
    assert data == {"artifacts": ["operations.so"], "pure_python": False, "tag": "py3-none-linux_x86_64"}
    assert not warnings
    assert building.LIBRARY.read_text() == "done\n"
    stub, library = (tmp_path / "arguments").read_text().splitlines()
    assert "-soname,libtensorflow_framework.so.2" in stub
    assert str(FILE.with_name("operations.cc")) in library


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("no compiler", "no C++ compiler was found"),
        ("missing file", "No such file or directory"),
        ("compiler error", "compiler failed: error: unrecognized command-line option"),
        ("arm", "they require x86-64 Linux"),
        ("mac", "they require x86-64 Linux"),
    ],
)
def test_failed_compilation_makes_pure_wheel_with_warning(
    building, monkeypatch, tmp_path, problem: str, reason: str
) -> None:
    monkeypatch.setenv("CXX", write_compiler(tmp_path, "echo 'error: unrecognized command-line option' >&2; exit 1"))
    if problem == "no compiler":
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", str(tmp_path))
    elif problem == "missing file":
        (tmp_path / "compiler").unlink()
    elif problem == "arm":
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    elif problem == "mac":
        monkeypatch.setattr(sys, "platform", "darwin")
    building.LIBRARY.write_text("an earlier build")
    data, warnings = run_hook(building)
    assert data == {"artifacts": []}
    (warning,) = warnings
    assert warning.startswith("tfloop is installed without its C++ operations: ")
    assert reason in warning
    assert not building.LIBRARY.exists()
