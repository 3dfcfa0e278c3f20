"""Untrusted files: reading them runs no code, writes to no other folder and needs little memory; errors are clear."""

import hashlib
import importlib
import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.engine.checkpoints.storage import MAX_HEADER_BYTES, STATE, restore, write_checkpoint
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.checkpoints import MANIFEST, Checkpoint, manifest_bytes
from tfloop_cli.runs.folder import RunFolder

FACTS = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9, "train_examples": 1}


def test_damaged_checkpoints_are_rejected(tmp_path: Path) -> None:
    """The short form of `python -m benchmarks.durability corruption`."""
    campaign = importlib.import_module("benchmarks.durability.common").Campaign(tmp_path, quick=True)
    importlib.import_module("benchmarks.durability.corruption").corruption(campaign, tmp_path)
    assert campaign.held, campaign.findings


def test_hundreds_of_invalid_configs_are_rejected(tmp_path: Path) -> None:
    """The short form of `python -m benchmarks.durability configs`."""
    campaign = importlib.import_module("benchmarks.durability.common").Campaign(tmp_path, quick=True)
    importlib.import_module("benchmarks.durability.configs").configs(campaign, tmp_path)
    assert campaign.held, campaign.findings


@pytest.fixture
def saved(trainer, tmp_path: Path):
    """A run and the folder of its checkpoint."""
    run = trainer()
    return run, write_checkpoint(tmp_path / "checkpoints", run.state.snapshot(), FACTS)


