"""One save of a checkpoint, system call by system call: their order, a kill before each, and a full disk at each."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.durability.common import ROOT, Campaign, verified_checkpoints

# Saves a checkpoint and then removes an older one, as with `keep: 1`. The module of the training state is replaced,
# because it would load TensorFlow, and this section is about how bytes reach the disk.
PROGRAM = """
import os, sys, types
sys.modules["tensorflow"] = types.SimpleNamespace(Variable=object, Tensor=object, DType=object)
sys.modules["tfloop_cli.engine.snapshot"] = types.SimpleNamespace(Snapshot=object)
sys.modules["tfloop_cli.engine.state"] = types.SimpleNamespace(NO_STEP=-1, TrainState=object)
import numpy as np
from pathlib import Path
from tfloop_cli.engine.checkpoints.storage import write_checkpoint
from tfloop_cli.runs.checkpoints import list_checkpoints, remove, remove_leftovers
folder = Path(sys.argv[1])
def save(step, size=20_000):
    arrays = {"models/model/0000": np.arange(size, dtype=np.float32)}
    facts = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9, "train_examples": 1}
    now = {"step": step, "epoch": 0, "epoch_start": 0, "best_step": -1, "other_variables": 0}
    snapshot = types.SimpleNamespace(arrays=arrays, facts=now, weights_sha256=lambda: "0" * 64)
    return write_checkpoint(folder, snapshot, facts)
if sys.argv[2] == "old":
    save(1)
else:
    remove_leftovers(folder)
    before = list_checkpoints(folder)
    os.access("/BEGIN", 0)
    try:
        save(2)
        for path in before:
            remove(path)
        print("done")
    except OSError as error:
        print("disk error:", error)
    os.access("/END", 0)
"""
CALLS = "openat|write|fsync|mkdir|rename|unlink|unlinkat|rmdir|close|getdents64|newfstatat|fstat|lseek"


class Call(NamedTuple):
    """A system call of a save.

    Attributes:
        name: of the system call.
        number: how many calls of that name the process has made so far, this one included.
        line: of strace's output.
    """

    name: str
    number: int
    line: str


def run_program(folder: Path, action: str, *wrapper: str) -> "subprocess.CompletedProcess[str]":
    """Runs `PROGRAM` on a folder, under another program such as strace.

    Args:
        folder: for checkpoints.
        action: "old" creates the first checkpoint; "new" saves the second one and removes the first.
        wrapper: the command that runs it.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # no threads, so that the order of the calls is fixed
    command = [*wrapper, sys.executable, "-c", PROGRAM, str(folder), action]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def reset(folder: Path) -> Path:
    """Resets a folder to its initial content, one checkpoint; returns it."""
    template = Path(f"{folder}-old")
    if not template.exists():
        template.mkdir()
        done = run_program(template, "old")
        assert not done.returncode, done.stderr
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(template, folder))


def trace(folder: Path) -> list[Call]:
    """Returns the system calls of one save."""
    file = folder.parent / "trace.txt"
    run_program(folder, "new", "strace", "-y", "-s", "256", "-o", str(file))
    counts: Counter[str] = Counter()
    calls, inside = [], False
    for line in file.read_text().splitlines():
        if not (match := re.match(r"(\w+)\(", line)):
            continue
        counts[match[1]] += 1
        if '"/END"' in line:
            break
        if inside:
            calls.append(Call(match[1], counts[match[1]], line))
        inside = inside or '"/BEGIN"' in line
    assert calls, "strace shows no save"
    return calls


def order(campaign: Campaign, folder: Path) -> None:
    """Checks the order of write, fsync and rename in strace's output."""
    calls = trace(reset(folder / "run"))
    steps = []
    for call in calls:
        staged = re.search(r"\.staging-\d+(/[\w.]+)?", call.line)
        if call.name == "fsync" or (call.name == "write" and staged):
            steps.append(
                f"{call.name} {(staged[1] or '/').strip('/') or 'staging'}" if staged else f"{call.name} parent"
            )
        elif call.name.startswith("rename") and staged:
            steps.append("rename")
    steps = [step for number, step in enumerate(steps) if step != steps[number - 1] or not number]
    expected = "write state.safetensors, fsync state.safetensors, write manifest.json, fsync manifest.json, "
    expected += "fsync staging, rename, fsync parent"
    campaign.check("order of write, fsync and rename", ", ".join(steps) == expected, ", ".join(steps))


