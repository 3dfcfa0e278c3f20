"""What a run was made of and on: the contents of meta.json."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tfloop_cli
from tfloop_cli.rundir import utc

_PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "safetensors")


def gather(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, machine, command line, start time (UTC) and git commit of now and here.

    Args:
        facts: what only the engine knows: device, threads, data fingerprint ...; stands beside the rest.
    """
    model, flags = cpu()
    return {
        "started": utc(time.time()),
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "git_commit": _git_commit(),
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "platform": platform.platform(),
        "cpu": model,
        "cpu_flags": flags,
        "cores": os.cpu_count(),
        "versions": versions(),
        **facts,
    }


def versions() -> dict[str, str | None]:
    """Versions of tfloop, Python and the packages that decide a run's bits, read without importing them."""
    found: dict[str, str | None] = {"tfloop": tfloop_cli.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def cpu() -> tuple[str, list[str]]:
    """The CPU's name and instruction set flags; no flags where the system does not list them."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:  # not Linux
        pass
    flags = fields.get("flags") or fields.get("Features") or ""  # x86 or ARM
    return fields.get("model name") or platform.processor() or platform.machine(), sorted(flags.split())


def _git_commit() -> str | None:
    """The commit of the folder we stand in, "-dirty" at its end where files differ from it; None outside git."""
    # A repository's own config may name a program as fsmonitor: reading a commit must run nothing.
    command = ["git", "-c", "core.fsmonitor=false", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
