"""How a contender is measured: a process of its own, watched from outside, in turn with the others.

Every contender speaks as `tfloop train --json` does: a line an epoch, a line for the test split. The moment at which a
line arrives is taken here, so each is timed by the same clock, and what happens between epochs counts. tfloop itself
draws its screen instead, and is read from the run folder's metrics.jsonl, which has the same lines.
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
POLLED_SECONDS = 0.05  # between two looks at a file: each takes a moment from a process that uses all cores
KEPT = 4000  # characters of stderr, to be shown where a contender fails
Documents = list[tuple[float, dict[str, Any]]]  # moment of arrival, document


class FailedError(Exception):
    """A contender did not come to its end; says why."""


@dataclass(frozen=True)
class Contender:
    """A command that trains.

    Attributes:
        command: takes `--epochs N` and `--seed N` besides what stands here.
        environment: variables that it needs.
        history: the file in the process's folder where its lines are; None where it prints them.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    history: str | None = None

    def run(self, epochs: int, seed: int = 0) -> "Measured":
        """Trains once, in an empty folder."""
        command = [*self.command, "--epochs", str(epochs), "--seed", str(seed)]
        return measure(command, *watch(command, self.environment, self.history))


@dataclass(frozen=True)
class Measured:
    """One training, as it looked from outside.

    Attributes:
        start: seconds from the process's start until its first step is called: the arrival of the first epoch's line,
            less the seconds that the epoch says it took. What is compiled in the first step counts to the epoch.
        epochs: seconds of each epoch. The first one's are its own word, those of the others lie between two lines, less
            validation: with all that is saved and shown between two epochs.
        told: seconds of each epoch by its own word.
        examples: in an epoch.
        whole: seconds of the whole command, with the test split.
        peak: bytes, the most memory that the process held at once.
        metrics: of the test split.
    """

    start: float
    epochs: list[float]
    told: list[float]
    examples: int
    whole: float
    peak: int
    metrics: dict[str, float]

    @property
    def first(self) -> float:
        """Examples a second in the first epoch."""
        return self.examples / self.epochs[0]

    @property
    def warm(self) -> float:
        """Examples a second in the later epochs: the median one, or the first where there is no other."""
        return self.examples / median(self.epochs[1:] or self.epochs)


def tfloop(config: str, *sets: str, options: Sequence[str] = (), environment: Mapping[str, str] = {}) -> Contender:
    """`tfloop train`, as its users run it: with display, recorder and checkpoints."""
    changes = [part for one in ("validation=0", *sets) for part in ("--set", one)]
    train = [sys.executable, "-m", "tfloop_cli", "train", "--config", config, "--output", "run"]
    return Contender([*train, *changes, *options], environment, "run/metrics.jsonl")


def script(name: str, *options: str, python: str = sys.executable) -> Contender:
    """A script beside this one."""
    return Contender([python, str(HERE / name), *options])


def measure(command: Sequence[str], documents: Documents, whole: float, peak: int) -> Measured:
    """Makes what `watch` saw of a command into figures.

    Raises:
        FailedError: it said too little.
    """
    epochs = [(moment, one) for moment, one in documents if one["event"] == "epoch"]
    tests = [one["metrics"] for _, one in documents if one["event"] == "evaluation"]
    if not epochs or not tests:
        raise FailedError(f"{' '.join(command)} told of no epoch, or of no test")
    told = [one["train_seconds"] for _, one in epochs]
    between = [moment - before - (one["validation_seconds"] or 0) for (before, _), (moment, one) in pairwise(epochs)]
    moment, first = epochs[0]
    return Measured(
        start=moment - told[0] - (first["validation_seconds"] or 0),
        epochs=[told[0], *between],
        told=told,
        examples=round(first["examples_per_second"] * told[0]),
        whole=whole,
        peak=peak,
        metrics=tests[-1],
    )


