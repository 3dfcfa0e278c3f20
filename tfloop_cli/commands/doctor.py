"""`tfloop doctor`: what tfloop finds on this machine, what is wrong with it, and what to do.

This process does not load TensorFlow, which may crash: `engine/self_test.py` runs in a process of its own.
"""

import json
import locale
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tfloop_cli import cache_folder, hardware
from tfloop_cli.commands.doctor_packages import packages
from tfloop_cli.commands.doctor_problems import SLOW, Finding, findings
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.metadata import versions
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.tables import aligned, byte_size

SPEED_SECONDS = 3.0  # of training, and of the matrix product
TIMEOUT = 180  # seconds, of the process that loads TensorFlow
VARIABLES = (
    "CI", "CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES", "KERAS_BACKEND", "LD_LIBRARY_PATH", "LD_PRELOAD", "NO_COLOR",
    "PYTHONPATH", "TERM", "TFDS_DATA_DIR", "XDG_CACHE_HOME", "XLA_FLAGS",
)  # fmt: skip
PREFIXES = (
    "KMP_", "MKL_", "OMP_", "OPENBLAS_", "TFLOOP_",
    # Of TensorFlow. `TF_` alone would also be Terraform's, which may be secret: TF_VAR_PASSWORD.
    "TF_CONFIG", "TF_CPP_", "TF_CUDNN_", "TF_DETERMINISTIC_", "TF_DISABLE_", "TF_ENABLE_", "TF_FORCE_", "TF_GPU_",
    "TF_NUM_", "TF_USE_", "TF_XLA_",
)  # fmt: skip
_SHOWN_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def doctor(console: Console, speed_test: bool) -> ExitCode:
    """Prints what was found, then the problems.

    Returns: DONE; USAGE if training is impossible here.
    """
    seconds = SPEED_SECONDS if speed_test else 0.0
    with console.status("testing TensorFlow and its speed" if speed_test else "testing TensorFlow"):
        tested = run_self_test(seconds)
    document = gather(tested)
    found = findings(document)
    document["problems"] = [one.document for one in found]
    if console.json:
        console.document(document)
    console.result(describe(document, found))
    return ExitCode.USAGE if any(one.fatal for one in found) else ExitCode.DONE


def run_self_test(seconds: float) -> dict[str, Any]:
    """Returns the document of `engine/self_test.py`; {"error": why} if TensorFlow does not work."""
    package = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "tfloop_cli.engine.self_test", str(seconds)]
    try:
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": paths}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"it does not start within {TIMEOUT} seconds"}
    except OSError as error:
        return {"error": f"{sys.executable}: {error.strerror}"}
    if done.returncode < 0:
        return {"error": f"it is ended by {signal.Signals(-done.returncode).name}"}
    try:
        tested: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": (done.stderr.strip().splitlines() or ["no reason was printed"])[-1]}
    return tested


def gather(tested: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON document, without its problems.

    Args:
        tested: the result of `run_self_test`.
    """
    name, flags = hardware.cpu()
    memory = psutil.virtual_memory()
    return {
        "event": "doctor",
        "versions": versions(),
        "packages": packages(),
        "cpu": {
            "name": name, "instructions": [one for one in _SHOWN_FLAGS if one in flags], "cores": hardware.cores(),
            "all_cores": hardware.all_cores(), "quota": hardware.cpu_quota(), "load": os.getloadavg()[0],
        },
        "memory": {"total": memory.total, "available": memory.available, "limit": hardware.memory_limit()},
        "disk": {"runs": _disk(Path("runs")), "cache": _cache()},
        "tensorflow": dict(tested),
        "environment": {
            key: os.environ[key] for key in sorted(os.environ) if key in VARIABLES or key.startswith(PREFIXES)
        },
        "locale": locale.getpreferredencoding(False),
        "terminal": {"stdout": sys.stdout.isatty(), "stderr": sys.stderr.isatty(), "encoding": sys.stdout.encoding},
    }  # fmt: skip


def describe(document: Mapping[str, Any], found: list[Finding]) -> str:
    """Returns the document as text: one row per subject, then the problems."""
    lines = aligned(list(_rows(document)), left=2)
    lines += ["", *(str(one) for one in found)] if found else ["", "no problems found"]
    return "\n".join(lines)


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "versions", ", ".join(f"{name} {number or 'missing'}" for name, number in document["versions"].items())
    cpu, memory, tested = document["cpu"], document["memory"], document["tensorflow"]
    yield "cpu", f"{cpu['name']}: {', '.join(cpu['instructions']) or 'instruction sets unknown'}"
    quota = "" if cpu["quota"] is None else f", limited to the time of {cpu['quota']:g}"
    yield "cores", f"{cpu['cores']} of {cpu['all_cores']}{quota}, load {cpu['load']:.1f}"
    limit = "" if memory["limit"] is None else f", limited to {byte_size(memory['limit'])}"
    yield "memory", f"{byte_size(memory['available'])} available of {byte_size(memory['total'])}{limit}"
    for name, disk in document["disk"].items():
        used = f"; {byte_size(disk['used'])} of at most {byte_size(disk['limit'])} in use" if "used" in disk else ""
        free = "unknown" if disk["free"] is None else byte_size(disk["free"])
        yield name, f"{disk['folder']}: {free} free{used}{'' if disk['writable'] else ', not writable'}"
    if "error" not in tested:
        yield "devices", ", ".join(["cpu", *(f"gpu:{number} {name}" for number, name in enumerate(tested["gpus"]))])
        yield "C++ operations", tested["operations"] or "loaded"
    for extra in document["packages"]["extras"]:
        command = f": {extra['command']}" if extra["missing"] else ""
        yield f"extra {extra['name']}", f"{', '.join(extra['missing'])} missing{command}" if command else "installed"
    variables = ", ".join(f"{key}={value}" for key, value in document["environment"].items())
    yield "environment", variables or "none of the variables that matter are set"
    streams = ("a terminal" if document["terminal"]["stdout"] else "no terminal", document["terminal"]["encoding"])
    yield "stdout", f"{', '.join(map(str, streams))}; locale {document['locale']}"
    if "steps_per_second" in tested:
        yield "speed", _speed(tested)


def _speed(tested: Mapping[str, Any]) -> str:
    steps, expected, verdict = tested["steps_per_second"], tested["expected_steps_per_second"], ""
    if expected:
        judged = "slow" if steps < SLOW * expected else "as expected"
        verdict = f": {judged}, since about {expected:,.0f} are usual at this speed of matrix products"
    return (
        f"{steps:,.0f} training steps of {tested['batch_size']} MNIST images per second on {tested['device']}, "
        f"matrix product {tested['gflops']:,.0f} GFLOP/s{verdict}"
    )


def _disk(folder: Path) -> dict[str, Any]:
    """Returns a folder with its free bytes, and whether it can be written to; that above it if it does not exist."""
    existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    try:
        free: int | None = shutil.disk_usage(existing).free
    except OSError:
        free = None
    return {
        "folder": str(folder),
        "free": free,
        "writable": existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
    }


def _cache() -> dict[str, Any]:
    disk = _disk(cache_folder.folder())
    try:
        return disk | {"used": sum(entry.bytes for entry in cache_folder.entries()), "limit": cache_folder.limit()}
    except TfloopError as error:
        return disk | {"error": str(error)}