def forge(path: Path, content: bytes | None = None, **changes: Any) -> None:
    """Changes the state or the manifest, with valid checksums: those detect damage, not attacks."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    del manifest["checksum"]
    if content is not None:
        (path / STATE).write_bytes(content)
        changes = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} | changes
    (path / MANIFEST).write_bytes(manifest_bytes(manifest | changes))


def assert_rejected(path: Path, run) -> str:
    """Asserts that the checkpoint is rejected and the state unchanged; returns the message."""
    before = run.everything()
    with pytest.raises(TfloopError) as caught:
        restore(Checkpoint.open(path), run.state)
    assert caught.value.code == ExitCode.CHECKPOINT
    for name, array in run.everything().items():
        np.testing.assert_array_equal(array, before[name])
    return str(caught.value)


def safetensors(length: int, header: bytes) -> bytes:
    """Returns the beginning of a safetensors file; `length` is the number of bytes that it claims for its header."""
    return length.to_bytes(8, "little") + header


STATES = {
    "header of terabytes": safetensors(2**43, b"{}"),
    "header longer than the file": safetensors(2**63, b"{" * 50),
    "header is not JSON": safetensors(4, b"\x80\x04N."),
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    "deeply nested JSON": safetensors(200_000, b"[" * 200_000),
    "offsets beyond the file": safetensors(
        64, b'{"a":{"dtype":"F32","shape":[999999],"data_offsets":[0,3999996]}}'[:64].ljust(64)
    ),
    "shape of terabytes": safetensors(
        80, b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}'.ljust(80)
    )
    + b"0000",
    "unknown dtype": safetensors(70, b'{"a":{"dtype":"PY","shape":[1],"data_offsets":[0,4]}}'.ljust(70)) + b"0000",
    "empty file": b"",
    "eight bytes": b"\xff" * 8,
}


@pytest.mark.parametrize("content", STATES.values(), ids=STATES)
def test_forged_state_is_rejected(saved, content: bytes) -> None:
    run, path = saved
    forge(path, content)
    assert_rejected(path, run)


MANIFESTS: dict[str, dict[str, Any]] = {
    "size of terabytes": {"size": 2**43},
    "negative size": {"size": -1},
    "invalid checksum": {"sha256": "../../etc/passwd"},
    "other step": {"step": 7},
    "negative step": {"step": -5},
    "bool as step": {"step": True},
    "other schema": {"schema": 1},
    "text as config": {"config": "os.system"},
    "list as code": {"code": ["../x.py"]},
}


@pytest.mark.parametrize("changes", MANIFESTS.values(), ids=MANIFESTS)
def test_forged_manifest_is_rejected(saved, changes: dict[str, Any]) -> None:
    run, path = saved
    forge(path, **changes)
    assert_rejected(path, run)


def test_state_larger_than_model_is_not_read(saved) -> None:
    """A sparse file uses no disk space, but would fill the memory."""
    run, path = saved
    size = MAX_HEADER_BYTES * 2**10  # 16 GiB
    os.truncate(path / STATE, size)
    forge(path, size=size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "does not match this model" in assert_rejected(path, run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


@pytest.mark.parametrize(
    "content", [b"[" * 10**6, b'{"a":' * 10**5, b"9" * 10**6, b"\xff" * 100, b"null", b'{"schema": 1e999}']
)
def test_malicious_manifest_is_rejected(saved, content: bytes) -> None:
    run, path = saved
    (path / MANIFEST).write_bytes(content)
    assert_rejected(path, run)


def test_manifest_of_terabytes_is_rejected(saved) -> None:
    run, path = saved
    os.truncate(path / MANIFEST, 2**40)
    assert "more than" in assert_rejected(path, run)


def test_links_in_checkpoint_folder_are_not_followed(saved, tmp_path: Path) -> None:
    """Removing leftovers and old checkpoints, and skipping damaged ones, does not change the targets of links."""
    run, path = saved
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").write_text("kept")
    for name in (".staging-1", ".removed-step-00000001", "step-00000099"):
        (path.parent / name).symlink_to(target)
    (path.parent / "step-00000098").write_text("a file")
    warnings: list[str] = []
    manager = CheckpointManager(path.parent, run.state, run.config.checkpoint, FACTS, warnings.append)
    with manager:
        assert manager.restore(None).path == path
        for event in run.events():
            manager.handle(event)
    assert any("step-00000099" in line for line in warnings)
    assert [entry.name for entry in target.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "name", ["step-99999999999999999999", "step-1", "step-00000001/../..", f"step-{chr(0x661) * 8}"]
)
def test_invalid_checkpoint_names_are_not_listed(saved, name: str) -> None:
    from tfloop_cli.runs.checkpoints import list_checkpoints

    _, path = saved
    if "/" not in name:
        (path.parent / name).mkdir()
    assert list_checkpoints(path.parent) == [path]


def test_lock_does_not_truncate_target_of_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(TfloopError) as caught, RunFolder(run).lock():
        pass
    assert caught.value.code == ExitCode.USAGE
    assert (tmp_path / "target").read_text() == "kept"


def test_code_copies_are_loaded_only_from_their_folder(tmp_path: Path) -> None:
    from tfloop_cli.runs.code_copies import verified_copies

    (tmp_path / "code").mkdir()
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('executed')")
    for name in ("../evil.py", str(evil), "..", "", "evil.py", "a/../../evil.py"):
        with pytest.raises(TfloopError):
            verified_copies(tmp_path / "code", {name: hashlib.sha256(evil.read_bytes()).hexdigest()})


def test_pipes_and_huge_files_in_run_folder_are_not_read(tmp_path: Path) -> None:
    from tfloop_cli.files import read_json

    os.mkfifo(tmp_path / "meta.json")
    assert read_json(tmp_path / "meta.json") == {}
    assert RunFolder(tmp_path).started()
    (tmp_path / "deep.json").write_bytes(b"[" * 10**6)
    assert read_json(tmp_path / "deep.json") == {}
    (tmp_path / "huge.json").touch()
    os.truncate(tmp_path / "huge.json", 2**40)
    assert read_json(tmp_path / "huge.json") == {}


def test_malicious_run_folder_runs_no_code_and_writes_to_no_other_folder(shell, tmp_path: Path) -> None:
    """The run folder contains code, links to another folder, and names of modules that tfloop imports."""
    config = {"dataset": {"name": "synthetic", "shape": [4], "train_examples": 64}, "model": "linear", "epochs": 1}
    (tmp_path / "net.yaml").write_text(json.dumps(config | {"device": "cpu", "threads": 1}))
    assert shell.run("train", "-c", "net.yaml", "-o", "run", "-q", cwd=tmp_path).code == 0
    run, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (run / "code").mkdir()
    (run / "code" / "evil.py").write_text(f"open({str(outside / 'executed')!r}, 'w')\n")
    for name in ("sitecustomize.py", "tfloop_cli.py", "tensorflow.py"):
        (run / name).write_text(f"open({str(outside / name)!r}, 'w')\n")
    os.mkfifo(run / "samples")
    resumed = shell.run("train", "-o", "run", "--resume", "--epochs", "2", "-q", cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    for name in ("checkpoints", "code", "samples"):
        moved = (run / name).rename(tmp_path / name)
        (run / name).symlink_to(outside)
        process = shell.run("train", "-o", "run", "--resume", "--epochs", "3", "-q", cwd=tmp_path)
        assert (process.code, "is a link" in process.err) == (ExitCode.USAGE, True), process.err
        (run / name).unlink()
        moved.rename(run / name)
    config_file = run / "config.yaml"
    config_file.write_text(config_file.read_text().replace("linear", "evil"))
    process = shell.run("evaluate", "run", cwd=tmp_path)  # the config in the checkpoint is unchanged
    assert process.code == 0, process.err
    process = shell.run("train", "-o", "run", "--resume", cwd=tmp_path)
    assert process.code == ExitCode.USAGE
    assert "--code" in process.err
    assert list(outside.iterdir()) == []
