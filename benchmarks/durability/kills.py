"""SIGKILL and SIGTERM at random instants of whole trainings, resumed each time, to the end."""

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.durability.common import SMALL, Campaign, history, median, tfloop, whole, write_config

# Everything that a step changes is in it; a save every few steps, so that a random instant often falls into one.
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


def forked(folder: Path, *arguments: object) -> int:
    """Runs the command line in a fork of this process, in which TensorFlow is loaded but not started; its pid.

    A process of its own takes some seconds to load TensorFlow, and a kill in that time shows little.
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
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        exit_on_signals()
        app([str(argument) for argument in arguments])
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


def seconds_to_a_save(folder: Path) -> float:
    """From the start of a process to its first checkpoint."""
    started = time.monotonic()
    pid = forked(folder, "train", "-c", "run.yaml", "-o", "timed", "-q")
    while not any((folder / "timed" / "checkpoints").glob("step-*")):
        time.sleep(0.01)
    seconds = time.monotonic() - started
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return seconds


def killed_after(pid: int, seconds: float) -> bool:
    """Whether the process was still there to be killed after so many seconds."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"tfloop ended with exit code {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def kills(campaign: Campaign, folder: Path) -> None:
    """SIGKILL at random instants of a training, resumed each time, to the end: the bits of a run never stopped."""
    wanted, instants = (4, random.Random(7)) if campaign.quick else (200, random.Random(1))
    write_config(folder / "run.yaml", CONFIG | ({"epochs": 1} if campaign.quick else {}))
    ended(forked(folder, "train", "-c", "run.yaml", "-o", "unbroken", "-q"))
    expected = history(folder / "unbroken")
    length = seconds_to_a_save(folder) + 2.0
    campaign.say(f"kills come within {length:.1f} s of each start")

    kill_count, runs, wrong, torn = 0, 0, [], []
    reached = Counter[str]()
    while kill_count < wanted:
        name, alive = f"killed-{runs}", True
        while alive:
            last = kill_count >= wanted
            pid = forked(folder, "train", "-c", "run.yaml", "-o", name, "--resume", "-q")
            alive = ended(pid) if last else killed_after(pid, instants.uniform(0, length))
            kill_count += alive
            try:
                there = whole(folder / name / "checkpoints")
                reached["with a checkpoint" if there else "before the first"] += alive
            except Exception as error:
                torn.append(repr(error))
            if alive and kill_count % 20 == 0:
                campaign.say(f"{kill_count} kills, {runs} runs to the end, {len(wrong)} wrong")
        runs += 1
        if history(folder / name) != expected:
            wrong.append(name)
        if left := [path.name for path in (folder / name / "checkpoints").iterdir() if path.name.startswith(".")]:
            torn.append(f"{name}: {left}")
    figures = (
        f"{kill_count} kills ({dict(reached)}), {runs} runs to the end, not equal: {wrong or 0}, torn: {torn or 0}"
    )
    campaign.hold("SIGKILL at random instants; weights, metrics and score bit-equal", not wrong and not torn, figures)


def ended(pid: int) -> bool:
    """Waits for a process that nobody kills; False, for it is no longer alive."""
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"tfloop ended with status {status}")
    return False


def sigterm(campaign: Campaign, folder: Path) -> None:
    """SIGTERM at random instants of MNIST, start-up included: seconds to exit, and each time it goes on."""
    wanted, instants = (3, random.Random(3)) if campaign.quick else (50, random.Random(2))
    run, taken, codes, bad = 0, [], Counter[int](), []
    while len(taken) < wanted:
        name = f"run-{run}"
        process = tfloop("train", "-c", "mnist", "-o", name, "--resume", "--epochs", "2", "-q", folder=folder)
        time.sleep(instants.uniform(0, 9))  # two epochs take about so long
        if process.poll() is not None:  # it came to its end
            bad += [f"exit {process.returncode}"] * bool(process.returncode)
            run += 1
            continue
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        codes[process.wait()] += 1
        taken.append(time.monotonic() - sent)
        there = whole(folder / name / "checkpoints") if (folder / name / "config.yaml").exists() else []
        campaign.say(f"SIGTERM {len(taken)}: {taken[-1]:.2f} s, {there[-1].name if there else 'nothing to save yet'}")
    resumed = tfloop("train", "-c", "mnist", "-o", f"run-{run}", "--resume", "--epochs", "2", "-q", folder=folder)
    bad += [f"resume: exit {resumed.returncode}"] * bool(resumed.wait())
    bad += ["a traceback"] * ("Traceback" in (folder / "said.txt").read_text())
    figures = (
        f"median {median(taken):.2f} s, worst {max(taken):.2f} s, exit codes {dict(codes)}, {bad or 'all resumed'}"
    )
    good = not bad and not set(codes) - {143, -signal.SIGTERM}  # before Python runs a line, the signal itself ends it
    campaign.hold(
        f"SIGTERM to exit on MNIST, {wanted} instants", good and median(taken) < 1 and max(taken) < 3, figures
    )
