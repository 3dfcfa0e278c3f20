"""Run folders: creation, lookup, locking, atomic writes and metadata."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli import files
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs import folder, metadata
from tfloop_cli.runs.checkpoints import list_checkpoints
from tfloop_cli.runs.folder import RunFolder


def make_run(runs_dir: Path, name: str, *, started: float | None = None, checkpoint: bool = True) -> RunFolder:
    run = folder.create(runs_dir, "x", name=name)
    run.config.write_text("dataset: mnist\n")
    if started is not None:
        files.write_json(run.metadata, {"started": files.utc(started)})
    if checkpoint:
        (run.checkpoints / "step-00000001").mkdir(parents=True)
        (run.checkpoints / "step-00000001" / folder.MANIFEST).write_text("{}")
    return run


def test_default_name_has_prefix_and_timestamp(tmp_path: Path) -> None:
    run = folder.create(tmp_path / "a" / "runs", "my net/é", name=None)
    assert run.path.is_dir()
    assert re.fullmatch(r"my-net-é-\d{8}-\d{6}-[0-9a-f]{4}", run.path.name)


def test_default_names_do_not_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suffixes = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("tfloop_cli.runs.folder.secrets.token_hex", lambda size: next(suffixes))
    names = {folder.create(tmp_path, "x").path.name[-4:] for _ in range(2)}
    assert names == {"aaaa", "bbbb"}


def test_taken_name_gets_number(tmp_path: Path) -> None:
    names = [folder.create(tmp_path, "x", name="mnist").path.name for _ in range(3)]
    assert names == ["mnist", "mnist-2", "mnist-3"]


@pytest.mark.parametrize("name", ["a/b", "..", ".", "-x", "/etc", "a/"])
def test_invalid_folder_name_is_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(TfloopError, match="not a valid folder name") as caught:
        folder.create(tmp_path / "runs", "x", name=name)
    assert caught.value.code == ExitCode.USAGE


def test_name_last_is_reserved(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="`last` is reserved") as caught:
        folder.create(tmp_path / "runs", "x", name="last")
    assert caught.value.code == ExitCode.USAGE


def test_output_must_be_missing_or_empty(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    assert folder.create(tmp_path, "x", output=output).path == output
    assert folder.create(tmp_path, "x", output=output).path == output
    (output / "file").touch()
    with pytest.raises(TfloopError, match="not an empty folder") as caught:
        folder.create(tmp_path, "x", output=output)
    assert caught.value.code == ExitCode.USAGE


LEFTOVERS: dict[str, Callable[[Path], object]] = {
    "lock": lambda path: None,
    "temporary file": lambda path: (path / ".config.yaml.0123abcd.tmp").write_text("x"),
    "code": lambda path: (path / "code").mkdir(),
    "empty checkpoints": lambda path: (path / "checkpoints").mkdir(),
    "empty history": lambda path: (path / "metrics.jsonl").write_text(""),
    "summary of a failed start": lambda path: (path / "summary.json").write_text('{"reason": "failed"}'),
}
CONTENTS: dict[str, Callable[[Path], object]] = {
    "a config": lambda path: (path / "config.yaml").write_text(""),
    "history": lambda path: (path / "metrics.jsonl").write_text("{}"),
    "a checkpoint": lambda path: (path / "checkpoints" / "step-00000001").mkdir(parents=True),
    "another file": lambda path: (path / "notes.txt").write_text(""),
}


@pytest.mark.parametrize("case", LEFTOVERS)
def test_leftovers_of_interrupted_start_count_as_empty(tmp_path: Path, case: str) -> None:
    (tmp_path / ".lock").write_text("pid 1 on x")
    LEFTOVERS[case](tmp_path)
    run = folder.create(tmp_path, "x", output=tmp_path)
    with run.lock():
        assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("case", CONTENTS)
def test_folder_with_contents_is_not_a_new_run(tmp_path: Path, case: str) -> None:
    (tmp_path / ".lock").write_text("pid 1 on x")
    CONTENTS[case](tmp_path)
    with pytest.raises(TfloopError, match="is not an empty folder"):
        folder.create(tmp_path, "x", output=tmp_path)


def test_lock_removes_temporary_files_of_killed_process(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    temporary = [tmp_path / ".summary.json.0123abcd.tmp", tmp_path / "code" / ".a.py.89abcdef.tmp"]
    kept = [tmp_path / ".mine.tmp", tmp_path / "summary.json"]
    for file in (*temporary, *kept):
        file.write_text("")
    with folder.RunFolder(tmp_path).lock():
        assert not any(file.exists() for file in temporary)
        assert all(file.exists() for file in kept)


def test_runs_dir_that_is_a_file_is_usage_error(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    for runs_dir in (tmp_path / "runs", tmp_path / "runs" / "nested"):
        with pytest.raises(TfloopError, match="runs") as caught:
            folder.create(runs_dir, "x")
        assert caught.value.code == ExitCode.USAGE


def test_full_disk_exits_with_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_disk_full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs")

    monkeypatch.setattr(Path, "mkdir", raise_disk_full)
    with pytest.raises(TfloopError, match="runs: No space left") as caught:
        folder.create(tmp_path / "runs", "x")
    assert caught.value.code == ExitCode.TRY_AGAIN


def test_find_accepts_path_name_and_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make_run(tmp_path, "old", started=1000)
    new = make_run(tmp_path, "new", started=2000)
    make_run(tmp_path, "newer-but-empty", started=3000, checkpoint=False)
    os.utime(old.path)  # the start time counts, not the modification time
    checkpoint = old.checkpoints / "step-00000001"
    assert folder.find(str(old.path), tmp_path) == old.path
    assert folder.find("old", tmp_path) == old.path
    assert folder.find(str(checkpoint), tmp_path) == checkpoint
    assert folder.is_checkpoint(checkpoint)
    assert not folder.is_checkpoint(old.path)
    assert folder.find("last", tmp_path) == new.path
    assert [run.path.name for run in folder.list_runs(tmp_path)] == ["newer-but-empty", "new", "old"]
    monkeypatch.chdir(tmp_path)
    assert folder.find("new/", Path("elsewhere")) == Path("new")


@pytest.fixture
def strange_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two good runs, one of which has a name that is not UTF-8, and with what cannot be read."""
    make_run(tmp_path, "good", started=1000)
    make_run(tmp_path, os.fsdecode(b"n\xff"), started=2000)
    locked = make_run(tmp_path, "locked", started=3000)
    (tmp_path / "dangling").symlink_to("missing")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    linked = make_run(tmp_path, "linked", started=4000)
    linked.config.unlink()
    linked.config.symlink_to("missing")
    stat = os.stat

    def deny(path: object, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{locked}/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", deny)
    return tmp_path


def test_folders_that_cannot_be_read_are_skipped(strange_runs: Path) -> None:
    assert [run.path.name for run in folder.list_runs(strange_runs)] == [os.fsdecode(b"n\xff"), "good"]
    assert folder.find("last", strange_runs).name == os.fsdecode(b"n\xff")


@pytest.mark.parametrize("name", ["locked", "dangling", "loop", "linked", "x" * 300])
def test_run_that_cannot_be_read_is_an_error(strange_runs: Path, name: str) -> None:
    for path in (name, str(strange_runs / name)):
        with pytest.raises(TfloopError) as caught:
            folder.find(path, strange_runs)
        assert caught.value.code == ExitCode.USAGE


def test_runs_dir_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("runs")
    with pytest.raises(TfloopError, match="runs: Too many levels of symbolic links") as caught:
        folder.find("last", tmp_path / "runs")
    assert caught.value.code == ExitCode.USAGE


def test_checkpoints_that_cannot_be_read_are_not_none(tmp_path: Path) -> None:
    """Otherwise a resumed run would start anew."""
    assert list_checkpoints(tmp_path / "checkpoints") == []
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(NotADirectoryError):
        list_checkpoints(tmp_path / "checkpoints")


def test_started_falls_back_to_modification_time_of_folder(tmp_path: Path) -> None:
    for name, text in [("none", None), ("truncated", b'{"started"'), ("list", b"[1]")]:
        run = make_run(tmp_path, name)
        if text is not None:
            run.metadata.write_bytes(text)
        os.utime(run.path, (5, 5))
        assert run.started() == files.utc(5)


def test_unknown_run_suggests_nearest_name(tmp_path: Path) -> None:
    make_run(tmp_path, "mnist-20261123")
    with pytest.raises(TfloopError, match=r"did you mean `mnist-20261123`\?") as caught:
        folder.find("mnist-20261132", tmp_path)
    assert caught.value.code == ExitCode.USAGE
    with pytest.raises(TfloopError, match="neither a run folder nor a checkpoint"):
        folder.find(str(tmp_path), tmp_path)
    with pytest.raises(TfloopError, match="no such run"):
        folder.find("x", tmp_path / "missing")


def test_last_requires_complete_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path, "staged", checkpoint=False)
    (run.checkpoints / ".step-1").mkdir(parents=True)
    (run.checkpoints / ".step-1" / folder.MANIFEST).touch()
    with pytest.raises(TfloopError, match=r"no run in .* has a checkpoint"):
        folder.find("last", tmp_path)


