"""`tfloop train --dry-run` and `tfloop lr-find`: what they print, and that they keep nothing."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.engine import learning_rate_test
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.learning_rate_test import Point, suggestion
from tfloop_cli.terminal.curve import curve_lines

DATA = "dataset={name: synthetic, shape: [8, 8, 1], classes: 3, train_examples: 200, test_examples: 50}"


@pytest.fixture
def run(machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Returns a function that calls tfloop in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        sets = [part for one in (DATA, "threads=1", "device=cpu") for part in ("--set", one)]
        result = CliRunner().invoke(app, [arguments[0], "--set", "model=linear", *sets, *arguments[1:]])
        assert not list(tmp_path.iterdir())
        return result.exit_code, result.stdout, result.stderr

    return call


def test_profile_names_the_costliest_operations_and_changes_no_weights(
    machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sets = [part for one in (DATA, "model=linear", "threads=1", "device=cpu") for part in ("--set", one)]
    profiled, plain = (
        CliRunner().invoke(app, ["train", *sets, *more, "--batch-size", "16", "--set", "steps_per_execution=2"])
        for more in (["-o", "profiled", "--profile", "4"], ["-o", "plain"])
    )
    assert (profiled.exit_code, plain.exit_code) == (0, 0)
    assert "profile of 4 steps: profiled/profile" in profiled.stderr
    kinds = [line.split()[0] for line in profiled.stderr.splitlines() if line.endswith("%")]
    assert any("MatMul" in kind or "Narrow" in kind for kind in kinds), kinds
    assert len(kinds) == 10
    assert list(Path("profiled/profile").rglob("*.xplane.pb"))
    checksums = {json.loads(Path(run, "summary.json").read_text())["weights_sha256"] for run in ("profiled", "plain")}
    assert len(checksums) == 1


def test_dry_run_forecasts_the_run_and_keeps_nothing(run) -> None:
    code, out, _ = run("train", "--dry-run", "--epochs", "4", "--batch-size", "30", "--json")
    (document,) = map(json.loads, out.splitlines())
    assert code == 0
    assert document["splits"] == {"train": 180, "validation": 20, "test": 50}
    assert (document["inputs"], document["targets"]) == ("float32 [8, 8, 1]", "one of 3 classes")
    assert (document["trainable_parameters"], document["other_parameters"]) == (8 * 8 * 3 + 3, 0)
    assert sum(layer["parameters"] for layer in document["layers"]) == 8 * 8 * 3 + 3
    forecast = document["forecast"]
    assert (forecast["steps"], forecast["epochs"]) == (24, 4)
    # Weights and the two moments of Adam, in float32, are most of it.
    assert 3 * 4 * 195 < forecast["checkpoint_bytes"] < 3 * 4 * 195 + 300
    assert forecast["disk_bytes"] == 3 * forecast["checkpoint_bytes"]
    assert forecast["seconds"] >= forecast["first_step_seconds"] + 23 * forecast["step_seconds"]


def test_dry_run_forecasts_no_more_steps_than_max_steps(run) -> None:
    code, out, err = run("train", "--dry-run", "--batch-size", "30", "--set", "max_steps=13", "--json")
    forecast = json.loads(out)["forecast"]
    assert (code, forecast["steps"], forecast["epochs"]) == (0, 12, 2)
    assert "`max_steps: 13` allows 2 of 5 epochs" in err


def test_batches_of_a_trial_are_one_pipeline(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Augmented batches come from tf.data: a pipeline for each step would be most of the time of a range test."""
    first_steps, batches = [], Data.batches
    monkeypatch.setattr(
        Data, "batches", lambda data, first, last: (first_steps.append(first), batches(data, first, last))[1]
    )
    code, _, _ = run("lr-find", "--steps", "20", "--set", "augment=[flip]")
    assert (code, first_steps) == (0, [0])


def test_dry_run_in_words(run) -> None:
    code, out, _ = run("train", "--dry-run")
    lines = [line.split("  ")[0] for line in out.splitlines()]
    assert code == 0
    assert lines[-10:-3] == ["parameters", "start", "first step", "step", "epoch", "run", "memory"]
    assert out.endswith("nothing was kept\n")


def test_dry_run_reports_the_errors_of_training(run) -> None:
    code, _, err = run("train", "--dry-run", "--set", "augment=[nothing]")
    assert (code, "nothing" in err) == (2, True)


def test_range_test_finds_a_rate_between_the_flat_part_and_the_explosion(run) -> None:
    code, out, _ = run("lr-find", "--json", "--steps", "60")
    (document,) = map(json.loads, out.splitlines())
    assert code == 0
    rates = [point["learning_rate"] for point in document["points"]]
    assert rates[0] == 1e-7
    assert all(math.isclose(b / a, (10 / 1e-7) ** (1 / 59), rel_tol=1e-6) for a, b in pairwise(rates))
    assert 1e-4 < document["suggestion"] < 1
    assert document["configured"] == 0.001


def test_range_test_draws_a_curve_and_says_how_to_use_the_rate(run) -> None:
    code, out, err = run("lr-find", "--steps", "40", "--set", "schedule=cosine")
    assert code == 0
    assert "suggestion: --set optimizer.learning_rate=" in out
    assert "`schedule` of the config: not used in this test" in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--min", "1", "--max", "0.1"], "0 < min < max"),
        (["--steps", "5"], "too few"),
        (["--png", "no/where.png"], "no folder"),
    ],
)
def test_wrong_options_of_the_range_test(run, arguments: list[str], problem: str) -> None:
    code, _, err = run("lr-find", *arguments)
    assert code == 2
    assert problem in err


def test_suggestion_is_the_middle_of_the_longest_valley() -> None:
    losses = [2.0] * 20 + [2.0 - 0.05 * step for step in range(1, 31)] + [3.0, 9.0]
    points = [Point(10.0**-step, loss, loss) for step, loss in enumerate(losses)]
    assert suggestion(points).as_integer_ratio() == points[33].learning_rate.as_integer_ratio()
    flat = [Point(1.0, 2.0, 2.0)] * 40
    assert suggestion(flat) is None
    assert suggestion(points[:5]) is None


def test_curve_in_braille_and_in_ascii() -> None:
    assert curve_lines([0.0, 1.0], 2, 1) == ["⡠⠊"]
    assert curve_lines([0.0, 1.0], 3, 3, unicode=False) == ["  *", " *", "*"]
    assert curve_lines([1.0], 2, 1, unicode=False) == ["**"]


def test_progress_ends_with_the_test_even_if_the_loss_explodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_rate_test, "range_test", lambda *_: iter([Point(0.1, 1.0, 1.0)]))
    shown: list[tuple[int, int]] = []
    learning_rate_test.curve(None, 1e-7, 10, 5, lambda text, done, total: shown.append((done, total)))
    assert shown == [(0, 5), (1, 5), (5, 5)]
