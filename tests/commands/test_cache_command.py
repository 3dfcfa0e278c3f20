"""`tfloop cache`: lists the entries and clears the cache."""

import fcntl
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tfloop_cli import cache_folder
from tfloop_cli.cli import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path))
    monkeypatch.setenv("TFLOOP_CACHE_GIB", "2")
    return tmp_path


def add_entry(folder: Path, name: str, about: str) -> Path:
    path = folder / name
    path.write_bytes(cache_folder.write_header({"about": about}) + bytes(2**20))
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["cache", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_entries_and_size_limit_are_listed(folder: Path) -> None:
    add_entry(folder, "a.rows", "train images of /data, 8x8x3")
    (folder / "b.part").write_bytes(b"x")
    out = run()
    assert out.startswith(f"{folder}: 1.0 MiB of at most 2.0 GiB\n")
    assert "train images of /data, 8x8x3" in out
    assert "incomplete or damaged" in out
    document = json.loads(run("--json"))
    assert document["event"] == "cache"
    assert document["bytes"] == sum(one["bytes"] for one in document["entries"]) == 2**20 + 4097
    assert {one["file"] for one in document["entries"]} == {"a.rows", "b.part"}


def test_missing_folder_is_an_empty_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLOOP_CACHE", str(folder / "missing"))
    assert json.loads(run("--json"))["entries"] == []
    assert "removed 0 B" in run("--clear")


def test_clear_keeps_entries_in_use_and_other_files(folder: Path) -> None:
    add_entry(folder, "a.rows", "free")
    locked = add_entry(folder, "b.rows", "in use")
    (folder / "notes.txt").write_text("a note")
    with locked.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        out = run("--clear")
    assert "removed 1.0 MiB" in out
    assert "in use by a running process" in out
    assert sorted(path.name for path in folder.iterdir()) == ["b.rows", "notes.txt"]
    assert json.loads(run("--clear", "--json"))["removed_bytes"] == 2**20 + 4096


def test_invalid_size_limit_exits_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", "much")
    assert CliRunner().invoke(app, ["cache"]).exit_code == 2
