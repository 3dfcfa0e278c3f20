"""Compiles tfloop's own kernels when its wheel is built: on x86-64 Linux, where there is a C++ compiler.

Hatchling runs this (pyproject.toml), without TensorFlow. Where it cannot be done, the wheel goes without them.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "operations.so"
# AVX-512 is looked for before the library is loaded, so that it may be taken for granted in it.
FLAGS = ["-std=c++20", "-O3", "-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512"]
SHARED = ["-fPIC", "-shared", "-pthread"]


class KernelsHook(BuildHookInterface):
    """Puts the library into the wheel, which is one for this kind of machine then."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        LIBRARY.unlink(missing_ok=True)
        if problem := compile_library():
            self.app.display_warning(f"tfloop goes without its own kernels: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
        build_data["artifacts"].append(str(LIBRARY.relative_to(self.root)))


def compile_library() -> str | None:
    """Makes the library; returns why not, if it cannot be made."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "they are for x86-64 processors under Linux"
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if not compiler:
        return "there is no C++ compiler (g++, or what CXX names)"
    with tempfile.TemporaryDirectory() as folder:
        # TensorFlow's functions come from this library, which is there whenever ours is loaded. The name is enough.
        name = "libtensorflow_framework.so.2"
        empty, stub = Path(folder, "empty.cc"), str(Path(folder, name))
        empty.touch()
        sources, links = str(FOLDER / "operations.cc"), ["-Wl,--no-as-needed", stub, "-Wl,-z,undefs"]
        for command in (
            [compiler, *SHARED, f"-Wl,-soname,{name}", str(empty), "-o", stub],
            [compiler, *SHARED, *FLAGS, sources, "-o", str(LIBRARY), *links],
        ):
            try:
                subprocess.run(command, capture_output=True, text=True, check=True)
            except OSError as error:
                return f"{compiler}: {error.strerror}"
            except subprocess.CalledProcessError as error:
                return f"{compiler} says: {error.stderr.strip()[-2000:]}"
    return None
