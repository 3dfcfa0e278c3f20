"""Hundreds of invalid configs: mutations of every built-in config, each with a known error and a known line."""

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
    """An invalid config.

    Attributes:
        content: of the file.
        line: the line that the error must name; None if the file as a whole is invalid.
    """

    content: bytes
    line: int | None


def replaced(lines: Lines, number: int, text: str) -> Mutation:
    """Replaces a line; the error must name it."""
    return Mutation("\n".join([*lines[:number], text, *lines[number + 1 :]]).encode() + b"\n", number + 1)


def appended(lines: Lines, text: str, line: int = 0) -> Mutation:
    """Appends lines; the error must name one of these, the first by default."""
    return Mutation("\n".join([*lines, text]).encode() + b"\n", len(lines) + 1 + line)


def misspelled_key(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """Adds a letter to a key."""
    key, colon, rest = lines[number].partition(":")
    position = chance.randrange(len(key.rstrip()))
    return replaced(lines, number, key[:position] + chance.choice("qxz") + key[position:] + colon + rest)


def wrong_type(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """Replaces a value by one that no key accepts."""
    key = lines[number].partition(":")[0]
    value = chance.choice(["[[1]]", "[null]", "-3.5", "1e400", "!!python/name:os.system"])
    return replaced(lines, number, f"{key}: {value}")


def duplicate_key(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """Repeats a key."""
    return appended(lines, lines[number].partition(":")[0] + ": 3")


def invalid_value(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """Adds a key that the file does not have, with a value that it does not accept."""
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
    present = {line.partition(":")[0] for line in lines}
    key = chance.choice([key for key in values if key not in present])
    return appended(lines, f"{key}: {chance.choice(values[key])}")


def yaml_pitfall(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """Appends one of the known pitfalls of YAML."""
    text, line = chance.choice([
        ("\tepochs: 3", 0), ("compile: [none", None), ("compile: 'none", None), ("compile: {a: b", None),
        ("? [a]\n: 3", 0),
        ("<<: {seed: 3}", 0), ("compile: *nowhere", 0), ("1: 2", 0), ("null: 3", 0), ("clip_norm: 12:30:00", 0),
        ("ema_decay: 1_000", 0), ("clip_norm: ${env:TFLOOP_NOT_SET}", 0),
        ("---\na: 1", 0),
        ("compile: " + "[" * 200 + "]" * 200, 0), ("threads: " + "9" * 6000, 0), ("compile: !!binary aGVsbG8=", 0),
    ])  # fmt: skip
    mutation = appended(lines, text)
    return mutation if line is not None else Mutation(mutation.content, None)


def unreadable(lines: Lines, number: int, chance: random.Random) -> Mutation:
    """Makes the content not a text, not a mapping, or incomplete."""
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
MUTATIONS = [  # repeated ones are more frequent
    misspelled_key,
    misspelled_key,
    wrong_type,
    wrong_type,
    duplicate_key,
    invalid_value,
    invalid_value,
    invalid_value,
    yaml_pitfall,
    yaml_pitfall,
    unreadable,
]


def configs(campaign: Campaign, folder: Path) -> None:
    """Loads each mutation in this process, and some of them in a separate one."""
    from tfloop_cli.config.loading import load
    from tfloop_cli.config.precedence import shipped_folder
    from tfloop_cli.errors import ExitCode, TfloopError

    chance = random.Random(11)
    shipped = sorted(Path(str(shipped_folder())).glob("*.yaml"))
    count, kinds, failures, slowest = 100 if campaign.quick else 500, Counter[str](), [], (0.0, "")
    for number in range(count):
        source = shipped[number % len(shipped)]
        lines = source.read_text().splitlines()
        keys = [index for index, line in enumerate(lines) if re.match(r"(?!extends)\w+: .", line)]
        mutate = chance.choice(MUTATIONS)
        mutation = mutate(lines, chance.choice(keys), chance)
        file = folder / f"{number:03d}.yaml"
        file.write_bytes(mutation.content)
        kinds[mutate.__name__] += 1
        message, code, unhelpful, seconds = "", 0, list[str](), time.process_time()
        try:
            load([str(file)])
        except TfloopError as error:
            code, message = error.code, str(error)
            unhelpful = [problem.message for problem in error.problems if not is_helpful(problem)]
        except Exception as error:
            message = f"Traceback: {error!r}"
        slowest = max(slowest, (time.process_time() - seconds, f"{file.name}: {mutate.__name__}"))
        place = f"{file}:{mutation.line}" if mutation.line else str(file)
        if code != ExitCode.USAGE or place not in message or unhelpful:
            what = f"{file.name} ({mutate.__name__} of {source.name}, line {mutation.line})"
            failures.append(f"{what}: {message[-300:] or 'accepted'}")
        if (number + 1) % 100 == 0:
            campaign.log(f"{number + 1} configs, {len(failures)} failures")
    details = f"{count} configs ({dict(kinds)}), slowest {slowest[0]:.2f} s, failures: {failures or 0}"
    details += f" ({slowest[1]})" if slowest[0] >= 1 else ""
    passed = not failures and slowest[0] < 1
    campaign.check("invalid configs: exit code 2, line and hint, no traceback", passed, details)
    load_in_processes(campaign, folder, chance.sample(range(count), 5 if campaign.quick else 50))


def is_helpful(problem: Problem) -> bool:
    """Whether a problem has a hint, or a message that names what is allowed or missing."""
    return bool(problem.hint) or " must be " in problem.message or " is required: " in problem.message


def load_in_processes(campaign: Campaign, folder: Path, numbers: list[int]) -> None:
    """Checks exit code and time of separate processes, and that they do not load TensorFlow."""
    failures, slowest = [], 0.0
    for number in numbers:
        command = [sys.executable, "-X", "importtime", "-m", "tfloop_cli", "train", "-c", f"{number:03d}.yaml"]
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        seconds: list[float] = []
        while len(seconds) < 3 and min(seconds, default=1) >= 1:  # other load on the machine may slow down one of three
            started = time.monotonic()
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            seconds.append(time.monotonic() - started)
        slowest = max(slowest, min(seconds))
        loaded = re.search(r"\| +(tensorflow|keras|numpy)$", done.stderr, re.MULTILINE)
        if done.returncode != 2 or loaded or "Traceback" in done.stderr or done.stdout:
            failures.append(f"{number:03d}.yaml: exit code {done.returncode}, {loaded}")
    created = [path.name for path in folder.iterdir() if path.suffix != ".yaml"]
    details = f"{len(numbers)} processes, slowest {slowest:.2f} s, files created: {created or 'none'}, "
    details += f"failures: {failures or 0}"
    passed = not failures and not created and slowest < 1
    campaign.check("invalid configs in processes: exit code 2 within 1 s, TensorFlow not loaded", passed, details)
