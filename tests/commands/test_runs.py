"""`tfloop runs list | show | compare | rm` on run folders that the tests write; TensorFlow is not loaded."""

import fcntl
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.run_folders import write_run
from tfloop_cli.cli import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(folder: Path) -> Path:
    """A folder with three runs: a (good), b (stopped early), c (another model, diverged)."""
    write_run(folder / "runs" / "a", day=1)
    write_run(folder / "runs" / "b", (0.4, 0.6), test=0.55, reason="early_stopping", learning_rate=0.01, day=2)
    write_run(folder / "runs" / "c", (0.3,), model="mlp", test=None, reason="diverged", day=3)
    return folder / "runs"


def run(*arguments: str, code: int = 0, stdin: str = "") -> Any:
    result = CliRunner().invoke(app, ["runs", *arguments], input=stdin)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def documents(*arguments: str, code: int = 0) -> dict[str, Any]:
    """Returns the only JSON document of a command."""
    found: dict[str, Any] = json.loads(run(*arguments, "--json", code=code).stdout)
    return found


def names(*arguments: str) -> list[str]:
    return [one["name"] for one in documents("list", *arguments)["runs"]]


def lines(*arguments: str) -> list[list[str]]:
    return [line.split() for line in run("list", *arguments).stdout.splitlines()]


# list


def test_list_shows_newest_first_with_metrics_and_curve(runs: Path) -> None:
    shown = run("list").stdout.splitlines()
    assert shown[0].split() == [
        "name", "started", "status", "epochs", "model", "validation/accuracy", "test/accuracy", "curve",
    ]  # fmt: skip
    assert [line[0] for line in shown[1:]] == ["c", "b", "a"]
    assert "completed" in shown[3]
    assert shown[3].endswith("0.9000         0.8500  ▁█▇")
    assert "stopped early" in shown[2]


def test_list_as_json_has_every_value(runs: Path) -> None:
    document = documents("list")
    assert (document["event"], document["schema"], document["total"]) == ("runs", 1, 3)
    assert document["runs"][2] == {
        "name": "a", "path": "runs/a", "status": "completed", "problem": None, "epochs": 3, "model": "conv_net",
        "started": "2026-11-01T12:00:00.000000+00:00", "validation/accuracy": 0.9, "test/accuracy": 0.85,
        "curve": [0.5, 0.9, 0.8],
    }  # fmt: skip


def test_list_shows_chosen_columns(runs: Path) -> None:
    columns = "name,config.optimizer.learning_rate,train/loss,best_epoch,seconds"
    assert lines("--columns", columns, "--sort", "name") == [
        ["name", "optimizer.learning_rate", "train/loss", "best_epoch", "seconds"],
        ["a", "0.001", "1.0000", "2", "1:30"],
        ["b", "0.01", "1.0000", "2", "1:30"],
        ["c", "0.001", "2.0000", "1", "1:30"],
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sort", "test/accuracy"], ["b", "a", "c"]),  # c has none: last
        (["--sort", "-test/accuracy"], ["a", "b", "c"]),
        (["--sort", "test/accuracy", "--descending"], ["a", "b", "c"]),
        (["--sort", "-test/accuracy", "--descending"], ["b", "a", "c"]),
        (["--sort", "config.model.name"], ["a", "b", "c"]),
        (["--sort", "-started", "--limit", "2"], ["c", "b"]),
    ],
)
def test_list_sorts_and_puts_missing_values_last(runs: Path, arguments: list[str], expected: list[str]) -> None:
    assert names(*arguments) == expected


