"""Processor, memory and GPU of this machine, as the operating system describes them."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl")
_NO_LIMIT = 2**60  # bytes: control groups of version 1 have a number for "no limit"


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


def missing_gpu_hint(visible: str | None) -> str | None:
    """Returns what to do if TensorFlow does not find the NVIDIA GPU of this machine; None if there is no such GPU.

    Args:
        visible: the environment variable CUDA_VISIBLE_DEVICES.
    """
    if not any(Path(file).exists() for file in GPU_FILES):
        return None
    if visible is not None:
        return f"`CUDA_VISIBLE_DEVICES={visible}` hides GPUs: `unset CUDA_VISIBLE_DEVICES`"
    return "`pip install 'tensorflow[and-cuda]'` installs the libraries that it needs"


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Returns the number of cores whose time the control group of this process may use; None without a limit."""
    quotas = []
    for folder in _control_groups(root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")  # version 2
        if not quota:  # version 1
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Returns the limit of the control group of this process in bytes; None without one."""
    limits = []
    for folder in _control_groups(root, "memory"):
        text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if text.isdecimal() and int(text) < _NO_LIMIT:
            limits.append(int(text))
    return min(limits, default=None)


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of this process's control group and of those above it, versions 2 and 1."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = PurePosixPath(path)
        yield from (mount / str(one).lstrip("/") for one in (group, *group.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
