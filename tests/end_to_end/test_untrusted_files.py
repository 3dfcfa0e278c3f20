"""Promise: what tfloop reads is data: nothing runs, nothing is written elsewhere, no memory is eaten, no traceback."""

import hashlib
import importlib
import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfloop_cli.engine.checkpoints.format import MAX_HEADER_BYTES, STATE, Snapshot, restore, write_checkpoint
from tfloop_cli.engine.checkpoints.saver import CheckpointSaver
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.checkpoints import MANIFEST, Checkpoint, manifest_bytes
from tfloop_cli.runs.folder import RunFolder

ABOUT = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9}


def test_damaged_checkpoints_are_named_and_refused(tmp_path: Path) -> None:
    """The short form of `python -m benchmarks.durability corruption`."""
    found = importlib.import_module("benchmarks.durability.common").Campaign(tmp_path, quick=True)
    importlib.import_module("benchmarks.durability.corruption").corruption(found, tmp_path)
    assert found.held, found.findings


def test_bad_configs_by_the_hundred(tmp_path: Path) -> None:
    found = importlib.import_module("benchmarks.durability.common").Campaign(tmp_path, quick=True)
    importlib.import_module("benchmarks.durability.configs").configs(found, tmp_path)
    assert found.held, found.findings


@pytest.fixture
def saved(trainer, tmp_path: Path):
    """A run and its checkpoint."""
    run = trainer()
    return run, write_checkpoint(tmp_path / "checkpoints", Snapshot.of(run.state), ABOUT)