def syscalls(campaign: Campaign, folder: Path) -> None:
    """Kills a save with SIGKILL before each of its system calls."""
    run = reset(folder / "run")
    calls = trace(run)
    if campaign.quick:
        names = ("fsync", "rename", "mkdir", "unlinkat", "write")
        calls = [call for call in calls if call.name in names]
    failures, states = [], Counter[str]()
    for call in calls:
        reset(run)
        inject = f"inject={call.name}:error=EIO:signal=SIGKILL:when={call.number}"
        done = run_program(run, "new", "strace", "-o", str(folder / "trace.txt"), "-e", inject)
        try:
            found = [path.name for path in verified_checkpoints(run)]
        except Exception as error:
            found = [repr(error)]
        states[" + ".join(found)] += 1
        killed = done.returncode in (-9, 137) and '"/END"' not in (folder / "trace.txt").read_text()
        again = run_program(run, "new")  # leftovers do not prevent the next save
        leftovers = [path.name for path in run.iterdir() if path.name.startswith(".")]
        valid = found and {*found} <= {"step-00000001", "step-00000002", "step-00000002-2"}
        if not (killed and valid and "done" in again.stdout and not leftovers):
            failures.append((call.line[:80], found, killed, leftovers, again.stderr[-200:]))
    outcome = ", ".join(f"{names}: {count}" for names, count in states.items())
    details = f"{len(calls)} kills; checkpoints afterwards: {outcome} {failures or ''}"
    campaign.check("SIGKILL before each system call of a save", not failures, details)


def disk(campaign: Campaign, folder: Path) -> None:
    """Fills the disk during a save: each system call fails once, then a limit on file sizes, then a small tmpfs."""
    run = reset(folder / "run")
    calls = [call for call in trace(run) if re.fullmatch(CALLS, call.name)]
    if campaign.quick:
        calls = [call for call in calls if call.name in ("write", "fsync", "rename", "mkdir")]
    failures = []
    for call in calls:
        reset(run)
        inject = f"inject={call.name}:error=ENOSPC:when={call.number}"
        done = run_program(run, "new", "strace", "-o", str(folder / "trace.txt"), "-e", inject)
        failures += problems_after(run, done, call.line)
    campaign.check("each system call of a save fails with ENOSPC", not failures, f"{len(calls)} calls {failures or ''}")

    failures, sizes = [], range(0, 120, 40 if campaign.quick else 4)
    for kilobytes in sizes:
        reset(run)
        done = run_program(run, "new", "prlimit", f"--fsize={kilobytes * 1024}")
        failures += problems_after(run, done, f"limit {kilobytes} KiB")
    campaign.check("a limit on file sizes", not failures, f"{len(sizes)} limits {failures or ''}")

    failures, sizes = [], range(0, 160, 40 if campaign.quick else 4)
    for kilobytes in sizes:
        with tmpfs(folder / "small", 400) as small:
            if small is None:
                campaign.log("skipped: a full tmpfs (this user may not mount one)")
                return
            reset(small / "run")
            free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
            (small / "filler").write_bytes(bytes(max(0, free - kilobytes * 1024)))
            done = run_program(small / "run", "new")
            failures += problems_after(small / "run", done, f"{kilobytes} KiB left")
    campaign.check("a full tmpfs", not failures, f"{len(sizes)} sizes {failures or ''}")


def problems_after(run: Path, done: "subprocess.CompletedProcess[str]", cause: str) -> list[str]:
    """Returns the problems after a save on a full disk.

    There is none if the error was reported and every checkpoint is complete, the old one or the new one among them.
    """
    try:
        found = [path.name for path in verified_checkpoints(run)]
    except Exception as error:
        return [f"{cause}: {error!r}"]
    if done.returncode or not found or not re.match("disk error: .*|done", done.stdout):
        return [f"{cause}: exit code {done.returncode}, found {found}, {done.stdout[-80:]}{done.stderr[-300:]}"]
    if done.stdout.startswith("disk error") and "step-00000001" not in found and "step-00000002" not in found:
        return [f"{cause}: the old checkpoint is gone"]
    return []


@contextmanager
def tmpfs(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """A context with a filesystem of this size; None if this user may not mount one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
