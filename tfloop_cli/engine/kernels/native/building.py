"""Build hook: compiles the custom C++ operations of tfloop when its wheel is built.

Hatchling runs it (see pyproject.toml). It requires x86-64 Linux and a C++ compiler, but not TensorFlow. If compilation
is not possible, the wheel is built without the operations.
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
# The code uses AVX-512 without a check: the package checks the processor before it loads the library.
FLAGS = ["-std=c++20", "-O3", "-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512"]
SHARED = ["-fPIC", "-shared", "-pthread"]


class KernelsHook(BuildHookInterface):
    """Adds the compiled library to the wheel and tags the wheel with its platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        LIBRARY.unlink(missing_ok=True)
        if reason := compile_library():
            self.app.display_warning(f"tfloop is installed without its C++ operations: {reason}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
        build_data["artifacts"].append(str(LIBRARY.relative_to(self.root)))


def compile_library() -> str | None:
    """Compiles the library to LIBRARY. Returns None, or the reason if it cannot be compiled."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "they require x86-64 Linux"
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if not compiler:
        return "no C++ compiler was found (g++, or the one in CXX)"
    with tempfile.TemporaryDirectory() as folder:
        # TensorFlow's functions are in this library, which is already loaded when operations.so is loaded. Linking
        # requires only its name, so an empty library replaces it here.
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
                return f"{compiler} failed: {error.stderr.strip()[-2000:]}"
    return None