def test_lock_error_names_process_and_lock_ends_with_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    holder = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from tfloop_cli.runs.folder import RunFolder
        with RunFolder(Path({str(tmp_path)!r})).lock():
            print("locked", flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(TfloopError, match=f"pid {process.pid} on {os.uname().nodename}") as caught, run.lock():
            pass
        assert caught.value.code == ExitCode.USAGE
        process.send_signal(signal.SIGKILL)
        process.wait()
    with run.lock():
        pass


def test_lock_does_not_change_errors_of_body(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), RunFolder(tmp_path).lock():
        raise FileNotFoundError("from training")


def test_write_atomic_keeps_old_file_if_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    files.write_atomic(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


def test_write_atomic_syncs_file_then_renames_then_syncs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(descriptor: int) -> None:
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def recording_replace(old: Path, new: Path) -> None:
        calls.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    files.write_atomic(tmp_path / "a.json", b"x")
    staging, rename, synced_folder = calls
    assert Path(staging).name.startswith(".a.json.")
    assert (rename, synced_folder) == ("rename", str(tmp_path))


def test_write_json_replaces_nan_and_infinity_by_null(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"loss": float("nan"), "all": (float("inf"), 0.1)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"loss": None, "all": [None, 0.1]}


def test_metadata_contains_versions_command_and_start_time() -> None:
    document = json.loads(json.dumps(metadata.gather({"device": "cpu", "threads": 2})))
    assert document["versions"]["tensorflow"].startswith("2.")
    assert document["device"] == "cpu"
    assert document["command"] == sys.argv
    assert document["pid"] == os.getpid()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", document["started"])


def test_git_commit_is_none_outside_of_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert metadata.gather({})["git_commit"] is None
    monkeypatch.setenv("PATH", "")
    assert metadata.gather({})["git_commit"] is None
