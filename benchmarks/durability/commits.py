"""One commit, system call by system call: their order, a kill before each, and a full disk at each."""

import os
import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.durability.common import ROOT, Campaign, whole

# A commit beside an old checkpoint, which then goes, as with `keep: 1`. The state's module is left out: it would load
# TensorFlow, and what is tested here is how bytes reach the disk.
PROGRAM = """
import os, sys, types
sys.modules["tfloop_cli.engine.state"] = types.SimpleNamespace(NO_STEP=-1, TrainState=object)
import numpy as np
from pathlib import Path
from tfloop_cli.engine.checkpoints.format import Snapshot, write_checkpoint
from tfloop_cli.runs.checkpoints import list_checkpoints, remove, remove_leftovers
folder = Path(sys.argv[1])
def save(step, size=20_000):
    arrays = {"models/model/0000": np.arange(size, dtype=np.float32)}
    about = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9}
    return write_checkpoint(folder, Snapshot(arrays, {"step": step, "epoch": 0, "best_step": -1}, list(arrays)), about)
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
        print("refused:", error)
    os.access("/END", 0)
"""
CALLS = "openat|write|fsync|mkdir|rename|unlink|unlinkat|rmdir|close|getdents64|newfstatat|fstat|lseek"


class Call(NamedTuple):
    """A system call of the commit: its name, its how-manieth of that name in the process, and its line."""

    name: str
    number: int
    line: str


def python(folder: Path, what: str, *strace: str) -> "subprocess.CompletedProcess[str]":
    """Runs `PROGRAM` on a folder, under strace or another program."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # no threads: the calls come in one order
    command = [*strace, sys.executable, "-c", PROGRAM, str(folder), what]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def fresh(folder: Path) -> Path:
    """A folder with one old checkpoint in it."""
    old = Path(f"{folder}-old")
    if not old.exists():
        old.mkdir()
        done = python(old, "old")
        assert not done.returncode, done.stderr
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(old, folder))


def traced(folder: Path) -> list[Call]:
    """The calls of one commit."""
    trace = folder.parent / "trace.txt"
    python(folder, "new", "strace", "-y", "-s", "256", "-o", str(trace))
    seen: Counter[str] = Counter()
    calls, inside = [], False
    for line in trace.read_text().splitlines():
        if not (match := re.match(r"(\w+)\(", line)):
            continue
        seen[match[1]] += 1
        if '"/END"' in line:
            break
        if inside:
            calls.append(Call(match[1], seen[match[1]], line))
        inside = inside or '"/BEGIN"' in line
    assert calls, "strace saw no commit"
    return calls


def order(campaign: Campaign, folder: Path) -> None:
    """Write, fsync, rename as strace shows them."""
    calls = traced(fresh(folder / "run"))
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
    campaign.hold("order of write, fsync and rename", ", ".join(steps) == expected, ", ".join(steps))


def syscalls(campaign: Campaign, folder: Path) -> None:
    """SIGKILL right before each system call of one commit."""
    run = fresh(folder / "run")
    calls = traced(run)
    if campaign.quick:
        names = ("fsync", "rename", "mkdir", "unlinkat", "write")
        calls = [call for call in calls if call.name in names]
    bad, states = [], Counter[str]()
    for call in calls:
        fresh(run)
        inject = f"inject={call.name}:error=EIO:signal=SIGKILL:when={call.number}"
        done = python(run, "new", "strace", "-o", str(folder / "trace.txt"), "-e", inject)
        try:
            there = [path.name for path in whole(run)]
        except Exception as error:
            there = [repr(error)]
        states[" + ".join(there)] += 1
        killed = done.returncode in (-9, 137) and '"/END"' not in (folder / "trace.txt").read_text()
        again = python(run, "new")  # whatever was left behind is in nobody's way
        left = [path.name for path in run.iterdir() if path.name.startswith(".")]
        good = there and {*there} <= {"step-00000001", "step-00000002", "step-00000002-2"}
        if not (killed and good and "done" in again.stdout and not left):
            bad.append((call.line[:80], there, killed, left, again.stderr[-200:]))
    left = ", ".join(f"{what}: {count}" for what, count in states.items())
    campaign.hold(
        "SIGKILL before each system call of a commit", not bad, f"{len(calls)} kills; left {left} {bad or ''}"
    )


def disk(campaign: Campaign, folder: Path) -> None:
    """A full disk at each phase of a save: every call fails once, then a small tmpfs, then a file-size limit."""
    run = fresh(folder / "run")
    calls = [call for call in traced(run) if re.fullmatch(CALLS, call.name)]
    if campaign.quick:
        calls = [call for call in calls if call.name in ("write", "fsync", "rename", "mkdir")]
    bad = []
    for call in calls:
        fresh(run)
        inject = f"inject={call.name}:error=ENOSPC:when={call.number}"
        done = python(run, "new", "strace", "-o", str(folder / "trace.txt"), "-e", inject)
        bad += judged(run, done, call.line)
    campaign.hold("each system call of a save fails with ENOSPC", not bad, f"{len(calls)} calls {bad or ''}")

    bad, rooms = [], range(0, 120, 40 if campaign.quick else 4)
    for kilobytes in rooms:
        fresh(run)
        bad += judged(run, python(run, "new", "prlimit", f"--fsize={kilobytes * 1024}"), f"limit {kilobytes} KiB")
    campaign.hold("a limit on the size of files", not bad, f"{len(rooms)} limits {bad or ''}")

    bad, rooms = [], range(0, 160, 40 if campaign.quick else 4)
    for kilobytes in rooms:
        with tmpfs(folder / "small", 400) as small:
            if small is None:
                campaign.say("no right to mount a tmpfs: left out")
                return
            fresh(small / "run")
            free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
            (small / "filler").write_bytes(bytes(max(0, free - kilobytes * 1024)))
            bad += judged(small / "run", python(small / "run", "new"), f"{kilobytes} KiB left")
    campaign.hold("a full tmpfs", not bad, f"{len(rooms)} sizes {bad or ''}")


def judged(run: Path, done: "subprocess.CompletedProcess[str]", what: str) -> list[str]:
    """What is wrong after a save on a bad disk: nothing, if it said so and what is there is whole."""
    try:
        there = [path.name for path in whole(run)]
    except Exception as error:
        return [f"{what}: {error!r}"]
    if done.returncode or not there or not re.match("refused: .*|done", done.stdout):
        return [f"{what}: exit {done.returncode}, {there} is there, {done.stdout[-80:]}{done.stderr[-300:]}"]
    if done.stdout.startswith("refused") and "step-00000001" not in there and "step-00000002" not in there:
        return [f"{what}: the old checkpoint is gone"]
    return []


@contextmanager
def tmpfs(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """A filesystem of so much; None where this user may not mount one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def file_limit(size: int) -> None:
    """Lets this process write no file larger than `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