def test_nan_sorts_last_in_both_directions(folder: Path) -> None:
    for name, accuracy in (("a", 0.1), ("b", None), ("c", 0.3)):
        write_run(folder / "runs" / name, (accuracy,))
    summary = folder / "runs" / "b" / "summary.json"
    text = json.loads(summary.read_text())
    summary.write_text(json.dumps(text | {"best": text["final"] | {"validation": {"accuracy": float("nan")}}}))
    assert names("--sort", "validation/accuracy") == ["a", "c", "b"]
    assert names("--sort", "-validation/accuracy") == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["validation/accuracy > 0.5"], "ab"),
        (["validation/accuracy>=0.9"], "a"),
        (["validation/accuracy > 0.5", "test/accuracy < 0.6"], "b"),
        (["status = stopped early"], "b"),
        (["status != diverged"], "ab"),
        (["config.optimizer.learning_rate = 1e-2"], "b"),
        (["config.model.name = 'mlp'"], "c"),
        (["model ~ ^(conv|x)"], "ab"),
        (["test/accuracy = null"], "c"),
        (["test/accuracy != null"], "ab"),
        (["test/accuracy != 0.85"], "b"),
        (["started >= 2026-11-02T00:00"], "bc"),
        (["started < 2026-11-02T00:00+00:00"], "a"),
        (["seconds < 91", "epochs = 1"], "c"),
        (["name = 4711"], ""),
    ],
)
def test_where_selects_runs(runs: Path, where: list[str], expected: str) -> None:
    arguments = [part for one in where for part in ("--where", one)]
    assert "".join(sorted(names(*arguments))) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("accuracy", "this is not a filter"),
        ("validation/accuracy >", "this is not a filter"),
        ("accuracy > 0.9", "there is no column `accuracy`"),
        ("statsu = failed", "did you mean `status`?"),
        ("status = done", "there is no status `done`"),
        ("test/accuracy > high", "`>` compares with a number"),
        ("started > yesterday", "`yesterday` is not a date"),
        ("started = 2026-11-26", "`=` does not suit a date"),
        ("name ~ (", "is not a regular expression"),
        ("__import__('os') > 1", "there is no column"),
    ],
)
def test_wrong_where_exits_with_2_and_what_is_allowed(runs: Path, where: str, message: str) -> None:
    assert message in run("list", "--where", where, code=2).stderr
    assert documents("list", "--where", where, code=2)["event"] == "error"


def test_wrong_columns_exit_with_2(runs: Path) -> None:
    for option in ("--columns", "--sort"):
        assert "did you mean `started`?" in run("list", option, "startd", code=2).stderr


def test_metric_that_no_run_has_is_a_warning(runs: Path) -> None:
    result = run("list", "--where", "validation/acc > 0.5")
    assert "no run has `validation/acc`; metrics are" in result.stderr
    assert "none of the 3 runs" in result.stderr
    assert result.stdout == ""


