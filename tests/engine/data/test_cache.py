"""MemoryMappedArray kept on disk: made once, whole or not at all, within bounds, and shared by processes."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tfloop_cli import cache_folder
from tfloop_cli.engine.data import cache
from tfloop_cli.engine.data.cache import MemoryMappedArray, cached
from tfloop_cli.errors import ExitCode, TfloopError

WANTED = np.arange(60, dtype=np.int16).reshape(10, 2, 3)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFLOOP_CACHE_GIB", raising=False)
    return tmp_path / "cache"


class Maker:
    """Makes `WANTED`, four rows at a time, and counts."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.made, self.error = 0, error

    def __call__(self) -> Iterator[np.ndarray]:
        self.made += 1
        for first in range(0, 10, 4):
            yield WANTED[first : first + 4]
            if self.error:
                raise self.error


def get(maker: Callable[[], Iterator[np.ndarray]], name: str = "ab") -> MemoryMappedArray | None:
    return cached(name, f"rows {name}", WANTED.shape, "int16", maker)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_are_made_once_and_read_from_the_file(folder: Path) -> None:
    maker = Maker()
    first, second = get(maker), get(maker)
    assert maker.made == 1
    for rows in (first, second):
        np.testing.assert_array_equal(rows.array, WANTED)
        np.testing.assert_array_equal(rows.take(np.array([7, 0, 7])), WANTED[[7, 0, 7]])
        assert not rows.array.flags.writeable
        assert len(rows) == 10
    assert names(folder) == ["ab.rows"]
    assert (folder / "ab.rows").stat().st_size == 4096 + WANTED.nbytes
    with pytest.raises(IndexError):
        first.take(np.array([10]))


def test_other_fingerprints_and_other_shapes_are_other_rows() -> None:
    get(Maker())
    other = Maker()
    get(other, "cd")
    assert other.made == 1
    changed = cached("ab", "rows ab", (20, 3), "int16", lambda: iter([WANTED.reshape(20, 3)]))
    np.testing.assert_array_equal(changed.array, WANTED.reshape(20, 3))


@pytest.mark.parametrize("where", ["~/.cache/tfloop", "xdg/tfloop"])
def test_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.delenv("TFLOOP_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg") if where.startswith("xdg") else "")
    assert cache_folder.folder() == tmp_path / where.removeprefix("~/")


@pytest.mark.parametrize("damage", ["shorter", "longer", "header", "empty"])
def test_a_damaged_entry_is_made_anew(folder: Path, damage: str) -> None:
    get(Maker())
    path = folder / "ab.rows"
    content = bytearray(path.read_bytes())
    content[3] ^= 1 if damage == "header" else 0
    path.write_bytes({"shorter": content[:-1], "longer": content + b"x", "empty": b""}.get(damage, content))
    maker = Maker()
    np.testing.assert_array_equal(get(maker).array, WANTED)
    assert maker.made == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TfloopError("bad image", code=ExitCode.DATA)])
def test_what_goes_wrong_while_making_leaves_nothing_and_is_passed_on(folder: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        get(Maker(error))
    assert names(folder) == []


def test_a_full_disk_is_told_and_does_without(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get(Maker(OSError(errno.ENOSPC, "No space left on device"))) is None
    assert names(folder) == []
    assert "warning: rows ab cannot be kept in the cache" in (said := capsys.readouterr().err)
    assert "No space left on device" in said


def test_a_folder_that_cannot_be_made_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.write_text("a file")
    assert get(Maker()) is None
    assert str(folder) in capsys.readouterr().err


def test_what_a_killed_process_left_is_overwritten(folder: Path) -> None:
    folder.mkdir()
    (folder / "ab.part").write_bytes(b"x" * 10_000)
    np.testing.assert_array_equal(get(Maker()).array, WANTED)
    assert names(folder) == ["ab.rows"]


# Bounds

SIZE = 4096 + WANTED.nbytes


def allow(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", str(count * SIZE / 2**30))


def age(folder: Path, *oldest_first: str) -> None:
    for number, name in enumerate(oldest_first):
        os.utime(folder / name, (1000 + number, 1000 + number))


def test_the_least_recently_used_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a1", "b2", "c3"):
        get(Maker(), name)
    age(folder, "b2.rows", "a1.rows", "c3.rows")
    get(Maker(), "b2")  # used again
    allow(monkeypatch, 3.5)
    get(Maker(), "d4")
    assert names(folder) == ["b2.rows", "c3.rows", "d4.rows"]


def test_an_entry_in_use_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = get(Maker(), "a1")
    get(Maker(), "b2")
    age(folder, "a1.rows", "b2.rows")
    allow(monkeypatch, 2.5)
    get(Maker(), "c3")
    assert names(folder) == ["a1.rows", "c3.rows"]
    del held
    get(Maker(), "d4")
    assert names(folder) == ["c3.rows", "d4.rows"]


def test_what_does_not_fit_is_told_and_costs_no_other_entry(folder: Path, monkeypatch, capsys) -> None:
    get(Maker(), "a1")
    allow(monkeypatch, 0.5)
    maker = Maker()
    assert get(maker, "b2") is None
    assert maker.made == 0
    assert "TFLOOP_CACHE_GIB" in capsys.readouterr().err
    assert names(folder) == ["a1.rows"]


def test_leftovers_of_a_killed_process_are_removed_for_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "zz.part").write_bytes(b"x" * SIZE)
    age(folder, "zz.part")
    allow(monkeypatch, 1.5)
    assert get(Maker()) is not None
    assert names(folder) == ["ab.rows"]


@pytest.mark.parametrize("text", ["much", "nan", "inf"])
def test_a_bound_that_is_no_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", text)
    with pytest.raises(TfloopError, match=f"`TFLOOP_CACHE_GIB` is `{text}`") as caught:
        get(Maker())
    assert caught.value.code == ExitCode.USAGE


# Memory and processes


def test_reading_gives_pages_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was ever read does not stay: all of 64 MiB are read in a process that may keep 1."""
    rows = cached("ef", "many", (16384, 4096), "uint8", lambda: (np.ones((256, 4096), np.uint8) for _ in range(64)))
    monkeypatch.setattr(cache, "KEPT_BYTES", 2**20)
    before = resident()
    for part in np.array_split(np.random.default_rng(0).permutation(16384), 512):
        assert rows.take(part).all()
    assert resident() - before < 32 * 2**20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_two_at_once_make_it_once(folder: Path) -> None:
    """In two threads, each of which opens the file for itself: the kernel's locks are the same between processes."""
    maker = Maker()

    def slowly() -> Iterator[np.ndarray]:
        for block in maker():
            time.sleep(0.1)
            yield block

    with ThreadPoolExecutor(2) as pool:
        for rows in pool.map(lambda _: get(slowly), range(2)):
            np.testing.assert_array_equal(rows.array, WANTED)
    assert maker.made == 1
    assert names(folder) == ["ab.rows"]


def test_who_waited_in_vain_makes_it(folder: Path) -> None:
    """The first one fails when the second one waits for it already."""
    waiting, maker = threading.Event(), Maker()

    def failing() -> Iterator[np.ndarray]:
        waiting.set()
        time.sleep(0.3)
        raise OSError("the disk")
        yield WANTED

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(get, failing)
        waiting.wait()
        np.testing.assert_array_equal(pool.submit(get, maker).result().array, WANTED)
        assert first.result() is None
    assert maker.made == 1
