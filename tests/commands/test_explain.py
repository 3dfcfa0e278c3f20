"""`tfloop explain`: exit codes, keys of the schema, arguments of components, and where a config has set them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.commands import completion
from tfloop_cli.commands.explain import explain
from tfloop_cli.config.keys import keys
from tfloop_cli.errors import ExitCode


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMAGES", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["explain", *arguments])
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.mark.parametrize("code", list(ExitCode), ids=lambda code: str(int(code)))
def test_exit_code_has_its_meaning(run: Callable, code: ExitCode) -> None:
    status, out, _ = run(str(int(code)))
    first, *rest = out.splitlines()
    assert (status, first) == (0, f"exit code {int(code)} ({code.name})")
    assert " ".join(" ".join(rest).split()) == code.meaning


def test_exit_code_of_a_signal(run: Callable) -> None:
    assert "ended by SIGKILL, which tfloop does not handle: the system does so if memory" in run("137")[1]
    assert run("139")[1].splitlines()[1] == "  ended by SIGSEGV, which tfloop does not handle"
    code, out, err = run("9")
    assert (code, out) == (2, "")
    assert err.endswith("the exit codes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 75, 129, 130, 141, 143\n")


def test_key_of_the_schema(run: Callable) -> None:
    assert run("checkpoint.keep") == (0, """\
checkpoint.keep
  The number of newest checkpoints to keep, besides the best one.
  type       integer, at least 1
  default    1
  on resume  free
""", "")  # fmt: skip


def test_component_key_names_the_components(run: Callable) -> None:
    (meaning,) = json.loads(run("schedule", "--json")[1])["meanings"]
    assert (meaning["default"], meaning["required"]) == ("constant", False)
    assert {"constant", "cosine"} <= set(meaning["allowed"])


def test_argument_of_several_components(run: Callable) -> None:
    meanings = json.loads(run("optimizer.learning_rate", "--json")[1])["meanings"]
    defaults = {name: one["default"] for one in meanings for name in one["components"]}
    assert (defaults["adam"], defaults["sgd"]) == (0.001, 0.01)
    assert [one["components"] for one in meanings if "adam" in one["components"]] == [
        sorted(name for name, default in defaults.items() if default == 0.001)
    ]


def test_value_and_source_in_a_config(run: Callable) -> None:
    Path("my.yaml").write_text("extends: mnist\noptimizer: {name: sgd, learning_rate: 0.1}\n")
    document = json.loads(run("optimizer.learning_rate", "-c", "my.yaml", "--json")[1])
    assert (document["value"], document["source"]) == (0.1, "my.yaml:2")
    assert [one["components"] for one in document["meanings"]] == [["sgd"]]
    assert "  value      0.1, from my.yaml:2\n" in run("optimizer.learning_rate", "-c", "my.yaml")[1]
    assert "  value      7, from --set epochs=7\n" in run("epochs", "--config", "my.yaml", "--set", "epochs=7")[1]
    document = json.loads(run("model.width", "-c", "my.yaml", "--json")[1])  # not of this config's model
    assert "value" not in document


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("lr", "did you mean `optimizer.learning_rate`?"),
        ("optimizer.lr", "did you mean `optimizer.learning_rate`?"),
        ("keep", "did you mean `checkpoint.keep`?"),
        ("checkpoint.kep", "did you mean `checkpoint.keep`"),
        ("patience", "did you mean `early_stopping.patience_epochs`?"),
        ("resnet", "`tfloop list models resnet` describes this model"),
        ("xyzzy", "`tfloop config show mnist` lists the keys"),
    ],
)
def test_unknown_key_suggests_the_right_one(run: Callable, word: str, hint: str) -> None:
    code, out, err = run(word)
    assert (code, out) == (2, "")
    assert f"unknown key `{word}`\n  {hint}" in err


def test_every_key_of_the_schema_is_explained_and_completed() -> None:
    for path in keys():
        (meaning,) = explain(path)["meanings"]
        assert meaning["description"]
        assert path in completion.explained(path)
    assert completion.explained("7") == ["7", "75"]
    assert "augment.degrees" in completion.explained("augment.d")
    assert completion.keys("augment.d") == []  # an item of a list cannot be set


def test_tensorflow_is_not_loaded(shell) -> None:
    modules = "import sys; from tfloop_cli.commands import doctor, explain, init"
    command = [sys.executable, "-c", f"{modules}; print({{'tensorflow', 'keras'}} & set(sys.modules))"]
    done = subprocess.run(command, capture_output=True, text=True, env=shell.environment())
    assert done.stdout == "set()\n", done.stderr
