"""The README: its structure, and its commands, which are run from its text."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tfloop_cli import cli
from tfloop_cli.errors import ExitCode

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
LINES = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]


def commands(app: typer.Typer, prefix: str = "tfloop") -> dict[str, typer.models.CommandInfo]:
    """Returns every command by what a user types: "tfloop config show"."""
    found = {f"{prefix} {one.name or one.callback.__name__}": one for one in app.registered_commands}
    for group in app.registered_groups:
        named = isinstance(group.name, str)  # the commands of a group without a name are at the top level
        found |= commands(group.typer_instance, f"{prefix} {group.name}" if named else prefix)
    return found


def test_setup_commands_come_first_and_are_those_of_ci() -> None:
    assert LINES[0] == "pip install . && tfloop train mnist.yaml"
    assert LINES[1] == "pip install --editable '.[dev]' && pytest"
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install --quiet --editable '.[dev]'" in script
    assert re.search(r"^pytest$", script, re.MULTILINE)
    assert "pip install --quiet .\n" in script


def test_sections_are_in_order() -> None:
    sections = re.findall(r"^## (.*)$", README, re.MULTILINE)
    assert sections == [
        "Install", "Quick start", "Your data", "Change the config", "After training", "Extend", "Resume and CI",
        "Benchmarks", "Not yet", "Contributing", "License",
    ]  # fmt: skip


def test_readme_is_short() -> None:
    lines = README.splitlines()
    assert 110 <= len(lines) <= 140
    assert max(map(len, lines)) <= 120


def test_exit_codes_are_complete() -> None:
    codes = [int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")]
    assert codes == sorted(ExitCode)


def test_benchmark_table_has_five_rows_with_one_number_each() -> None:
    section = README.partition("## Benchmarks")[2].partition("\n## ")[0]
    command = re.search(r"`python (benchmarks/\w+\.py)[^`]*`", section)[1]
    assert (REPOSITORY / command).is_file()
    assert len(re.findall(r"^\| [^|]+ \| \d+\.\d+ \|$", section, re.MULTILINE)) == 5


@pytest.mark.parametrize("name", commands(cli.app))
def test_every_option_has_a_description(name: str) -> None:
    command = commands(cli.app)[name]
    help_text = subprocess.run(
        [sys.executable, "-m", "tfloop_cli", *name.split()[1:], "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert re.split("[;:\n]", command.callback.__doc__)[0][:40] in help_text
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)(?: .*)?$", help_text, re.MULTILINE)
    assert [one for one in options if not re.search(rf"{one}\b.*\n?\s+\w", help_text)] == []


def test_commands_run_in_order(tmp_path: Path) -> None:
    """In one folder, as a reader would: train, evaluate, an own config, an own model, resume, CI."""
    for language, block in BLOCKS:
        if match := re.match(r"# (\w+\.(?:py|yaml))\n", block):
            assert language in ("python", "yaml")
            (tmp_path / match[1]).write_text(block)
    outputs = {}
    for line in LINES:
        if "tfloop" not in line:
            continue
        command = line.rpartition("&& ")[2].replace("tfloop", f"{sys.executable} -m tfloop_cli", 1)
        environment = {**os.environ, "CI": "1", "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        outputs[line] = done.stdout
    assert float(re.search(r"accuracy (0\.\d+)", outputs[LINES[0]])[1]) > 0.97
    assert "# my.yaml:" in outputs["tfloop config show my.yaml --sources"]
    assert float(re.search(r"accuracy (0\.\d+)", outputs["tfloop evaluate last"])[1]) > 0.97
    assert re.search("precision +recall +f1", outputs["tfloop evaluate last"])
