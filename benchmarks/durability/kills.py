"""SIGKILL and SIGTERM at random moments of a training, which is resumed until it is finished."""

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.durability.common import (
    OUTPUT,
    SMALL,
    Campaign,
    history,
    median,
    tfloop,
    verified_checkpoints,
    write_config,
)

# It uses all parts of the training state, and saves every few steps, so that many kills happen during a save.
CONFIG: dict[str, Any] = SMALL | {
    "dataset": SMALL["dataset"] | {"train_examples": 2400, "test_examples": 200},
    "model": {"name": "conv_net", "filters": [4], "batch_norm": True, "hidden": [16], "dropout": 0.3},
    "augment": ["flip", "affine"],
    "epochs": 3,
    "batch_size": 8,
    "validation": 200,
    "schedule": "cosine",
    "warmup_steps": 10,
    "ema_decay": 0.9,
    "steps_per_execution": 3,
    "checkpoint": {"every_steps": 3, "keep": 2},
    "early_stopping": {"patience_epochs": 9},
}


def fork(folder: Path, *arguments: object) -> int:
    """Runs the command line in a fork of this process, where TensorFlow is loaded but not started; returns the pid.

    A new process would load TensorFlow for some seconds, and kills in that time test little.
    """
    import tfloop_cli.commands.train  # noqa: F401
    from tfloop_cli.cli import app
    from tfloop_cli.signals import exit_on_signals

    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.chdir(folder)
        output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        exit_on_signals()
        app([str(argument) for argument in arguments])
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


def seconds_to_first_checkpoint(folder: Path) -> float:
    """Returns the seconds from the start of a process to its first checkpoint."""
    started = time.monotonic()
    pid = fork(folder, "train", "-c", "run.yaml", "-o", "timed", "-q")
    while not any((folder / "timed" / "checkpoints").glob("step-*")):
        time.sleep(0.01)
    seconds = time.monotonic() - started
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return seconds


def kill_after(pid: int, seconds: float) -> bool:
    """Kills a process after some seconds; returns False if it had finished before."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"tfloop ended with exit code {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def wait(pid: int) -> None:
    """Waits for a process to finish."""
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"tfloop ended with status {status}")


def kills(campaign: Campaign, folder: Path) -> None:
    """Kills a training with SIGKILL at random moments, and compares the result with an uninterrupted run."""
    wanted, chance = (4, random.Random(7)) if campaign.quick else (200, random.Random(1))
    write_config(folder / "run.yaml", CONFIG | ({"epochs": 1} if campaign.quick else {}))
    wait(fork(folder, "train", "-c", "run.yaml", "-o", "uninterrupted", "-q"))
    expected = history(folder / "uninterrupted")
    longest = seconds_to_first_checkpoint(folder) + 2.0
    campaign.log(f"each process is killed within {longest:.1f} s of its start")

    kill_count, runs, different, damaged = 0, 0, [], []
    moments = Counter[str]()
    while kill_count < wanted:
        name, killed = f"killed-{runs}", True
        while killed:
            last = kill_count >= wanted
            pid = fork(folder, "train", "-c", "run.yaml", "-o", name, "--resume", "-q")
            if last:
                wait(pid)
                killed = False
            else:
                killed = kill_after(pid, chance.uniform(0, longest))
            kill_count += killed
            try:
                found = verified_checkpoints(folder / name / "checkpoints")
                moments["after the first checkpoint" if found else "before the first checkpoint"] += killed
            except Exception as error:
                damaged.append(repr(error))
            if killed and kill_count % 20 == 0:
                campaign.log(f"{kill_count} kills, {runs} finished runs, {len(different)} different")
        runs += 1
        if history(folder / name) != expected:
            different.append(name)
        checkpoints = folder / name / "checkpoints"
        if leftovers := [path.name for path in checkpoints.iterdir() if path.name.startswith(".")]:
            damaged.append(f"{name}: {leftovers}")
    details = f"{kill_count} kills ({dict(moments)}), {runs} finished runs, "
    details += f"different: {different or 0}, damaged: {damaged or 0}"
    campaign.check("SIGKILL at random moments: history and weights are equal", not different and not damaged, details)


def sigterm(campaign: Campaign, folder: Path) -> None:
    """Sends SIGTERM at random moments of a training on MNIST, from its start; measures the seconds to exit."""
    wanted, chance = (3, random.Random(3)) if campaign.quick else (50, random.Random(2))
    run, seconds, codes, failures = 0, [], Counter[int](), []
    while len(seconds) < wanted:
        name = f"run-{run}"
        process = tfloop("train", "-c", "mnist", "-o", name, "--resume", "--epochs", "2", "-q", folder=folder)
        time.sleep(chance.uniform(0, 9))  # about as long as two epochs take
        if process.poll() is not None:
            failures += [f"exit code {process.returncode}"] * bool(process.returncode)
            run += 1
            continue
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        codes[process.wait()] += 1
        seconds.append(time.monotonic() - sent)
        started = (folder / name / "config.yaml").exists()
        found = verified_checkpoints(folder / name / "checkpoints") if started else []
        saved = found[-1].name if found else "no checkpoint yet"
        campaign.log(f"SIGTERM {len(seconds)}: {seconds[-1]:.2f} s, {saved}")
    resumed = tfloop("train", "-c", "mnist", "-o", f"run-{run}", "--resume", "--epochs", "2", "-q", folder=folder)
    failures += [f"resume: exit code {resumed.returncode}"] * bool(resumed.wait())
    failures += ["a traceback"] * ("Traceback" in (folder / OUTPUT).read_text())
    details = f"median {median(seconds):.2f} s, maximum {max(seconds):.2f} s, exit codes {dict(codes)}, "
    details += str(failures or "all resumed")
    # The signal itself ends a process in which Python has not started yet.
    passed = not failures and not set(codes) - {143, -signal.SIGTERM} and median(seconds) < 1 and max(seconds) < 3
    campaign.check(f"SIGTERM on MNIST: {wanted} processes exit soon and resume", passed, details)