def ask(command: Sequence[str]) -> dict[str, Any]:
    """The last JSON document of a command that answers a question, such as what the machine can do."""
    documents, _, _ = watch(command)
    if not documents:
        raise FailedError(f"{' '.join(command)} said nothing")
    return documents[-1][1]


def watch(
    command: Sequence[str], environment: Mapping[str, str] = {}, history: str | None = None
) -> tuple[Documents, float, int]:
    """Runs a command: its JSON documents and when each came (seconds from its start), its seconds, its peak bytes.

    Its stderr is a terminal, and its stdout too where `history` says what file to read. What CI sets is taken away: it
    would turn tfloop's screen off.

    Raises:
        FailedError: with what it wrote last.
    """
    variables = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR")}
    variables |= {"TERM": "xterm-256color", "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    shown: list[str] = []
    documents: Documents = []
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        out = terminal if history else subprocess.PIPE
        process = subprocess.Popen(command, stdout=out, stderr=terminal, text=True, env=variables, cwd=folder)
        os.close(terminal)
        lines = process.stdout or _tail(Path(folder) / (history or ""), ended)
        threads = [
            threading.Thread(target=_drain, args=(screen, shown), daemon=True),
            threading.Thread(target=_listen, args=(lines, documents, started), daemon=True),
        ]
        for thread in threads:
            thread.start()
        _, status, usage = os.wait4(process.pid, 0)
        whole = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        for thread in threads:
            thread.join()
    os.close(screen)
    if process.returncode:
        raise FailedError(f"{' '.join(command)} ended with {process.returncode}:\n{''.join(shown)[-KEPT:]}")
    return documents, whole, usage.ru_maxrss * 1024  # Linux counts KiB


def _listen(lines: Iterable[str], documents: Documents, started: float) -> None:
    """Takes down what is said, and when."""
    for line in lines:
        if line.startswith("{"):
            documents.append((time.perf_counter() - started, json.loads(line)))


def _tail(path: Path, ended: threading.Event) -> Iterator[str]:
    """Lines of a file as they come, until its writer has ended."""
    read, last = 0, False
    while not last:
        last = ended.wait(POLLED_SECONDS)
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(read)
            while (line := file.readline()).endswith(b"\n"):
                read += len(line)
                yield line.decode()


def _drain(screen: int, shown: list[str]) -> None:
    """Reads what a process draws, as a terminal would."""
    with suppress(OSError):  # how Linux says that the other end is closed
        while data := os.read(screen, 65536):
            shown.append(data.decode(errors="replace"))


def installed(python: str | None, *modules: str) -> str:
    """Why a Python cannot run a script that imports these modules; "" if it can."""
    if not python:
        return "no Python was named that has it"
    look = f"import importlib.util as u; print(*(m for m in {modules!r} if not u.find_spec(m)))"
    try:
        missing = subprocess.run([python, "-c", look], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return f"{python} has no {missing}" if missing else ""


def in_turn(
    contenders: Mapping[str, Contender], rounds: int, epochs: int, say: Callable[[str], None]
) -> dict[str, list[Measured]]:
    """Measures all, round by round, each round from another one on and every second round backwards.

    Whom one follows matters: what a process needs of the disk may have left memory while others ran for minutes. One
    that fails is left out from then on, with a word.

    Raises:
        FailedError: the first of them failed, with which the others are compared.
    """
    first = next(iter(contenders))
    rows: dict[str, list[Measured]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(rows)
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned if number % 2 == 0 else reversed(turned):
            try:
                one = contenders[name].run(epochs)
            except FailedError as error:
                if name == first:
                    raise
                del rows[name]
                say(f"round {number + 1}: {name} is left out: {error}")
                continue
            rows[name].append(one)
            say(
                f"round {number + 1}: {name}: start {one.start:.1f} s, first epoch {one.epochs[0]:.2f} s, "
                f"warm {one.warm:,.0f}/s, whole {one.whole:.1f} s"
            )
    return rows
