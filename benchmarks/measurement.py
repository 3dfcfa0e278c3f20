"""Measures training commands from outside: each training is a process, and the commands take turns.

Every command prints JSON documents as `tfloop train --json` does: one line per epoch, and one for the test split. The
time at which a line arrives is measured here, so that one clock times all commands, and what happens between two epochs
counts. `tfloop train` draws its progress bar instead; the same documents are read from metrics.jsonl in its run folder,
and a line arrives when the file is modified.
"""

import json
import os
import pty
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
POLL_SECONDS = 0.05  # between two reads of a file; each read takes CPU time from a process that uses all cores
STDERR_CHARACTERS = 4000  # that are shown if a command fails
Documents = list[tuple[float, dict[str, Any]]]  # seconds until the arrival, document


class CommandError(Exception):
    """A command failed, or printed less than it should; the message has its last output."""


@dataclass(frozen=True)
class Measurement:
    """One training, measured from outside.

    Attributes:
        startup_seconds: from the start of the process to the call of the first step: the arrival of the first epoch's
            line minus the epoch's own seconds. Tracing and compilation in the first step count as part of the epoch.
        epoch_seconds: seconds of each epoch. The first is the value that the command prints; each later one is the time
            between two lines without validation, so it includes saving and displaying.
        printed_seconds: seconds of each epoch, as the command prints them.
        examples: training examples per epoch.
        total_seconds: of the whole command, including the test split.
        peak_bytes: maximum memory of the process (resident set size).
        metrics: of the test split.
        weights_sha256: of the last weights; None if the command does not print it.
    """

    startup_seconds: float
    epoch_seconds: list[float]
    printed_seconds: list[float]
    examples: int
    total_seconds: float
    peak_bytes: int
    metrics: dict[str, float]
    weights_sha256: str | None = None

    @property
    def first_epoch_rate(self) -> float:
        """Examples per second in the first epoch."""
        return self.examples / self.epoch_seconds[0]

    @property
    def warm_rate(self) -> float:
        """Examples per second in the median later epoch; in the first epoch if there is no other."""
        return self.examples / median(self.epoch_seconds[1:] or self.epoch_seconds)