def test_status_of_runs_that_have_not_ended(folder: Path) -> None:
    write_run(folder / "runs" / "crashed", reason=None)
    training = write_run(folder / "runs" / "training", reason=None)
    write_run(folder / "runs" / "stopped", reason="SIGTERM")
    write_run(folder / "runs" / "starting", (), reason=None)
    with (training / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = {one["name"]: one for one in documents("list")["runs"]}
    statuses = {"crashed": "crashed", "training": "training", "stopped": "interrupted", "starting": "crashed"}
    assert {name: one["status"] for name, one in found.items()} == statuses
    assert found["crashed"]["validation/accuracy"] == 0.9  # of metrics.jsonl
    assert found["starting"]["epochs"] is None


DAMAGE: dict[str, Any] = {
    "summary": lambda path: (path / "summary.json").write_text('{"schema": 1, "rea'),
    "summary is a list": lambda path: (path / "summary.json").write_text("[]"),
    "summary is a folder": lambda path: ((path / "summary.json").unlink(), (path / "summary.json").mkdir()),
    "meta": lambda path: (path / "meta.json").write_bytes(b"\xff\xfe\x00"),
    "no meta": lambda path: (path / "meta.json").unlink(),
    "no config": lambda path: (path / "config.yaml").unlink(),
    "binary config": lambda path: (path / "config.yaml").write_bytes(b"\xff\xfe\x00"),
    "meta is a pipe": lambda path: ((path / "meta.json").unlink(), os.mkfifo(path / "meta.json")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_runs_are_listed_and_shown(runs: Path, damage: str) -> None:
    DAMAGE[damage](runs / "a")
    (found,) = [one for one in documents("list")["runs"] if one["name"] == "a"]
    assert found["status"] == "damaged"
    assert found["problem"]
    run("list", "--columns", "name,problem,bytes,curve,config.seed")
    if damage != "meta is a pipe":
        run("show", "a")
        documents("show", "a")
        documents("compare", "a", "b")


def test_wrong_types_in_files_have_no_value(runs: Path) -> None:
    (runs / "a" / "meta.json").write_text('{"versions": 3, "started": 5, "resumed": 7, "command": 1, "held_out": [1]}')
    (runs / "a" / "summary.json").write_text('{"best": [1], "final": "x", "evaluations": 3, "reason": "completed"}')
    (runs / "a" / "metrics.jsonl").write_text('{"event": "epoch", "validation": 7}\n[1]\n{"event": "ep')
    run("list")
    run("show", "a")
    documents("show", "a")
    run("compare", "a", "b")


def test_run_of_a_newer_version_is_named(runs: Path) -> None:
    (runs / "a" / "summary.json").write_text('{"schema": 2, "reason": "completed"}')
    (found,) = [one for one in documents("list")["runs"] if one["name"] == "a"]
    assert found["status"] == "schema 2"
    assert found["problem"] == "summary.json has schema 2 of tfloop 0.1.0; this version reads 1"
    assert "schema 2 of tfloop 0.1.0" in run("show", "a").stderr


def test_run_of_an_earlier_version_has_empty_values(runs: Path) -> None:
    (runs / "a" / "meta.json").write_text('{"started": "2026-11-01T12:00:00+00:00"}')
    found = names("--where", "status = completed")
    assert found == ["a"]
    assert "fingerprint" not in run("show", "a").stdout
    assert documents("show", "a")["data"] is None


def test_no_runs_is_no_error(folder: Path) -> None:
    result = run("list")
    assert result.stdout == ""
    assert "there are no runs in runs" in result.stderr
    assert documents("list")["runs"] == []


def test_runs_dir_that_is_a_file_exits_with_2(folder: Path) -> None:
    (folder / "runs").write_text("")
    assert run("list", code=2).stderr == "error: runs: Not a directory\n"


def test_names_cannot_change_the_terminal(folder: Path) -> None:
    write_run(folder / "runs" / "red \x1b[31m\nline")
    write_run(folder / "runs" / "名前 é")
    shown = run("list").stdout
    assert "\x1b" not in shown
    assert "red \\x1b[31m\\nline" in shown
    assert len(shown.splitlines()) == 3
    assert "\x1b" not in run("show", "red \x1b[31m\nline").stdout
    assert "\x1b" not in run("compare", "red \x1b[31m\nline", "名前 é").stdout


def test_long_history_is_sampled_and_reaches_its_end(folder: Path) -> None:
    write_run(folder / "runs" / "long", tuple(number / 5000 for number in range(1, 5001)))
    (found,) = documents("list")["runs"]
    assert len(found["curve"]) < 100
    assert found["curve"] == sorted(set(found["curve"]))
    assert (found["curve"][0], found["curve"][-1]) == (1 / 5000, 1.0)


@pytest.mark.parametrize("end", ["", '{"event": "epoch", "epo', "x" * 200_000, "\n" * 3])
@pytest.mark.parametrize("epochs", [0, 1, 2, 700])
def test_best_and_last_epoch_of_a_crashed_run_are_found_from_the_end(folder: Path, epochs: int, end: str) -> None:
    path = write_run(folder / "runs" / "a", (0.9, *[0.5] * (epochs - 1))[:epochs], reason=None)
    with (path / "metrics.jsonl").open("a") as file:
        file.write(end)
    (found,) = documents("list", "--columns", "epochs,best_epoch,validation/accuracy")["runs"]
    expected = (epochs, 1, 0.9) if epochs else (None, None, None)
    assert (found["epochs"], found["best_epoch"], found["validation/accuracy"]) == expected


def test_narrow_terminal_drops_columns_and_cuts_names(runs: Path) -> None:
    write_run(runs / "mnist-best-learning-rate-20261126-101500-a1b2", day=9)
    assert len(max(terminal_output(40, "runs", "list").splitlines(), key=len)) <= 40
    wide = terminal_output(200, "runs", "list")
    assert "mnist-best-learning-rate-20261126-101500-a1b2" in wide
    assert "curve" in wide


def terminal_output(width: int, *arguments: str) -> str:
    """Returns what a process prints on a terminal of that width."""
    parent, child = pty.openpty()
    environment = os.environ | {"COLUMNS": str(width), "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, "-m", "tfloop_cli", *arguments], stdout=child, env=environment):
        os.close(child)
        text = b""
        try:
            while part := os.read(parent, 4096):
                text += part
        except OSError:  # the end of the output on Linux
            pass
    os.close(parent)
    return text.decode().replace("\r\n", "\n")


# show


def test_show_has_result_config_environment_and_next_commands(runs: Path) -> None:
    shown = run("show", "a").stdout
    for text in (
        "runs/a\ncompleted", "test        accuracy 0.8500  (20 examples)", "best epoch  2  loss 1.0000",
        "model.dropout  0.3", "fingerprint        abababababababab", "tensorflow 2.21.0", "tfloop train a.yaml",
        "tfloop reproduce runs/a",
    ):  # fmt: skip
        assert text in shown
    assert "tfloop resume" not in shown
    assert "tfloop resume runs/c" in run("show", "c").stdout


def test_show_has_sources_and_resumes(folder: Path) -> None:
    resumed = {"started": "2026-11-02T12:00:00+00:00", "step": 20}
    changes = [{"key": "epochs", "before": 2, "now": 3}]
    write_run(folder / "runs" / "a", seed=7, meta={"resumed": [resumed | {"changes": changes}]})
    shown = run("show", "last").stdout
    assert "a.yaml:3" in shown
    assert "at step 20  epochs 2 -> 3" in shown
    assert documents("show", "a")["changed"]["seed"] == {"value": 7, "source": "a.yaml:3"}


def test_unknown_run_exits_with_2_and_suggestion(runs: Path) -> None:
    write_run(runs / "mnist-1")
    assert "did you mean `mnist-1`?" in run("show", "mnist-2", code=2).stderr


# compare


def test_compare_shows_differences_and_metrics(runs: Path) -> None:
    document = documents("compare", "a", "b")
    assert document["differences"] == [
        {"kind": "config", "key": "epochs", "values": [3, 2], "sources": [None, None]},
        {"kind": "config", "key": "optimizer.learning_rate", "values": [0.001, 0.01], "sources": [None, None]},
    ]
    assert document["runs"][0]["metrics"] == {
        "test/accuracy": 0.85, "validation/loss": 0.5, "validation/accuracy": 0.9, "train/loss": 1.0,
    }  # fmt: skip
    assert document["groups"] == []
    shown = run("compare", "a", "b").stdout
    assert "optimizer.learning_rate  0.001  0.01" in shown
    assert "validation/accuracy    0.9000  0.6000  -0.3000" in shown


def test_compare_shows_data_code_versions_and_machine(folder: Path) -> None:
    write_run(folder / "runs" / "a", meta={"code": {"m.py": "aa" * 32}})
    other = {
        "code": {"m.py": "bb" * 32}, "data": "ef" * 32, "versions": {"tfloop": "0.1.0", "tensorflow": "2.20.0"},
        "cpu_flags": ["avx2", "avx512f", "sse"], "host": "big",
    }  # fmt: skip
    write_run(folder / "runs" / "b", meta=other)
    found = {(one["kind"], one["key"]): one["values"] for one in documents("compare", "a", "b")["differences"]}
    assert found == {
        ("data", "data"): ["ab" * 32, "ef" * 32],
        ("code", "m.py"): ["aa" * 32, "bb" * 32],
        ("versions", "tensorflow"): ["2.21.0", "2.20.0"],
        ("machine", "host"): ["vm", "big"],
        ("machine", "cpu_flags"): [[], ["avx512f"]],
    }
    run("compare", "a", "b")


def test_compare_groups_runs_that_differ_in_seed_alone(folder: Path) -> None:
    for name, seed, test in (("a", 0, 0.8), ("b", 1, 0.9), ("c", 2, 1.0), ("again", 2, 1.0)):
        write_run(folder / "runs" / name, seed=seed, test=test)
    write_run(folder / "runs" / "other", seed=3, model="mlp")
    (group,) = documents("compare", "a", "b", "c", "again", "other")["groups"]
    assert group["runs"] == ["runs/a", "runs/b", "runs/c"]
    assert group["seeds"] == [0, 1, 2]
    assert group["metrics"]["test/accuracy"] == {
        "mean": pytest.approx(0.9), "deviation": pytest.approx(0.1), "count": 3,
    }  # fmt: skip
    assert "test/accuracy        0.9000 ± 0.1000" in run("compare", "a", "b", "c").stdout


def test_compare_needs_two_runs(runs: Path) -> None:
    assert "two or more different runs" in run("compare", "a", "runs/a", code=2).stderr


# rm


def test_rm_removes_runs_and_prints_what_was_freed(runs: Path) -> None:
    (runs / "a" / "checkpoints").mkdir()
    (runs / "a" / "checkpoints" / "big").write_bytes(bytes(2**20))
    result = run("rm", "a", "runs/b", "--yes")
    assert "removed runs/a  1.0 MiB" in result.stdout
    assert "2 runs, 1.0 MiB freed" in result.stdout
    assert [path.name for path in runs.iterdir()] == ["c"]


def test_rm_as_json(runs: Path) -> None:
    document = documents("rm", "a", "--yes")
    assert document["runs"][0]["run"] == "runs/a"
    assert document["bytes"] == document["runs"][0]["bytes"] > 0


def test_rm_without_terminal_needs_yes(runs: Path) -> None:
    assert "pass `--yes`" in run("rm", "a", code=2, stdin="y\n").stderr
    assert (runs / "a").is_dir()


@pytest.mark.parametrize(("answer", "left", "code"), [("y", "bc", 0), ("n", "abc", 2), ("", "abc", 2)])
def test_rm_asks_on_a_terminal(runs: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: str, code: int) -> None:
    monkeypatch.setattr("tfloop_cli.commands.runs_remove.is_terminal", lambda: True)
    assert "Remove this run" in run("rm", "a", stdin=f"{answer}\n", code=code).stderr
    assert "".join(sorted(path.name for path in runs.iterdir())) == left


def test_rm_removes_nothing_if_one_run_is_training(runs: Path) -> None:
    with (runs / "b" / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "runs/b is training" in run("rm", "a", "b", "--yes", code=2).stderr
    assert (runs / "a").is_dir()


def test_rm_refuses_a_run_that_another_was_started_from(runs: Path) -> None:
    write_run(runs / "d", meta={"started_from": {"run": str(runs / "a"), "run_id": "a"}})
    write_run(runs / "e", meta={"started_from": {"run": "/moved/away", "run_id": "b"}})
    assert "runs/d was started from runs/a" in run("rm", "a", "--yes", code=2).stderr
    assert "runs/e was started from runs/b" in run("rm", "b", "--yes", code=2).stderr
    run("rm", "a", "d", "--yes")
    assert not (runs / "a").exists()


def test_rm_follows_no_links_and_removes_only_runs(runs: Path, folder: Path) -> None:
    (folder / "precious").mkdir()
    (folder / "precious" / "file").write_text("x")
    (runs / "link").symlink_to(runs / "a")
    assert "is a link to a run" in run("rm", "link", "--yes", code=2).stderr
    run("rm", "precious", "--yes", code=2)
    (runs / "b" / "config.yaml").unlink()
    assert "not a complete run folder" in run("rm", "b", "--yes", code=2).stderr
    (runs / "a" / "inside").symlink_to(folder / "precious")
    run("rm", "a", "--yes")
    assert (folder / "precious" / "file").read_text() == "x"


def test_rm_refuses_checkpoints_and_the_current_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = runs / "a" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text("{}")
    assert "is a checkpoint" in run("rm", str(checkpoint), "--yes", code=2).stderr
    monkeypatch.chdir(runs / "a" / "checkpoints")
    assert "is the current folder" in run("rm", "..", "--yes", code=2).stderr
    assert (runs / "a").is_dir()


def test_killed_rm_leaves_no_half_run(runs: Path) -> None:
    """What was renamed but not yet deleted is no run, and the next rm deletes it."""
    (runs / "a").rename(runs / ".removed-a")
    assert sorted(names()) == ["b", "c"]
    run("rm", "b", "--yes")
    assert [path.name for path in runs.iterdir()] == ["c"]


def test_removed_current_folder_is_an_error_and_no_bug(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(folder / "runs" / "a")
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    result = run("rm", str(folder / "runs" / "a"), "--yes", code=2)
    assert "the current folder has been removed" in result.stderr


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("summary.json", '"seconds": ', '"seconds": 1e999, "x": '),
        ("summary.json", '"schema": 1', '"schema": "\\u001b[31m"'),
        ("summary.json", '"loss": ', f'"loss": 1{400 * "0"}, "x": '),
        ("metrics.jsonl", '"accuracy": ', f'"accuracy": 1{400 * "0"}, "x": '),
    ],
)  # fmt: skip
def test_strange_values_are_no_bugs(runs: Path, file: str, old: str, new: str) -> None:
    """Numbers that no float holds, and an escape sequence for the terminal."""
    path = runs / "a" / file
    path.write_text(path.read_text().replace(old, new))
    if file == "metrics.jsonl":
        (runs / "a" / "summary.json").unlink()
    for command in (("list",), ("show", "a"), ("compare", "a", "b")):
        result = run(*command)
        assert (result.exit_code, "\x1b" in result.stdout + result.stderr) == (0, False)
