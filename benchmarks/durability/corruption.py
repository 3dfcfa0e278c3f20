"""Damaged checkpoints: bits flipped, files cut, swapped, emptied, replaced. None may be loaded or be a traceback."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.durability.common import SMALL, Campaign

Damage = Callable[[Path, Path, random.Random], None]  # of a file, given the same file of another checkpoint


def flip(file: Path, other: Path, chance: random.Random) -> None:
    """One bit or some."""
    content = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 1, 1, 2, 9])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def cut(file: Path, other: Path, chance: random.Random) -> None:
    """The end is gone."""
    os.truncate(file, chance.randrange(file.stat().st_size))


def grow(file: Path, other: Path, chance: random.Random) -> None:
    """Bytes behind the end."""
    file.write_bytes(file.read_bytes() + chance.randbytes(chance.randint(1, 5000)))


def blank(file: Path, other: Path, chance: random.Random) -> None:
    """A block of zeros, as a filesystem leaves that lost a write."""
    content = bytearray(file.read_bytes())
    start = chance.randrange(len(content))
    end = min(len(content), start + 4096)
    content[start:end] = bytes(end - start) if any(content[start:end]) else b"\1" * (end - start)
    file.write_bytes(content)


def shuffle(file: Path, other: Path, chance: random.Random) -> None:
    """Two pieces in each other's place."""
    content = file.read_bytes()
    middle = chance.randrange(1, len(content))
    file.write_bytes(content[middle:] + content[:middle])


def swap(file: Path, other: Path, chance: random.Random) -> None:
    """The file of another checkpoint."""
    shutil.copyfile(other, file)


def swap_folder(file: Path, other: Path, chance: random.Random) -> None:
    """The whole of another checkpoint under this one's name."""
    shutil.copytree(other.parent, file.parent, dirs_exist_ok=True)


def empty(file: Path, other: Path, chance: random.Random) -> None:
    """No bytes."""
    file.write_bytes(b"")


def noise(file: Path, other: Path, chance: random.Random) -> None:
    """Other bytes."""
    file.write_bytes(chance.randbytes(file.stat().st_size))


def lose(file: Path, other: Path, chance: random.Random) -> None:
    """No file."""
    file.unlink()


def replace(file: Path, other: Path, chance: random.Random) -> None:
    """Something that is no file, or a link to another one."""
    file.unlink()
    kind = chance.choice(["folder", "pipe", "link", "dangling", "endless"])
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to({"link": other, "dangling": "nowhere", "endless": "/dev/zero"}[kind])


DAMAGES: list[Damage] = [
    flip,
    flip,
    flip,
    cut,
    cut,
    grow,
    blank,
    shuffle,
    swap,
    swap_folder,
    empty,
    noise,
    lose,
    replace,
]


def corruption(campaign: Campaign, folder: Path) -> None:
    """Damages a checkpoint in many ways and loads it."""
    from tfloop_cli.engine.checkpoints.format import STATE, restore
    from tfloop_cli.errors import ExitCode, TfloopError
    from tfloop_cli.runs.checkpoints import MANIFEST, Checkpoint

    good, other, state = two_checkpoints(folder)
    before = {name: variable.numpy().tobytes() for name, variable in state.variables().items()}
    chance = random.Random(5)
    outcomes, wrong = Counter[str](), []
    for number in range(100 if campaign.quick else 1000):
        broken = Path(shutil.copytree(good, folder / "broken" / good.name))
        how, name = chance.choice(DAMAGES), chance.choice([STATE, MANIFEST])
        how(broken / name, other / name, chance)
        try:
            restore(Checkpoint.open(broken), state)
            outcomes["loaded"] += 1
            wrong.append(f"{number}: {how.__name__} {name} was loaded")
        except TfloopError as error:
            outcomes["refused"] += 1
            if error.code != ExitCode.CHECKPOINT or str(broken) not in str(error):
                wrong.append(f"{number}: {how.__name__} {name}: {error}")
        except Exception as error:
            outcomes["a traceback"] += 1
            wrong.append(f"{number}: {how.__name__} {name}: {error!r}")
        shutil.rmtree(folder / "broken")
    changed = [name for name, variable in state.variables().items() if variable.numpy().tobytes() != before[name]]
    figures = f"{dict(outcomes)}, state changed: {changed or 'never'} {wrong[:5] or ''}"
    campaign.hold("damaged checkpoints are named and refused", not wrong and not changed, figures)


def two_checkpoints(folder: Path) -> tuple[Path, Path, "object"]:
    """Two good checkpoints of one run, and a state that they fit."""
    from benchmarks.durability.resumes import Run
    from tfloop_cli.engine.checkpoints.format import restore
    from tfloop_cli.runs.checkpoints import Checkpoint

    run = Run(SMALL)
    saved = [run.save(folder / "checkpoints") for _ in run.steps()]
    for path in saved:
        restore(Checkpoint.open(path), run.state)  # undamaged, they do load
    return saved[0], saved[1], run.state
