"""Corrupted checkpoints: flipped bits; truncated, swapped, empty and replaced files. Each must cause an error."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.durability.common import SMALL, Campaign

# Corrupts a file; the second path is the same file of another checkpoint.
Corruption = Callable[[Path, Path, random.Random], None]


def flip_bits(file: Path, other: Path, chance: random.Random) -> None:
    """Flips one or a few bits."""
    content = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 1, 1, 2, 9])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def truncate(file: Path, other: Path, chance: random.Random) -> None:
    """Removes the end."""
    os.truncate(file, chance.randrange(file.stat().st_size))


def append(file: Path, other: Path, chance: random.Random) -> None:
    """Appends random bytes."""
    file.write_bytes(file.read_bytes() + chance.randbytes(chance.randint(1, 5000)))


def zero_block(file: Path, other: Path, chance: random.Random) -> None:
    """Overwrites a block with zeros, as a filesystem does that lost a write."""
    content = bytearray(file.read_bytes())
    start = chance.randrange(len(content))
    end = min(len(content), start + 4096)
    content[start:end] = bytes(end - start) if any(content[start:end]) else b"\1" * (end - start)
    file.write_bytes(content)


def reorder(file: Path, other: Path, chance: random.Random) -> None:
    """Swaps the two parts of the content."""
    content = file.read_bytes()
    middle = chance.randrange(1, len(content))
    file.write_bytes(content[middle:] + content[:middle])


def swap_file(file: Path, other: Path, chance: random.Random) -> None:
    """Replaces the file by that of another checkpoint."""
    shutil.copyfile(other, file)


def swap_folder(file: Path, other: Path, chance: random.Random) -> None:
    """Replaces the content of the folder by that of another checkpoint."""
    shutil.copytree(other.parent, file.parent, dirs_exist_ok=True)


def empty(file: Path, other: Path, chance: random.Random) -> None:
    """Removes all bytes."""
    file.write_bytes(b"")


def randomize(file: Path, other: Path, chance: random.Random) -> None:
    """Replaces all bytes by random ones."""
    file.write_bytes(chance.randbytes(file.stat().st_size))


def remove(file: Path, other: Path, chance: random.Random) -> None:
    """Removes the file."""
    file.unlink()


def replace(file: Path, other: Path, chance: random.Random) -> None:
    """Replaces the file by a folder, a pipe or a link."""
    file.unlink()
    kind = chance.choice(["folder", "pipe", "link", "dangling", "endless"])
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to({"link": other, "dangling": "nowhere", "endless": "/dev/zero"}[kind])


CORRUPTIONS: list[Corruption] = [  # repeated ones are more frequent
    flip_bits,
    flip_bits,
    flip_bits,
    truncate,
    truncate,
    append,
    zero_block,
    reorder,
    swap_file,
    swap_folder,
    empty,
    randomize,
    remove,
    replace,
]


def corruption(campaign: Campaign, folder: Path) -> None:
    """Corrupts a checkpoint in many ways and tries to restore it."""
    from tfloop_cli.engine.checkpoints.storage import STATE, restore
    from tfloop_cli.errors import ExitCode, TfloopError
    from tfloop_cli.runs.checkpoints import MANIFEST, Checkpoint

    good, other, state = two_checkpoints(folder)
    before = {name: variable.numpy().tobytes() for name, variable in state.variables().items()}
    chance = random.Random(5)
    outcomes, failures = Counter[str](), []
    for number in range(100 if campaign.quick else 1000):
        corrupted = Path(shutil.copytree(good, folder / "corrupted" / good.name))
        corrupt, name = chance.choice(CORRUPTIONS), chance.choice([STATE, MANIFEST])
        corrupt(corrupted / name, other / name, chance)
        try:
            restore(Checkpoint.open(corrupted), state)
            outcomes["restored"] += 1
            failures.append(f"{number}: {corrupt.__name__} {name} was restored")
        except TfloopError as error:
            outcomes["error message"] += 1
            if error.code != ExitCode.CHECKPOINT or str(corrupted) not in str(error):
                failures.append(f"{number}: {corrupt.__name__} {name}: {error}")
        except Exception as error:
            outcomes["traceback"] += 1
            failures.append(f"{number}: {corrupt.__name__} {name}: {error!r}")
        shutil.rmtree(folder / "corrupted")
    changed = [name for name, variable in state.variables().items() if variable.numpy().tobytes() != before[name]]
    details = f"{dict(outcomes)}, variables changed: {changed or 'none'} {failures[:5] or ''}"
    campaign.check("corrupted checkpoints cause an error that names them", not failures and not changed, details)


def two_checkpoints(folder: Path) -> tuple[Path, Path, "object"]:
    """Returns two good checkpoints of one run, and a training state that they match."""
    from benchmarks.durability.resumes import Run
    from tfloop_cli.engine.checkpoints.storage import restore
    from tfloop_cli.runs.checkpoints import Checkpoint

    run = Run(SMALL)
    saved = [run.save(folder / "checkpoints") for _ in run.events()]
    for path in saved:
        restore(Checkpoint.open(path), run.state)  # without corruption, it succeeds
    return saved[0], saved[1], run.state