@dataclass(frozen=True)
class TrainingCommand:
    """A command that trains a model.

    Attributes:
        command: accepts `--epochs N` and `--seed N` as further options.
        environment: additional environment variables.
        history: path of the file with its JSON documents, in the folder of the process; None if it prints them.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    history: str | None = None

    def run(self, epochs: int, seed: int = 0) -> Measurement:
        """Trains once, in a new empty folder.

        Raises:
            CommandError: the command failed.
        """
        command = [*self.command, "--epochs", str(epochs), "--seed", str(seed)]
        return summarize(command, *observe(command, self.environment, self.history))


def tfloop(
    config: str, *sets: str, python: str = sys.executable, environment: Mapping[str, str] = {}
) -> TrainingCommand:
    """Returns `tfloop train` as its users run it: with progress bar, recorder and checkpoints."""
    changes = [part for one in ("validation=0", *sets) for part in ("--set", one)]
    train = [python, "-m", "tfloop_cli", "train", "--config", config, "--output", "run"]
    return TrainingCommand([*train, *changes], environment, "run/metrics.jsonl")


def script(name: str, *options: str, python: str = sys.executable) -> TrainingCommand:
    """Returns the command of a script in this folder."""
    return TrainingCommand([python, str(HERE / name), *options])


def measure_rounds(
    commands: Mapping[str, TrainingCommand], rounds: int, epochs: int, log: Callable[[str], None]
) -> dict[str, list[Measurement]]:
    """Measures every command once per round; returns one measurement per round for each name.

    The order changes from round to round, because it affects the result: files of a process may have left the page
    cache while others ran for minutes. Every second round is reversed, and each pair of rounds starts with the next
    command. A command that fails is logged and skipped from then on.

    Args:
        commands: by name. The first one is what the others are compared with.
        rounds: number of trainings per command.
        epochs: of each training.
        log: prints a line.

    Raises:
        CommandError: the first command failed.
    """
    first = next(iter(commands))
    measurements: dict[str, list[Measurement]] = {name: [] for name in commands}
    for number in range(rounds):
        names = list(measurements)
        start = number // 2 % len(names)
        order = names[start:] + names[:start]
        for name in order if number % 2 == 0 else reversed(order):
            try:
                one = commands[name].run(epochs)
            except CommandError as error:
                if name == first:
                    raise
                del measurements[name]
                log(f"round {number + 1}: {name} is skipped from now on: {error}")
                continue
            measurements[name].append(one)
            log(
                f"round {number + 1}: {name}: startup {one.startup_seconds:.1f} s, first epoch "
                f"{one.epoch_seconds[0]:.2f} s, warm {one.warm_rate:,.0f}/s, command {one.total_seconds:.1f} s"
            )
    return measurements


def summarize(command: Sequence[str], documents: Documents, total_seconds: float, peak_bytes: int) -> Measurement:
    """Computes a measurement from the results of `observe`.

    Raises:
        CommandError: the command did not print an epoch, or no result on the test split.
    """
    epochs = [(arrival, one) for arrival, one in documents if one["event"] == "epoch"]
    tests = [one["metrics"] for _, one in documents if one["event"] == "evaluation"]
    if not epochs or not tests:
        raise CommandError(f"{' '.join(command)} printed no epoch, or no result on the test split")
    printed = [one["train_seconds"] for _, one in epochs]
    # At least the epoch's own seconds: two lines within one poll of the file seem to arrive at the same time.
    between = [
        max(arrival - before - (one["validation_seconds"] or 0), one["train_seconds"])
        for (before, _), (arrival, one) in pairwise(epochs)
    ]
    arrival, first = epochs[0]
    return Measurement(
        startup_seconds=arrival - printed[0] - (first["validation_seconds"] or 0),
        epoch_seconds=[printed[0], *between],
        printed_seconds=printed,
        examples=round(first["examples_per_second"] * printed[0]),
        total_seconds=total_seconds,
        peak_bytes=peak_bytes,
        metrics=tests[-1],
        weights_sha256=documents[-1][1].get("weights_sha256"),
    )


def last_document(command: Sequence[str]) -> dict[str, Any]:
    """Runs a command and returns the last JSON document that it prints.

    Raises:
        CommandError: it failed, or printed none.
    """
    documents, _, _ = observe(command)
    if not documents:
        raise CommandError(f"{' '.join(command)} printed no JSON document")
    return documents[-1][1]


def observe(
    command: Sequence[str], environment: Mapping[str, str] = {}, history: str | None = None
) -> tuple[Documents, float, int]:
    """Runs a command in a new empty folder.

    Its stderr is a pseudo-terminal, and so is its stdout if `history` is the file to read. Variables that CI systems
    set are removed, because tfloop shows no progress bar with them.

    Returns:
        Its JSON documents with their arrival in seconds since its start, its seconds, its maximum memory in bytes.

    Raises:
        CommandError: its exit code is not 0; the message has its last output.
    """
    variables = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR")}
    variables |= {"TERM": "xterm-256color", "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    output: list[str] = []
    documents: Documents = []
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        stdout = terminal if history else subprocess.PIPE
        process = subprocess.Popen(command, stdout=stdout, stderr=terminal, text=True, env=variables, cwd=folder)
        os.close(terminal)
        lines = _receive(process.stdout) if process.stdout else _follow(Path(folder) / (history or ""), ended)
        threads = [
            threading.Thread(target=_read_terminal, args=(controller, output), daemon=True),
            threading.Thread(target=_read_documents, args=(lines, documents, started), daemon=True),
        ]
        for thread in threads:
            thread.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        for thread in threads:
            thread.join()
    os.close(controller)
    if process.returncode:
        shown = "".join(output)[-STDERR_CHARACTERS:]
        raise CommandError(f"{' '.join(command)} ended with exit code {process.returncode}:\n{shown}")
    return documents, seconds, usage.ru_maxrss * 1024  # Linux reports KiB


def _read_documents(lines: Iterable[tuple[float, str]], documents: Documents, started: float) -> None:
    for arrival, line in lines:
        if line.startswith("{"):
            documents.append((arrival - started, json.loads(line)))


def _receive(stream: Iterable[str]) -> Iterator[tuple[float, str]]:
    """Yields the lines of a pipe with the times of their arrival."""
    for line in stream:
        yield time.perf_counter(), line


def _follow(path: Path, ended: threading.Event) -> Iterator[tuple[float, str]]:
    """Yields the lines of a file as they are written, with the times of modification, until the writer has ended."""
    position, last, epoch = 0, False, time.time() - time.perf_counter()
    while not last:
        last = ended.wait(POLL_SECONDS)
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(position)
            while (line := file.readline()).endswith(b"\n"):
                position += len(line)
                yield os.fstat(file.fileno()).st_mtime - epoch, line.decode()


def _read_terminal(controller: int, output: list[str]) -> None:
    """Reads what a process writes to its terminal, as a terminal emulator does."""
    with suppress(OSError):  # Linux raises it when the other end is closed
        while data := os.read(controller, 65536):
            output.append(data.decode(errors="replace"))


def unavailable_reason(python: str | None, *modules: str) -> str | None:
    """Returns why a Python cannot run a script that imports these modules; None if it can."""
    if not python:
        return "no Python was given for it"
    program = f"import importlib.util as u; print(*(m for m in {modules!r} if not u.find_spec(m)))"
    try:
        missing = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return f"{missing} is not installed for {python}" if missing else None
