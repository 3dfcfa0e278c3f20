"""`--json`: each command that has it prints documents with `event` and `schema`, one per line, and nothing else."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.commands import doctor
from tfloop_cli.files import SCHEMA

# Keras' own warning, when it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CASES = {  # command -> arguments with which it succeeds, in this order
    "init": ["mnist", "-o", "new.yaml"],
    "list": ["models"],
    "cache": [],
    "explain": ["75"],
    "doctor": ["--no-speed-test"],
    "config check": ["mnist.yaml"],
    "inspect data": ["table.csv", "--target", "label"],
    "train": ["run/config.yaml", "-o", "trained"],
    "resume": ["trained", "--epochs", "4"],
    "reproduce": ["trained", "-o", "again"],
    "lr-find": ["run/config.yaml", "--steps", "20"],
    "evaluate": ["run"],
    "predict": ["run", "table.csv"],
    "export": ["run", "--format", "keras"],
    "report": ["run"],
    "track": ["run", "--to", "tensorboard"],
    "runs list": ["--runs-dir", "."],
    "runs show": ["run"],
    "runs compare": ["run", "trained"],
    "runs rm": ["again", "--yes"],
}


def commands(command: Any, name: str = "") -> Iterator[str]:
    """Yields the commands that have `--json`."""
    if hasattr(command, "commands"):
        for key, one in command.commands.items():
            yield from commands(one, f"{name} {key}".strip())
    elif any("--json" in parameter.opts for parameter in command.params):
        yield name


def test_every_command_has_a_case() -> None:
    assert set(commands(typer.main.get_command(app))) == set(CASES)


def test_every_document_has_event_and_schema(tiny_runs, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(tiny_runs("table"), tmp_path / "run")
    shutil.copy(tiny_runs.cwd / "table.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "run_self_test", lambda seconds: {"error": "not tested"})
    for name, arguments in CASES.items():
        result = CliRunner().invoke(app, [*name.split(), *arguments, "--json"])
        assert result.exit_code == (2 if name == "doctor" else 0), (name, result.stderr)
        documents = [json.loads(line) for line in result.stdout.splitlines()]
        assert documents, name
        assert all(list(one)[:2] == ["event", "schema"] and one["schema"] == SCHEMA for one in documents), name
    result = CliRunner().invoke(app, ["explain", "76", "--json"])
    (error,) = map(json.loads, result.stdout.splitlines())
    assert (result.exit_code, error["event"], error["schema"]) == (2, "error", SCHEMA)
