"""Rows kept on disk: made once, whole or not at all, within bounds, and shared by processes."""

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tfloop_cli import cachedir
from tfloop_cli.engine.data import cache
from tfloop_cli.engine.data.cache import Rows, cached
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


def get(maker: Maker, name: str = "ab") -> Rows | None:
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
    assert cachedir.folder() == tmp_path / where.removeprefix("~/")


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
    """What was ever read does not stay: 64 MiB are read several times in a process that may keep 4."""
    wanted = 64 * 2**20
    block = np.ones((2**20 // 4, 4), np.uint8)
    rows = cached("ef", "many", (wanted // 4, 4), "uint8", lambda: (block for _ in range(64)))
    monkeypatch.setattr(cache, "KEPT_BYTES", 4 * 2**20)
    before = resident()
    indices = np.arange(0, len(rows), 8)
    for part in np.array_split(indices, 64):  # touches every page
        rows.take(part)
    monkeypatch.setattr(cache, "KEPT_BYTES", 0)
    rows.take(indices[:1])
    assert resident() - before < wanted / 4


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_two_processes_at_once_make_it_once(tmp_path: Path, folder: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        import numpy as np
        from tfloop_cli.engine.data.cache import cached
        def blocks():
            open(sys.argv[1], "a").write("made\\n")
            for _ in range(10):
                time.sleep(0.05)
                yield np.full((1, 4), 7, np.uint8)
        print(cached("ab", "rows", (10, 4), "uint8", blocks).array.sum())
    """)
    running = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path / "made"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in running] == ["280", "280"]
    assert (tmp_path / "made").read_text() == "made\n"
    assert names(folder) == ["ab.rows"]
