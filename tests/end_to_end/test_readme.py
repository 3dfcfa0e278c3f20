"""Promise: what the README says to type works, and every command stands in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tfloop_cli import cli

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
LINES = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]


def commands(app: typer.Typer, prefix: str = "tfloop") -> dict[str, typer.models.CommandInfo]:
    """Every command by what one types: "tfloop config show"."""
    found = {f"{prefix} {one.name or one.callback.__name__}": one for one in app.registered_commands}
    for group in app.registered_groups:
        found |= commands(group.typer_instance, f"{prefix} {group.name}")
    return found


def test_the_readme_begins_with_two_commands() -> None:
    assert LINES[0] == "pip install . && tfloop train --config mnist.yaml"
    assert LINES[1] == "pip install '.[dev]' && pytest"
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install --quiet '.[dev]'" in script
    assert re.search(r"^pytest$", script, re.MULTILINE)


@pytest.mark.parametrize("name", commands(cli.app))
def test_every_command_is_documented(name: str) -> None:
    assert f"`{name}" in README, f"{name} has no line in the README"
    assert commands(cli.app)[name].callback.__doc__


def test_every_option_says_what_it_does() -> None:
    silent = []
    for name, command in commands(cli.app).items():
        help_text = subprocess.run(
            [sys.executable, "-m", "tfloop_cli", *name.split()[1:], "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert command.callback.__doc__.split(";")[0].split(":")[0][:40] in help_text
        for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)(?: .*)?$", help_text, re.MULTILINE):
            if not re.search(rf"{option}\b.*\n?\s+\w", help_text):
                silent.append(f"{name} {option}")
    assert not silent


def test_the_commands_run_in_the_readmes_order(tmp_path: Path) -> None:
    """In one folder, as a reader would: five epochs of MNIST, options, evaluation, one's own model, resuming."""
    model = next(block for language, block in BLOCKS if language == "python" and "my_models.py" in block)
    (tmp_path / "my_models.py").write_text(model)
    tfloop = f"{sys.executable} -m tfloop_cli"
    outputs = {}
    for line in LINES:
        if "tfloop" not in line:
            continue
        command = line.rpartition("&& ")[2].replace("tfloop", tfloop, 1)
        environment = {**os.environ, "CI": "1", "PYTHONPATH": ""}
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        outputs[line] = done.stdout
    first = outputs[LINES[0]]
    assert float(re.search(r"accuracy (0\.\d+)", first)[1]) > 0.97
    assert "conv_net" in outputs["tfloop list models"]
    assert "# mnist.yaml:" in outputs["tfloop config show -c mnist.yaml --sources"]