def forge(path: Path, content: bytes | None = None, **changes: Any) -> None:
    """Another state or manifest, with sums that fit: sums are against damage, not against people."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    del manifest["checksum"]
    if content is not None:
        (path / STATE).write_bytes(content)
        changes = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} | changes
    (path / MANIFEST).write_bytes(manifest_bytes(manifest | changes))


def refused(path: Path, run) -> str:
    before = run.everything()
    with pytest.raises(TfloopError) as caught:
        restore(Checkpoint.open(path), run.state)
    assert caught.value.code == ExitCode.CHECKPOINT
    for name, array in run.everything().items():
        np.testing.assert_array_equal(array, before[name])
    return str(caught.value)


def header(length: int, text: bytes) -> bytes:
    return length.to_bytes(8, "little") + text


STATES = {
    "a header of terabytes": header(2**43, b"{}"),
    "a header of more than there is": header(2**63, b"{" * 50),
    "no JSON": header(4, b"\x80\x04N."),
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    "deep JSON": header(200_000, b"[" * 200_000),
    "numbers beyond the file": header(
        64, b'{"a":{"dtype":"F32","shape":[999999],"data_offsets":[0,3999996]}}'[:64].ljust(64)
    ),
    "a shape of terabytes": header(80, b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}'.ljust(80))
    + b"0000",
    "a type that is none": header(70, b'{"a":{"dtype":"PY","shape":[1],"data_offsets":[0,4]}}'.ljust(70)) + b"0000",
    "nothing": b"",
    "eight bytes": b"\xff" * 8,
}


@pytest.mark.parametrize("content", STATES.values(), ids=STATES)
def test_a_forged_state(saved, content: bytes) -> None:
    run, path = saved
    forge(path, content)
    refused(path, run)


MANIFESTS: dict[str, dict[str, Any]] = {
    "a size of terabytes": {"size": 2**43},
    "a size below zero": {"size": -1},
    "a sum that is none": {"sha256": "../../etc/passwd"},
    "another step": {"step": 7},
    "a step below zero": {"step": -5},
    "a true step": {"step": True},
    "another schema": {"schema": 2},
    "a config that is text": {"config": "os.system"},
    "code that is a list": {"code": ["../x.py"]},
}


@pytest.mark.parametrize("changes", MANIFESTS.values(), ids=MANIFESTS)
def test_a_forged_manifest(saved, changes: dict[str, Any]) -> None:
    run, path = saved
    forge(path, **changes)
    refused(path, run)


def test_a_state_larger_than_the_model_is_not_read(saved) -> None:
    """A sparse file takes no disk and would take all memory."""
    run, path = saved
    size = MAX_HEADER_BYTES * 2**10  # 16 GiB
    os.truncate(path / STATE, size)
    forge(path, size=size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "of another model" in refused(path, run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


@pytest.mark.parametrize(
    "content", [b"[" * 10**6, b'{"a":' * 10**5, b"9" * 10**6, b"\xff" * 100, b"null", b'{"schema": 1e999}']
)
def test_a_manifest_that_explodes(saved, content: bytes) -> None:
    run, path = saved
    (path / MANIFEST).write_bytes(content)
    refused(path, run)


def test_a_manifest_of_gigabytes(saved) -> None:
    run, path = saved
    os.truncate(path / MANIFEST, 2**40)
    assert "more than" in refused(path, run)


def test_links_and_names_in_the_folder_of_checkpoints(saved, tmp_path: Path) -> None:
    """Sweeping, passing over and pruning touch the links, never what they point to."""
    run, path = saved
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    for name in (".staging-1", ".removed-step-00000001", "step-00000099"):
        (path.parent / name).symlink_to(precious)
    (path.parent / "step-00000098").write_text("a file")
    warnings: list[str] = []
    checkpoints = CheckpointSaver(path.parent, run.state, run.config.checkpoint, ABOUT, warnings.append)
    with checkpoints:
        assert checkpoints.resume(None).path == path
        for event in run.events():
            checkpoints.handle(event)
    assert any("step-00000099" in line for line in warnings)
    assert [entry.name for entry in precious.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "kind", ["step-99999999999999999999", "step-1", "step-00000001/../..", f"step-{chr(0x661) * 8}"]
)
def test_names_that_are_no_steps(saved, kind: str) -> None:
    from tfloop_cli.runs.checkpoints import list_checkpoints

    _, path = saved
    if "/" not in kind:
        (path.parent / kind).mkdir()
    assert list_checkpoints(path.parent) == [path]


def test_the_lock_does_not_empty_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(TfloopError) as caught, RunFolder(run).lock():
        pass
    assert caught.value.code == ExitCode.USAGE
    assert (tmp_path / "precious").read_text() == "kept"


def test_copies_of_code_are_looked_for_in_their_folder_only(tmp_path: Path) -> None:
    from tfloop_cli.runs.code_copies import verified_copies

    (tmp_path / "code").mkdir()
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('it ran')")
    for name in ("../evil.py", str(evil), "..", "", "evil.py", "a/../../evil.py"):
        with pytest.raises(TfloopError):
            verified_copies(tmp_path / "code", {name: hashlib.sha256(evil.read_bytes()).hexdigest()})


def test_files_of_a_run_that_are_pipes_or_huge(tmp_path: Path) -> None:
    from tfloop_cli.files import read_json

    os.mkfifo(tmp_path / "meta.json")
    assert read_json(tmp_path / "meta.json") == {}
    assert RunFolder(tmp_path).started()
    (tmp_path / "deep.json").write_bytes(b"[" * 10**6)
    assert read_json(tmp_path / "deep.json") == {}
    (tmp_path / "huge.json").touch()
    os.truncate(tmp_path / "huge.json", 2**40)
    assert read_json(tmp_path / "huge.json") == {}


def test_a_hostile_run_folder_runs_nothing_and_writes_nowhere_else(shell, tmp_path: Path) -> None:
    """Everything in it that could: code, links, names that reach out."""
    config = {"dataset": {"name": "synthetic", "shape": [4], "train_examples": 64}, "model": "linear", "epochs": 1}
    (tmp_path / "net.yaml").write_text(json.dumps(config | {"device": "cpu", "threads": 1}))
    assert shell.run("train", "-c", "net.yaml", "-o", "run", "-q", cwd=tmp_path).code == 0
    run, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (run / "code").mkdir()
    (run / "code" / "evil.py").write_text(f"open({str(outside / 'ran')!r}, 'w')\n")
    for name in ("sitecustomize.py", "tfloop_cli.py", "tensorflow.py"):
        (run / name).write_text(f"open({str(outside / name)!r}, 'w')\n")
    os.mkfifo(run / "samples")
    resumed = shell.run("train", "-o", "run", "--resume", "--epochs", "2", "-q", cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    for name in ("checkpoints", "code", "samples"):
        moved = (run / name).rename(tmp_path / name)
        (run / name).symlink_to(outside)
        done = shell.run("train", "-o", "run", "--resume", "--epochs", "3", "-q", cwd=tmp_path)
        assert (done.code, "is a link" in done.err) == (ExitCode.USAGE, True), done.err
        (run / name).unlink()
        moved.rename(run / name)
    config_file = run / "config.yaml"
    config_file.write_text(config_file.read_text().replace("linear", "evil"))
    done = shell.run("evaluate", "run", cwd=tmp_path)  # its checkpoints know the model
    assert done.code == 0, done.err
    done = shell.run("train", "-o", "run", "--resume", cwd=tmp_path)
    assert done.code == ExitCode.USAGE
    assert "--code" in done.err
    assert list(outside.iterdir()) == []
