"""The examples in docs/extending.md, docs/getting-started.md and docs/python.md are run from the text of the pages."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import tfloop_cli

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[tuple[str, str]]:
    """Returns (language, text) of each fenced block of a page, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_files(page: str, folder: Path) -> list[str]:
    """Writes each block that begins with `# name.py` or `# name.yaml`; returns the names."""
    names = []
    for language, text in blocks(page):
        if language in ("python", "yaml") and (match := re.match(r"# (\w+\.(?:py|yaml))\n", text)):
            (folder / match[1]).write_text(text)
            names.append(match[1])
    return names


def commands(page: str) -> list[str]:
    lines = [line for language, text in blocks(page) if language == "sh" for line in text.splitlines()]
    return [line for line in lines if line.startswith("tfloop ")]


def run(command: str, folder: Path) -> str:
    """Runs a command line of a page in a shell; returns its output."""
    done = subprocess.run(
        command.replace("tfloop", f"{sys.executable} -m tfloop_cli", 1), shell=True, cwd=folder, capture_output=True,
        text=True, env={**os.environ, "CI": "1", "PYTHONPATH": str(DOCS.parent)}, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extending")
    assert len(write_files("extending.md", folder)) == 12
    return folder


@pytest.mark.parametrize("command", commands("extending.md"))
def test_extending_command_runs(command: str, examples: Path) -> None:
    output = run(command, examples)
    if " list " in command:
        assert "two_layers" in output


def test_extending_has_one_example_per_registry() -> None:
    text = "".join(text for language, text in blocks("extending.md") if language == "python")
    assert {f"@{name}.register(" in text for name in tfloop_cli.REGISTRIES} == {True}


def test_extending_lists_every_public_name() -> None:
    page = (DOCS / "extending.md").read_text(encoding="utf-8").partition("## Public names")[2]
    assert set(re.findall(r"`(\w+)`", page)) == set(tfloop_cli.PUBLIC)


def test_examples_import_only_public_names(examples: Path) -> None:
    for path in examples.glob("*.py"):
        modules = re.findall(r"^(?:from|import) (tfloop_cli[\w.]*)", path.read_text(), re.MULTILINE)
        assert set(modules) == {"tfloop_cli"}, path


def write_data(folder: Path) -> None:
    """Writes what the page calls `wine.csv` and `FOLDER`."""
    rows = [f"{number % 7},{number % 5},{'good' if number % 7 > 3 else 'bad'}" for number in range(60)]
    (folder / "wine.csv").write_text("\n".join(["acid,sugar,quality", *rows]), encoding="utf-8")
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + 192, 0, 0, 54, 40, 8, 8, 1, 24, 0, 192, 0, 0, 0, 0)
    for number in range(40):  # bitmaps of 8 x 8 pixels
        path = folder / "FOLDER" / ("dark", "light")[number % 2] / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header + bytes([number + 200 * (number % 2)] * 192))


def test_getting_started_commands_run_in_order(tmp_path: Path) -> None:
    """In one folder, as a reader would run them; with one epoch instead of five."""
    write_files("getting-started.md", tmp_path)
    write_data(tmp_path)
    outputs = {}
    for command in commands("getting-started.md"):
        short = f"{command} --epochs 1" if command == "tfloop train mnist.yaml" else command
        outputs[command] = run(short, tmp_path)
    assert float(re.search(r"accuracy (0\.\d+)", outputs["tfloop train mnist.yaml"])[1]) > 0.94
    assert "precision" in outputs["tfloop evaluate last"]


@pytest.mark.parametrize("name", ["digits.py", "arrays.py"])
def test_python_example_runs(name: str, tmp_path: Path) -> None:
    assert write_files("python.md", tmp_path) == ["digits.py", "arrays.py"]
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    done = subprocess.run(
        [sys.executable, name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
