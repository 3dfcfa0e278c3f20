"""The processor of this machine, as the operating system describes it."""

import os
import platform
from pathlib import Path


def cpu() -> tuple[str, list[str]]:
    """Returns the name of the CPU and its instruction set flags; no flags if the system does not list them."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:  # not Linux
        pass
    flags = fields.get("flags") or fields.get("Features") or ""  # x86 or ARM
    return fields.get("model name") or platform.processor() or platform.machine(), sorted(flags.split())


def all_cores() -> int:
    """Returns the number of cores of the machine."""
    return os.cpu_count() or 1


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
