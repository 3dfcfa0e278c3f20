"""Bad configs by the hundred: mutations of every shipped one, each wrong in a known way and place."""

import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.durability.common import ROOT, Campaign
from tfloop_cli.errors import Problem

Lines = list[str]


class Mutation(NamedTuple):
    """A config made wrong.

    Attributes:
        content: the file.
        line: where the error has to be told; None where the file as a whole is wrong.
    """

    content: bytes
    line: int | None


def replaced(lines: Lines, number: int, text: str) -> Mutation:
    """Another text for a line, which is told of there."""
    return Mutation("\n".join([*lines[:number], text, *lines[number + 1 :]]).encode() + b"\n", number + 1)


def appended(lines: Lines, text: str, line: int = 0) -> Mutation:
    """Lines at the end; the error lies in one of these, the first unless said otherwise."""
    return Mutation("\n".join([*lines, text]).encode() + b"\n", len(lines) + 1 + line)


def misspelled(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """A key with a letter too many."""
    key, colon, rest = lines[number].partition(":")
    place = chance.randrange(len(key.rstrip()))
    return replaced(lines, number, key[:place] + chance.choice("qxz") + key[place:] + colon + rest)


def wrong_type(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """What no key can have."""
    key = lines[number].partition(":")[0]
    return replaced(
        lines, number, f"{key}: {chance.choice(['[[1]]', '[null]', '-3.5', '1e400', '!!python/name:os.system'])}"
    )


def twice(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """A key that is there already."""
    return appended(lines, lines[number].partition(":")[0] + ": 3")


def bad_value(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """A key that is not in the file yet, with a value that it cannot have."""
    values = {
        "warmup_steps": ["-1", "1.5", "no", "ten"], "drop_remainder": ["yes", "1", "off"], "device": ["gpuu", "gpu:x"],
        "precision": ["float8", "16", "true"], "compile": ["xls", "yes"], "threads": ["0", "many", "-2"],
        "kernels": ["cuda", "true"],
        "clip_norm": ["-1", ".nan", ".inf", "0"], "ema_decay": ["1", "0", "2.0"], "on_nonfinite": ["ignore", "null"],
        "on_bad_example": ["ignore", "true"],
        "checkpoint": ["{keep: 0}", "{every_step: 5}", "3", "[1]"], "early_stopping": ["{patience: 3}", "5"],
        "name": ["../x", ".x", "a/b", "''"], "schedule": ["cosin", "{name: cosine, step: 3}", "{name: piecewise}", "7"],
        "augment": ["flipp", "[shfit]", "{name: flip}", "[{name: shift, pixels: -1}]"], "extends": ["gone.yaml"],
        "steps_per_execution": ["0", "autto", "1.0"], "runs_dir": ["''", "[a]", "3"], "epoch": ["3"], "lr": ["0.1"],
    }  # fmt: skip
    there = {line.partition(":")[0] for line in lines}
    key = chance.choice([key for key in values if key not in there])
    return appended(lines, f"{key}: {chance.choice(values[key])}")


def trap(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """What YAML is known for."""
    text, line = chance.choice([
        ("\tepochs: 3", 0), ("compile: [none", None), ("compile: 'none", None), ("compile: {a: b", None),
        ("? [a]\n: 3", 0),
        ("<<: {seed: 3}", 0), ("compile: *nowhere", 0), ("1: 2", 0), ("null: 3", 0), ("clip_norm: 12:30:00", 0),
        ("ema_decay: 1_000", 0), ("clip_norm: ${env:TFLOOP_NOT_SET}", 0),
        ("---\na: 1", 0),
        ("compile: " + "[" * 200 + "]" * 200, 0), ("threads: " + "9" * 6000, 0), ("compile: !!binary aGVsbG8=", 0),
    ])  # fmt: skip
    made = appended(lines, text)
    return made if line is not None else Mutation(made.content, None)


def encoded(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """No text, no mapping, or not all of it."""
    text = "\n".join(lines) + "\n"
    return Mutation(
        chance.choice([
            text.encode("utf-16"), text.encode("utf-32"), text.encode() + b"name: \xe9\n", b"\x7fELF" + text.encode(),
            text.encode().replace(b"\n", b"\0\n", 1), b"", b"# nothing\n", b"- a\n- b\n", b"42\n", bytes(range(256)),
            text.encode() + b"#" * (1 << 20), text.encode()[: len(text) // 2].rpartition(b"\n")[0] + b"\nmodel: [",
        ]),
        None,
    )  # fmt: skip


MUTATIONS: list[Callable[[Lines, int, random.Random], Mutation]]
MUTATIONS = [
    misspelled,
    misspelled,
    wrong_type,
    wrong_type,
    twice,
    bad_value,
    bad_value,
    bad_value,
    trap,
    trap,
    encoded,
]


def configs(campaign: Campaign, folder: Path) -> None:
    """Loads each mutation in this process, and gives some of them to a process of its own."""
    from tfloop_cli.config.loading import load
    from tfloop_cli.config.precedence import shipped_folder
    from tfloop_cli.errors import ExitCode, TfloopError

    chance = random.Random(11)
    shipped = sorted(Path(str(shipped_folder())).glob("*.yaml"))
    count, kinds, wrong, slowest = 100 if campaign.quick else 500, Counter[str](), [], (0.0, "")
    for number in range(count):
        source = shipped[number % len(shipped)]
        lines = source.read_text().splitlines()
        keys = [place for place, line in enumerate(lines) if re.match(r"(?!extends)\w+: .", line)]
        how = chance.choice(MUTATIONS)
        made = how(lines, chance.choice(keys), chance)
        file = folder / f"{number:03d}.yaml"
        file.write_bytes(made.content)
        kinds[how.__name__] += 1
        said, code, mute, seconds = "", 0, list[str](), time.process_time()
        try:
            load([str(file)])
        except TfloopError as error:
            code, said = error.code, str(error)
            mute = [problem.message for problem in error.problems if not says_what_to_do(problem)]
        except Exception as error:
            said = f"Traceback: {error!r}"
        slowest = max(slowest, (time.process_time() - seconds, f"{file.name}: {how.__name__}"))
        place = f"{file}:{made.line}" if made.line else str(file)
        if code != ExitCode.USAGE or place not in said or mute:
            wrong.append(f"{file.name} ({how.__name__} of {source.name}, line {made.line}): {said[-300:] or 'taken'}")
        if (number + 1) % 100 == 0:
            campaign.say(f"{number + 1} configs, {len(wrong)} wrong")
    figures = f"{count} configs ({dict(kinds)}), slowest {slowest[0]:.2f} s, wrong: {wrong or 0}"
    figures += f" ({slowest[1]})" if slowest[0] >= 1 else ""
    campaign.hold("bad configs: exit 2, the line and what to do, no traceback", not wrong and slowest[0] < 1, figures)
    as_processes(campaign, folder, chance.sample(range(count), 5 if campaign.quick else 50))


def says_what_to_do(problem: Problem) -> bool:
    """By a hint, or because the message itself names what is allowed or missing."""
    return bool(problem.hint) or " must be " in problem.message or " is required: " in problem.message


def as_processes(campaign: Campaign, folder: Path, numbers: list[int]) -> None:
    """What a shell sees: the exit code, the time, and that TensorFlow was not loaded."""
    wrong, slowest = [], 0.0
    for number in numbers:
        command = [sys.executable, "-X", "importtime", "-m", "tfloop_cli", "train", "-c", f"{number:03d}.yaml"]
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        spent: list[float] = []
        while len(spent) < 3 and min(spent, default=1) >= 1:  # other work on the machine may slow one, not three
            started = time.monotonic()
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            spent.append(time.monotonic() - started)
        slowest = max(slowest, min(spent))
        loaded = re.search(r"\| +(tensorflow|keras|numpy)$", done.stderr, re.MULTILINE)
        if done.returncode != 2 or loaded or "Traceback" in done.stderr or done.stdout:
            wrong.append(f"{number:03d}.yaml: exit {done.returncode}, {loaded}")
    made = [path.name for path in folder.iterdir() if path.suffix != ".yaml"]
    figures = f"{len(numbers)} processes, slowest {slowest:.2f} s, files left {made or 'none'}, wrong: {wrong or 0}"
    good = not wrong and not made and slowest < 1
    campaign.hold("bad configs as processes: exit 2 under a second, TensorFlow not loaded", good, figures)
