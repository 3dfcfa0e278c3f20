"""`tfloop completion`: the scripts for four shells, and the candidates that they offer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.commands.completion import SHELLS, VARIABLE
from tfloop_cli.config.precedence import shipped_names
from tfloop_cli.config.schema import Config
from tfloop_cli.registry import REGISTRIES, models, optimizers

# As the installed script `tfloop` runs it: Typer uses the name of the program.
PROGRAM = "import sys; sys.argv[0] = 'tfloop'; from tfloop_cli.__main__ import main; main()"


@pytest.fixture
def complete(tmp_path: Path, shell):
    """Returns a function that returns the candidates for the last word of a command line, as bash requests them."""

    def candidates(line: str) -> list[str]:
        words = line.split(" ")
        environment = shell.environment(
            COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), _TFLOOP_COMPLETE="complete_bash"
        )
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (process.returncode, process.stderr) == (0, "")
        return process.stdout.split()

    return candidates


@pytest.mark.parametrize("name", SHELLS)
def test_script_requests_candidates_of_tfloop(name: str) -> None:
    result = CliRunner().invoke(app, ["completion", name])
    assert result.exit_code == 0
    assert VARIABLE in result.stdout
    assert f"complete_{name}" in result.stdout
    assert "tfloop" in result.stdout


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("tfloop list models conv", "conv_net"),
        ("tfloop train --set model=vi", "vit"),
        ("tfloop train --set warm", "warmup_steps="),
        ("tfloop train --set model=vit --set model.dep", "model.depth="),
    ],
)
def test_bash_script_completes(tmp_path: Path, shell, line: str, candidates: str) -> None:
    """Calls the completion function as bash does, with a stand-in for the installed script `tfloop`."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tfloop"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    lines = [
        CliRunner().invoke(app, ["completion", "bash"]).stdout,
        "compopt() { :; }",  # works only while bash completes
        f"COMP_LINE='{line}' COMP_POINT={len(line)}",
        '_tfloop_completion tfloop; echo "${COMPREPLY[@]}"',
    ]
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    process = subprocess.run(
        ["bash", "-euc", "\n".join(lines)], env=shell.environment(PATH=path), capture_output=True, text=True, timeout=60
    )
    assert (process.stdout, process.stderr) == (f"{candidates}\n", "")


def test_unknown_shell_suggests_nearest() -> None:
    result = CliRunner().invoke(app, ["completion", "bsh"])
    assert result.exit_code == 2
    assert "unknown shell `bsh`\n  did you mean `bash`?" in result.stderr


def test_commands_and_options_are_completed(complete) -> None:
    assert complete("tfloop tr") == ["train", "track"]
    assert complete("tfloop config ") == ["show", "check", "schema"]
    assert complete("tfloop train --ep") == ["--epochs"]


def test_kinds_and_components_are_completed(complete) -> None:
    assert complete("tfloop list ") == [*REGISTRIES, "configs"]
    assert complete("tfloop list models co") == ["conv_net"]
    assert complete("tfloop list schedule co") == ["constant", "cosine"]
    assert complete("tfloop list configs mnist_") == ["mnist_best"]


def test_configs_are_completed_with_built_in_ones_and_files(complete, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "deep.yaml").touch()
    (tmp_path / "my.txt").touch()
    built_in = [f"{name}.yaml" for name in shipped_names()]
    assert set(complete("tfloop train ")) == {*built_in, "mine/", "my.yaml"}
    for line in ("tfloop train m", "tfloop train -c m", "tfloop config check m"):
        assert set(complete(line)) == {"mnist.yaml", "mnist_best.yaml", "mine/", "my.yaml"}
    assert complete("tfloop train mine/") == ["mine/deep.yaml"]


def test_set_keys_are_completed_with_arguments_of_components(complete) -> None:
    keys = complete("tfloop train --set ")
    assert {f"{key}=" for key in Config.model_fields} <= set(keys)
    assert {"optimizer.learning_rate=", "model.filters=", "checkpoint.keep=", "early_stopping.min_delta="} <= set(keys)
    assert complete("tfloop train --set warm") == ["warmup_steps="]
    assert complete("tfloop train --unset model.kern") == ["model.kernel_size"]


def test_set_values_are_completed_for_components(complete) -> None:
    assert complete("tfloop train --set model=") == [f"model={name}" for name in models.names()]
    assert complete("tfloop train --set optimizer=adam") == [
        f"optimizer={name}" for name in optimizers.names() if name.startswith("adam")
    ]
    assert complete("tfloop train --set epochs=") == []


def test_runs_are_completed_newest_first(complete, tmp_path: Path) -> None:
    for name, started in (("old", "2025-01-01"), ("new", "2025-02-02")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
        (tmp_path / "runs" / name / "meta.json").write_text(f'{{"started": "{started}"}}')
    assert complete("tfloop evaluate ") == ["last", "new", "old"]
    assert complete("tfloop evaluate o") == ["old"]


def test_devices_and_splits_are_completed(complete) -> None:
    assert complete("tfloop train --device g") == ["gpu", "gpu:0"]
    assert complete("tfloop evaluate last --split v") == ["validation"]
