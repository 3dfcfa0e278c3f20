"""The disk cache of arrays: computed once, complete or absent, within the size limit, and shared by processes."""

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

EXPECTED = np.arange(60, dtype=np.int16).reshape(10, 2, 3)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFLOOP_CACHE_GIB", raising=False)
    return tmp_path / "cache"


class Blocks:
    """Yields `EXPECTED`, four rows at a time, and counts its calls; raises `error` after the first block."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls, self.error = 0, error

    def __call__(self) -> Iterator[np.ndarray]:
        self.calls += 1
        for first in range(0, 10, 4):
            yield EXPECTED[first : first + 4]
            if self.error:
                raise self.error


def get_cached(blocks: Callable[[], Iterator[np.ndarray]], fingerprint: str = "ab") -> MemoryMappedArray | None:
    return cached(fingerprint, f"rows {fingerprint}", EXPECTED.shape, "int16", blocks)


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_are_computed_once_and_read_from_the_file(folder: Path) -> None:
    blocks = Blocks()
    first, second = get_cached(blocks), get_cached(blocks)
    assert blocks.calls == 1
    for rows in (first, second):
        np.testing.assert_array_equal(rows.array, EXPECTED)
        np.testing.assert_array_equal(rows.take(np.array([7, 0, 7])), EXPECTED[[7, 0, 7]])
        assert not rows.array.flags.writeable
        assert len(rows) == 10
    assert file_names(folder) == ["ab.rows"]
    assert (folder / "ab.rows").stat().st_size == 4096 + EXPECTED.nbytes
    with pytest.raises(IndexError):
        first.take(np.array([10]))


def test_rows_are_computed_again_for_another_fingerprint_or_shape() -> None:
    get_cached(Blocks())
    other = Blocks()
    get_cached(other, "cd")
    assert other.calls == 1
    reshaped = cached("ab", "rows ab", (20, 3), "int16", lambda: iter([EXPECTED.reshape(20, 3)]))
    np.testing.assert_array_equal(reshaped.array, EXPECTED.reshape(20, 3))


@pytest.mark.parametrize("expected", ["~/.cache/tfloop", "xdg/tfloop"])
def test_cache_folder_defaults_to_xdg_cache_home_or_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: str
) -> None:
    monkeypatch.delenv("TFLOOP_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg") if expected.startswith("xdg") else "")
    assert cache_folder.folder() == tmp_path / expected.removeprefix("~/")


@pytest.mark.parametrize("damage", ["shorter", "longer", "header", "empty"])
def test_damaged_entry_is_computed_again(folder: Path, damage: str) -> None:
    get_cached(Blocks())
    path = folder / "ab.rows"
    content = bytearray(path.read_bytes())
    content[3] ^= 1 if damage == "header" else 0
    path.write_bytes({"shorter": content[:-1], "longer": content + b"x", "empty": b""}.get(damage, content))
    blocks = Blocks()
    np.testing.assert_array_equal(get_cached(blocks).array, EXPECTED)
    assert blocks.calls == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TfloopError("bad image", code=ExitCode.DATA)])
def test_error_while_computing_is_raised_and_leaves_no_file(folder: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        get_cached(Blocks(error))
    assert file_names(folder) == []


def test_large_entry_is_used_before_it_is_flushed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MIN_BYTES_FLUSHED_LATER", 0)
    flushed, fsync = threading.Event(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (flushed.wait(10), fsync(descriptor)))
    rows = cached("ab", "rows ab", EXPECTED.shape, "int16", Blocks(), flush_later=True)
    np.testing.assert_array_equal(rows.take(np.arange(10)), EXPECTED)
    assert file_names(folder) == ["ab.part"]
    assert not cache_folder.remove(cache_folder.entries()[0])  # it is in use
    flushed.set()
    blocks = Blocks()
    np.testing.assert_array_equal(get_cached(blocks).array, EXPECTED)  # waits
    assert (file_names(folder), blocks.calls) == (["ab.rows"], 0)


def test_failed_flush_is_an_error_of_the_next_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MIN_BYTES_FLUSHED_LATER", 0)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    rows = cached("ab", "rows ab", EXPECTED.shape, "int16", Blocks(), flush_later=True)
    for thread in [one for one in threading.enumerate() if one.name == "cache"]:
        thread.join()
    with pytest.raises(OSError, match="Input/output error"):
        rows.take(np.array([0]))
    assert file_names(folder) == []


def test_full_disk_prints_warning_and_returns_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get_cached(Blocks(OSError(errno.ENOSPC, "No space left on device"))) is None
    assert file_names(folder) == []
    assert "warning: rows ab cannot be cached" in (printed := capsys.readouterr().err)
    assert "No space left on device" in printed


def test_folder_that_cannot_be_created_prints_warning_and_returns_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file")
    assert get_cached(Blocks()) is None
    assert str(folder) in capsys.readouterr().err


def test_partial_file_of_killed_process_is_overwritten(folder: Path) -> None:
    folder.mkdir()
    (folder / "ab.part").write_bytes(b"x" * 10_000)
    np.testing.assert_array_equal(get_cached(Blocks()).array, EXPECTED)
    assert file_names(folder) == ["ab.rows"]


# Size limit

ENTRY_BYTES = 4096 + EXPECTED.nbytes


def set_limit(monkeypatch: pytest.MonkeyPatch, entries: float) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", str(entries * ENTRY_BYTES / 2**30))


def set_last_use(folder: Path, *oldest_first: str) -> None:
    for number, name in enumerate(oldest_first):
        os.utime(folder / name, (1000 + number, 1000 + number))


def test_least_recently_used_entries_are_removed_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a1", "b2", "c3"):
        get_cached(Blocks(), name)
    set_last_use(folder, "b2.rows", "a1.rows", "c3.rows")
    get_cached(Blocks(), "b2")  # now the most recently used one
    set_limit(monkeypatch, 3.5)
    get_cached(Blocks(), "d4")
    assert file_names(folder) == ["b2.rows", "c3.rows", "d4.rows"]


def test_entry_in_use_is_not_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = get_cached(Blocks(), "a1")
    get_cached(Blocks(), "b2")
    set_last_use(folder, "a1.rows", "b2.rows")
    set_limit(monkeypatch, 2.5)
    get_cached(Blocks(), "c3")
    assert file_names(folder) == ["a1.rows", "c3.rows"]
    del used
    get_cached(Blocks(), "d4")
    assert file_names(folder) == ["c3.rows", "d4.rows"]


def test_entry_above_the_limit_prints_warning_and_removes_no_other(folder: Path, monkeypatch, capsys) -> None:
    get_cached(Blocks(), "a1")
    set_limit(monkeypatch, 0.5)
    blocks = Blocks()
    assert get_cached(blocks, "b2") is None
    assert blocks.calls == 0
    assert "TFLOOP_CACHE_GIB" in capsys.readouterr().err
    assert file_names(folder) == ["a1.rows"]


def test_partial_files_of_killed_processes_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "zz.part").write_bytes(b"x" * ENTRY_BYTES)
    set_last_use(folder, "zz.part")
    set_limit(monkeypatch, 1.5)
    assert get_cached(Blocks()) is not None
    assert file_names(folder) == ["ab.rows"]


@pytest.mark.parametrize("text", ["much", "nan", "inf"])
def test_limit_that_is_not_a_number_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", text)
    with pytest.raises(TfloopError, match=f"`TFLOOP_CACHE_GIB` is `{text}`") as caught:
        get_cached(Blocks())
    assert caught.value.code == ExitCode.USAGE


# Memory and processes


def test_memory_does_not_grow_by_what_is_read() -> None:
    """Of 64 MiB, nothing stays; through a memory map, up to 2 MiB around each row would."""
    rows = cached("ef", "many", (16384, 4096), "uint8", lambda: (np.ones((256, 4096), np.uint8) for _ in range(64)))
    before = resident_bytes()
    for part in np.array_split(np.random.default_rng(0).permutation(16384), 512):
        assert rows.take(part).all()
    assert resident_bytes() - before < 8 * 2**20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_two_threads_compute_an_entry_once(folder: Path) -> None:
    """Each thread opens the file, so the locks of the operating system act as between processes."""
    blocks = Blocks()

    def slow_blocks() -> Iterator[np.ndarray]:
        for block in blocks():
            time.sleep(0.1)
            yield block

    with ThreadPoolExecutor(2) as pool:
        for rows in pool.map(lambda _: get_cached(slow_blocks), range(2)):
            np.testing.assert_array_equal(rows.array, EXPECTED)
    assert blocks.calls == 1
    assert file_names(folder) == ["ab.rows"]


def test_waiting_thread_computes_the_entry_after_the_first_one_fails() -> None:
    started, blocks = threading.Event(), Blocks()

    def failing_blocks() -> Iterator[np.ndarray]:
        started.set()
        time.sleep(0.3)  # until the second thread waits
        raise OSError("the disk")
        yield EXPECTED

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(get_cached, failing_blocks)
        started.wait()
        np.testing.assert_array_equal(pool.submit(get_cached, blocks).result().array, EXPECTED)
        assert first.result() is None
    assert blocks.calls == 1
