"""`tfloop predict` as a user calls it, in this process: each kind of run and of input, errors, outputs."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from tests.conftest import TinyRuns
from tfloop_cli.cli import app


class Result:
    def __init__(self, result: Any) -> None:
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [one for one in self.documents if one.get("event") == "prediction"]


@pytest.fixture
def predict(tiny_runs: TinyRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Returns a function that calls the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(kind: str, *arguments: object, stdin: str | None = None) -> Result:
        command = ["predict", str(tiny_runs(kind)), *map(str, arguments)]
        return Result(CliRunner().invoke(app, command, input=stdin))

    return call


# The examples of the run's own split


def true_scores(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of a split by the steps of the evaluation, and the targets."""
    from tfloop_cli.commands.opening import open_trained_run
    from tfloop_cli.engine.data import build_data
    from tfloop_cli.engine.kernels import fast_kernels
    from tfloop_cli.engine.runtime import kernel_settings
    from tfloop_cli.terminal.console import Console

    run = open_trained_run(folder, Console(quiet=True))
    data = build_data(run.config, encoders=run.encoders or None)
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)
    def compute(inputs):
        with fast_kernels(kernel_settings(run.config)):
            found = run.task.probabilities(run.state, inputs)
            return run.task.predict(run.state, inputs) if found is None else found

    batches = list(data.evaluation(split))
    return np.concatenate([compute(batch[0]) for batch in batches]), np.concatenate([batch[1] for batch in batches])


@pytest.mark.parametrize("kind", TinyRuns.KINDS)
def test_split_has_the_scores_of_the_evaluation(kind: str, predict: Callable, tiny_runs: TinyRuns) -> None:
    arguments = [] if kind == "numbers" else ["--probabilities"]
    result = predict(kind, "--split", "test", "--output", "test.parquet", *arguments)
    assert result.code == 0, result.err
    table = pyarrow.parquet.read_table("test.parquet")
    scores, targets = true_scores(tiny_runs(kind), "test")
    summary = tiny_runs.read(kind, "summary.json")["evaluations"]["test"]
    assert table.num_rows == summary["examples"]
    first = "prediction_" if kind == "numbers" else "probability_"
    columns = [name for name in table.column_names if name.startswith(first)]
    np.testing.assert_array_equal(np.stack([table[name].to_numpy() for name in columns], axis=1), scores)
    if kind == "numbers":
        error = np.abs(scores - targets).mean()
        assert error == pytest.approx(summary["mae"], rel=1e-5)
    else:
        names = [name.removeprefix(first) for name in columns]
        right = np.array([names[target] for target in targets]) == np.array(table["prediction"].to_pylist())
        assert right.mean() == summary["accuracy"]
