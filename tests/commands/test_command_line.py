"""The command line: unknown options, positional configs, and help."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app

COMMANDS = [
    [], ["train"], ["resume"], ["evaluate"], ["list"], ["cache"], ["completion"], ["config"], ["config", "show"],
    ["config", "check"], ["config", "schema"], ["inspect"], ["inspect", "data"],
]  # fmt: skip


def run(*arguments: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, list(arguments), input=stdin)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes to a folder with two configs."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text("dataset: mnist\nmodel: mlp\nepochs: 3\n")
    Path("more.yaml").write_text("epochs: 7\nseed: 7\n")


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--lr", "use `--set optimizer.learning_rate=VALUE`"),
        ("--dropout", "use `--set model.dropout=VALUE`"),
        ("--patience", "use `--set early_stopping.patience_epochs=VALUE`"),
        ("--epoch", "did you mean `--epochs`?"),
        ("--outptu", "did you mean `--output`?"),
    ],
)
@pytest.mark.parametrize("separator", [" ", "="])
def test_unknown_option_of_train_exits_with_2_and_hint(option: str, hint: str, separator: str) -> None:
    result = run("train", *f"{option}{separator}0.1".split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"No such option: {option}; {hint}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["list", "models", "--jsn"], "did you mean `--json`?"),
        (["evaluate", "last", "--spilt", "test"], "did you mean `--split`?"),
        (["cache", "--clean"], "did you mean `--clear`?"),
        (["config", "check", "--lr", "0.1"], "use `--set optimizer.learning_rate=VALUE`"),
        (["config", "schema", "--daft", "07"], "did you mean `--draft`?"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_unknown_option_of_other_commands_exits_with_2_and_hint(arguments: list[str], hint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert hint in result.stderr


def test_unknown_option_without_hint_exits_with_2() -> None:
    result = run("cache", "--xyzzy")
    assert result.exit_code == 2
    assert "No such option: --xyzzy" in result.stderr


@pytest.mark.parametrize("command", [["config", "show"], ["config", "check"]])
def test_positional_config_equals_option(command: list[str], in_folder: None) -> None:
    positional = run(*command, "small.yaml")
    assert positional.exit_code == 0
    assert positional.stdout == run(*command, "-c", "small.yaml").stdout != ""


def test_positional_configs_come_before_config_options(in_folder: None) -> None:
    for arguments in (
        ["small.yaml", "more.yaml"],
        ["small.yaml", "-c", "more.yaml"],
        ["-c", "more.yaml", "small.yaml"],
    ):
        shown = run("config", "show", "--sources", *arguments).stdout
        assert "# more.yaml:1" in shown
        assert "epochs: 7 " in shown


def test_positional_config_may_be_stdin_or_built_in(in_folder: None) -> None:
    assert run("config", "check", "-", stdin="dataset: mnist\nmodel: mlp\n").stdout == "ok: mlp on mnist, 5 epochs\n"
    result = run("config", "check", "mnist")
    assert (result.stdout, result.stderr) == (
        "ok: conv_net on mnist, 5 epochs\n", "using built-in config mnist.yaml\n",
    )  # fmt: skip


def test_train_accepts_positional_config(in_folder: None) -> None:
    Path("small.yaml").write_text("dataset: mnist\nmodel: mlp\nepochs: x\n")
    positional, option = run("train", "small.yaml"), run("train", "-c", "small.yaml")
    assert (positional.exit_code, option.exit_code) == (2, 2)
    assert positional.stderr == option.stderr
    assert positional.stderr.startswith("small.yaml:3:9: `epochs` must be an integer")


def test_no_config_lists_built_in_configs() -> None:
    for command in (["config", "show"], ["train", "--epochs", "3"]):
        result = run(*command)
        assert result.exit_code == 2
        assert "no config is given" in result.stderr
        assert "mnist_best" in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_short_help_option_equals_long_one(command: list[str]) -> None:
    short = run(*command, "-h")
    assert short.exit_code == 0
    assert short.stdout.startswith("Usage: ")
    assert short.stdout == run(*command, "--help").stdout


def test_unknown_draft_exits_with_2() -> None:
    result = run("config", "schema", "--draft", "04")
    assert result.exit_code == 2
    assert "unknown draft `04`\n  use 2020-12 or 07" in result.stderr
