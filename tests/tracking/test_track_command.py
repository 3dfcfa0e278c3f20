"""`tfloop track`: the command line."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tracked_runs import CONFIG
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.tracking import children


def track(run: RunFolder, *options: str) -> Any:
    return CliRunner().invoke(app, ["track", run.path.name, "--runs-dir", str(run.path.parent), *options])


@pytest.fixture
def own(run: RunFolder) -> RunFolder:
    """A run whose config tracks with TensorBoard."""
    run.config.write_text(CONFIG.partition("tracking:")[0] + "tracking: [{name: tensorboard, path: null}]\n")
    return run


def test_trackers_of_the_config_are_the_default(own: RunFolder) -> None:
    result = track(own)
    assert (result.exit_code, result.stdout) == (0, f"tensorboard: {own.path}/tensorboard\n")
    assert b"train/loss" in next((own.path / "tensorboard").iterdir()).read_bytes()


def test_json_has_where_the_run_is(own: RunFolder, tmp_path: Path) -> None:
    result = track(own, "--to", "tensorboard", "--to", f"{{name: tensorboard, path: {tmp_path}/logs}}", "--json")
    assert result.exit_code == 0
    found = [{"name": "tensorboard", "where": f"{folder}", "error": None} for folder in (
        own.path / "tensorboard", tmp_path / "logs" / "digits",
    )]  # fmt: skip
    assert json.loads(result.stdout) == {
        "event": "track", "schema": 1, "run": str(own.path), "trackers": found,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "tensorbord"), "--to: unknown tracker `tensorbord`\n  did you mean `tensorboard`?"),
        (("--to", "{name: tensorboard, folder: x}"), "unknown key `tracking[0].folder`"),
        (("--to", "{name: "), "neither a name nor a mapping in YAML"),
        (("--timeout", "soon"), "--timeout soon: must be a duration"),
        (("--to", "wandb"), "the tracker `wandb` needs packages that are missing: `pip install wandb`"),
        (("--to", '{name: mlflow, uri: "http://me:secret@server"}'), "has a user name or a password"),
    ],
)
def test_wrong_option_is_one_message(
    own: RunFolder, options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "find_spec", lambda name: None)
    result = track(own, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "secret" not in result.stderr
    assert not (own.path / "tensorboard").exists()


def test_config_without_trackers_needs_a_name(own: RunFolder) -> None:
    own.config.write_text("dataset: {name: mnist}\n")
    result = track(own)
    assert (result.exit_code, "choose one: `--to tensorboard`" in result.stderr) == (2, True)


def test_tracker_that_fails_is_exit_code_75(own: RunFolder) -> None:
    (own.path / "tensorboard").symlink_to(own.path)
    result = track(own, "--json")
    assert result.exit_code == 75
    row, error = map(json.loads, result.stdout.splitlines())
    assert "is a link" in row["trackers"][0]["error"]
    assert error["code"] == 75
    assert "Traceback" not in result.stderr


def test_run_that_is_training_is_refused(own: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with own.lock():
        result = track(own)
        assert result.exit_code == 2
        assert f"another tfloop process is training in this folder (pid {os.getpid()}" in result.stderr
        monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK)  # the run of another user
        result = track(own)
        assert (result.exit_code, "another user is training" in result.stderr) == (2, True)


def test_command_does_not_load_tensorflow() -> None:
    import subprocess

    program = "import sys; from tfloop_cli.commands import track; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
