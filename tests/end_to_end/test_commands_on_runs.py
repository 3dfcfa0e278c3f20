"""Every command that takes a run: on a run that is none, is damaged, or is of another version; with --json and without.

The exit code is the documented one, and no traceback is printed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.runs.checkpoints import manifest_bytes

# Keras' own warning, when it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Commands that need the model, and those that read the run folder alone.
ON_MODELS = {
    "predict": ["predict", "RUN", "inputs.npy"],
    "export": ["export", "RUN", "--format", "keras"],
    "evaluate": ["evaluate", "RUN"],
    "resume": ["resume", "RUN", "--epochs", "3"],
}
ON_FILES = {
    "show": ["runs", "show", "RUN"],
    "compare": ["runs", "compare", "RUN", "good"],
    "report": ["report", "RUN"],
    "track": ["track", "RUN", "--to", "tensorboard"],
    "reproduce": ["reproduce", "RUN", "-o", "again"],
}


@pytest.fixture
def call(finished, machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Returns a function that calls a command on a copy of a finished run in this process."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished.folder, "run")
    shutil.copytree(finished.folder, "good")
    np.save("inputs.npy", np.zeros((3, 8, 8, 1), np.float32))

    def run(arguments: list[str], *more: str, name: str = "run") -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [name if one == "RUN" else one for one in arguments] + list(more))
        assert "Traceback" not in result.stderr + result.stdout
        assert result.exit_code != 1, result.stderr
        return result.exit_code, result.stdout, result.stderr

    return run


def manifests() -> list[Path]:
    return list(Path("run").glob("checkpoints/*/manifest.json"))


@pytest.mark.parametrize("command", [*ON_MODELS, *ON_FILES])
def test_no_run(call, command: str) -> None:
    arguments = (ON_MODELS | ON_FILES)[command]
    Path("empty").mkdir()
    for name in ("empty", "missing"):
        code, out, err = call(arguments, name=name)
        assert (code, out) == (2, "")
        assert name in err
    code, out, _ = call(arguments, "--json", name="missing")
    (document,) = map(json.loads, out.splitlines())
    assert (code, document["event"], document["code"]) == (2, "error", 2)


@pytest.mark.parametrize("command", ON_MODELS)
def test_damaged_checkpoint(call, command: str) -> None:
    for file in manifests():
        file.write_text(file.read_text().replace('"epoch"', '"epocx"', 1))
    code, out, err = call(ON_MODELS[command])
    assert (code, out) == (6, "")
    assert "its checksum is wrong" in err


@pytest.mark.parametrize("command", ON_MODELS)
def test_checkpoint_of_another_version(call, command: str) -> None:
    for file in manifests():
        manifest = json.loads(file.read_text())
        del manifest["checksum"]
        file.write_bytes(manifest_bytes(manifest | {"schema": 2, "versions": {"tfloop": "0.0.9"}}))
    code, out, err = call(ON_MODELS[command])
    assert (code, out) == (6, "")
    assert "its schema is 2, of tfloop 0.0.9, and this version of tfloop reads 3" in err
    assert command == "resume" or "use that version, or train a new run" in err


@pytest.mark.parametrize("command", ["predict", "export", "evaluate"])
def test_run_of_a_version_without_spec_and_evaluation(call, command: str) -> None:
    """What `train` keeps since then is found in the data."""
    for file in manifests():
        manifest = json.loads(file.read_text())
        del manifest["checksum"], manifest["spec"]
        file.write_bytes(manifest_bytes(manifest))
    shutil.rmtree("run/evaluation")
    code, out, err = call(ON_MODELS[command])
    assert code == 0, err
    assert out


@pytest.mark.parametrize("command", ["show", "compare", "report", "track"])
def test_files_of_a_damaged_run(call, command: str) -> None:
    for name in ("summary.json", "meta.json", "metrics.jsonl", "config.yaml", "evaluation/test.npz"):
        file = Path("run", name)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    code, _, err = call(ON_FILES[command])
    assert code == (2 if command == "track" else 0)
    assert "damaged" in err or "missing" in err or "cannot be read" in err, err
