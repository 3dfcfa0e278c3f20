"""What `tfloop doctor` finds wrong, and what to do about it."""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tfloop_cli.hardware import cpu, missing_gpu_hint

LITTLE_MEMORY, LITTLE_DISK = 2**30, 2**30  # bytes
SLOW = 0.5  # of the usual speed


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        message: what was found.
        hint: what to do.
        fatal: whether training is impossible.
    """

    message: str
    hint: str
    fatal: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """The problem as data."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{'error' if self.fatal else 'warning'}: {self.message}\n  {self.hint}"


def findings(document: Mapping[str, Any]) -> list[Finding]:
    """Returns the problems in the document of `tfloop doctor`, those that make training impossible first."""
    checks: tuple[Callable[[Mapping[str, Any]], Iterator[Finding]], ...] = (
        _installation, _disks, _tensorflow, _memory, _cores, _speed, _texts,
    )  # fmt: skip
    found = [one for check in checks for one in check(document)]
    return sorted(found, key=lambda one: not one.fatal)


def _installation(document: Mapping[str, Any]) -> Iterator[Finding]:
    missing = document["packages"]["missing"]
    if missing:
        command = " ".join(f"'{one}'" for one in missing)
        yield Finding(f"packages are missing or too old: {', '.join(missing)}", f"pip install {command}", fatal=True)
    if not document["packages"]["installed"]:
        yield Finding("tfloop is not installed, so its extras are unknown", "`pip install .` in the checkout")


def _tensorflow(document: Mapping[str, Any]) -> Iterator[Finding]:
    tested = document["tensorflow"]
    if "error" in tested:
        hint = "`python -c 'import tensorflow'` shows all of it; `pip install --force-reinstall tensorflow`"
        if "SIGILL" in tested["error"]:
            hint = "this processor lacks an instruction set that TensorFlow needs, usually AVX: use another machine"
        yield Finding(f"TensorFlow does not work: {tested['error']}", hint, fatal=True)
        return
    missing_gpu = missing_gpu_hint(document["environment"].get("CUDA_VISIBLE_DEVICES"))
    if not tested["gpus"] and missing_gpu:
        yield Finding("there is a GPU, but TensorFlow does not find it", missing_gpu)
    could = platform.system() == "Linux" and "avx512vl" in cpu()[1]
    if tested["operations"] and could:
        reason = f"the C++ operations, which this processor supports, are unavailable: {tested['operations']}"
        hint = "install a C++ compiler, such as g++, and then tfloop: `pip install --force-reinstall --no-deps .`"
        yield Finding(reason, hint)


def _disks(document: Mapping[str, Any]) -> Iterator[Finding]:
    for name, disk in document["disk"].items():
        if "error" in disk:
            yield Finding(disk["error"], "unset the variable, or set a number", fatal=True)
        if not disk["writable"]:
            hint = "`--set runs_dir=FOLDER`, or another current folder" if name == "runs" else "set `TFLOOP_CACHE`"
            yield Finding(f"{disk['folder']} is not writable", hint, fatal=name == "runs")
        elif disk["free"] is not None and disk["free"] < LITTLE_DISK:
            hint = "remove old runs, or use `--set runs_dir=FOLDER`" if name == "runs" else "`tfloop cache --clear`"
            yield Finding(f"less than 1 GiB is free for {disk['folder']}", hint)


def _memory(document: Mapping[str, Any]) -> Iterator[Finding]:
    memory = document["memory"]
    if min(memory["available"], memory["limit"] or memory["available"]) < LITTLE_MEMORY:
        yield Finding("less than 1 GiB of memory is available", "end other programs, or use a smaller `batch_size`")


def _cores(document: Mapping[str, Any]) -> Iterator[Finding]:
    one = document["cpu"]
    if one["quota"] is not None and one["quota"] < one["cores"]:
        threads = max(1, int(one["quota"]))
        yield Finding(
            f"this process may use the time of {one['quota']:g} cores, but `threads: auto` is {one['cores']}",
            f"`--set threads={threads}`",
        )


def _speed(document: Mapping[str, Any]) -> Iterator[Finding]:
    tested, load = document["tensorflow"], document["cpu"]["load"]
    busy = load > document["cpu"]["cores"] + 1
    expected = tested.get("expected_steps_per_second")
    if expected and tested["steps_per_second"] < SLOW * expected:
        fraction = tested["steps_per_second"] / expected
        hint = "other programs use the cores: end them" if busy else "look for limits of power, heat, or virtual cores"
        yield Finding(f"training has {fraction:.0%} of the speed that is usual at this speed of matrix products", hint)
    elif busy and "steps_per_second" in tested:
        yield Finding(f"the load is {load:.1f} on {document['cpu']['cores']} cores", "other programs slow the training")


def _texts(document: Mapping[str, Any]) -> Iterator[Finding]:
    if document["locale"].lower().replace("-", "") != "utf8":
        yield Finding(f"the locale's encoding is {document['locale']}, not UTF-8", "`export LC_ALL=C.UTF-8`")
