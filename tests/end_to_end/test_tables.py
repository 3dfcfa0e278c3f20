"""Guarantee: how a table was encoded is part of the run, and what was understood of it is shown once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.console import Console

COLUMNS = 40


@pytest.fixture
def config(tmp_path: Path, configure):
    """A table with a wide category, a number, a row number and many constant columns."""
    random = np.random.default_rng(0)
    names = ["index", "x", "word", "kind", *(f"c{number}" for number in range(COLUMNS))]
    for split, rows in (("train", 120), ("test", 30)):
        lines = [",".join(names)]
        for number in range(rows):
            x, word = random.standard_normal(), number % 15
            lines.append(f"{number},{x:.3f},w{word},{'ab'[x + word / 5 > 1]}" + ",5" * COLUMNS)
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    files = {split: str(tmp_path / f"{split}.csv") for split in ("train", "test")}
    return configure(dataset={"name": "table", "target": "kind", **files}, model="mlp", epochs=1, validation=12)


def train(config, folder: Path, **options: object) -> RunFolder:
    from tfloop_cli.commands.train import train

    assert train(config, TrainOptions("table", **options), Console(progress=False)) == ExitCode.DONE
    return RunFolder(folder)


def test_encoders_are_in_the_run_and_evaluation_uses_them(config, tmp_path: Path, capfd) -> None:
    from tfloop_cli.commands.evaluate import Options, evaluate, measure

    run = train(config, tmp_path / "run", output=tmp_path / "run")
    lines = capfd.readouterr().err.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("column "))
    assert [line.split()[0] for line in lines[start + 1 : start + 5]] == ["kind", "index", "x", "word"]
    assert lines[start + 2].split(maxsplit=4)[4] == "ignored: the row number"
    assert lines[start + 31] == "... and 14 more columns: see encoders.json in the run folder"

    [path, *_] = list_checkpoints(run.checkpoints)
    encoders = Checkpoint.open(path).encoders()
    assert encoders == json.loads(run.encoders.read_text())
    assert [column["kind"] for column in encoders["columns"][:3]] == ["ignored", "number", "category"]
    metrics = json.loads(run.summary.read_text())["evaluations"]["test"]
    # A training file that has grown, or is gone, changes nothing for a test file.
    with (tmp_path / "train.csv").open("a") as file:
        file.writelines(f"{number},{1000 * number},new{number % 3},a{',5' * COLUMNS}\n" for number in range(60))
    capfd.readouterr()
    evaluate(run.path, Options(device="cpu"), Console())
    shown = capfd.readouterr()
    assert f"accuracy {metrics['accuracy']:.4f}" in shown.out
    assert "the data has changed" not in shown.err
    best = json.loads(run.summary.read_text())["best"]["validation"]["accuracy"]
    assert measure(run.path, Options(device="cpu", split="validation"), Console())[1].metrics["accuracy"] == best
    shown = capfd.readouterr().err
    assert "train.csv has 60 rows more; `validation` has the same 12 examples as then" in shown
    assert "the data has changed" not in shown

    (tmp_path / "train.csv").unlink()
    evaluate(run.path, Options(device="cpu"), Console())
    assert f"accuracy {metrics['accuracy']:.4f}" in capfd.readouterr().out
    with pytest.raises(TfloopError, match=r"train\.csv: it cannot be read: this file does not exist"):
        evaluate(run.path, Options(device="cpu", split="validation"), Console())
    (tmp_path / "test.csv").rename(tmp_path / "other.csv")
    with (tmp_path / "other.csv").open("a") as file:
        file.write(f"31,0.5,w99,a{',5' * COLUMNS}\n")
    evaluate(run.path, Options(device="cpu", data=tmp_path / "other.csv"), Console())
    shown = capfd.readouterr()
    assert "note: data: 1 value(s) of `word` do not occur in training" in shown.err
    assert "(31 examples)" in shown.out
    (tmp_path / "classes.csv").write_text("x,word,kind\n1,w1,c\n")
    with pytest.raises(TfloopError, match=r"classes\.csv:2: .* the class `c` does not occur in the training split"):
        evaluate(run.path, Options(device="cpu", data=tmp_path / "classes.csv"), Console())

    (path / "encoders.json").write_text(json.dumps(encoders).replace("w10", "w99"))
    with pytest.raises(TfloopError, match=r"encoders\.json: its sha256 differs from the manifest") as caught:
        evaluate(run.path, Options(device="cpu"), Console())
    assert caught.value.code == ExitCode.CHECKPOINT


def test_held_out_rows_of_a_training_file_are_evaluated_again(config, tmp_path: Path, capfd) -> None:
    from tfloop_cli.commands.evaluate import Options, evaluate

    dataset = Component("table", {**config.dataset.arguments, "test": None})
    run = train(config.model_copy(update={"dataset": dataset}), tmp_path / "run", output=tmp_path / "run")
    metrics = json.loads(run.summary.read_text())["evaluations"]["test"]
    capfd.readouterr()
    evaluate(run.path, Options(device="cpu"), Console())
    assert f"accuracy {metrics['accuracy']:.4f}  " in capfd.readouterr().out
    (tmp_path / "train.csv").unlink()
    with pytest.raises(TfloopError, match="this file does not exist") as caught:
        evaluate(run.path, Options(device="cpu"), Console())
    assert caught.value.code == ExitCode.DATA


def test_training_step_can_be_traced_without_the_training_split(config, tmp_path: Path) -> None:
    """A checkpoint with variables outside of the model needs that."""
    from tfloop_cli.engine.data import build_data
    from tfloop_cli.engine.loop import TrainSteps
    from tfloop_cli.engine.tasks import build_task
    from tfloop_cli.engine.training.setup import build_state

    encoders = json.loads(build_data(config).encoders_json())
    (tmp_path / "train.csv").unlink()
    data = build_data(config, encoders=encoders, split="test")
    task = build_task(config.task, data.spec)
    TrainSteps(build_state(task, data, config, 1), data, task, config).trace()
    assert data.splits == ["test"]


def test_second_start_reads_the_cache(config, tmp_path: Path, monkeypatch) -> None:
    from tfloop_cli.engine.data import build_data
    from tfloop_cli.engine.data.tables import table_cache
    from tfloop_cli.engine.datasets import table

    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(table_cache, "MIN_BYTES", 1)
    lines = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(lines.replace(",a,", ",,", 1))
    first = build_data(config)
    with monkeypatch.context() as broken:
        broken.setattr(table, "build_splits", None)
        second = build_data(config)
    assert (second.fingerprint, second.spec, second.encoders) == (first.fingerprint, first.spec, first.encoders)
    assert second.skipped == first.skipped == {"train": 1}
    for split in ("train", "validation", "test"):
        for (inputs, targets), (again, same) in zip(first.evaluation(split), second.evaluation(split), strict=True):
            np.testing.assert_array_equal(inputs, again)
            np.testing.assert_array_equal(targets, same)
    (tmp_path / "test.csv").write_text((tmp_path / "test.csv").read_text() + "1,0,w1,b" + ",5" * COLUMNS + "\n")
    assert build_data(config).examples("test") == 31


def test_cache_is_read_on_resume_and_keeps_the_column_of_groups(config, tmp_path: Path, monkeypatch) -> None:
    """Also if `task: auto` has become `regression`, which would decide about classes."""
    from tfloop_cli.engine.data import build_data
    from tfloop_cli.engine.data.tables import table_cache
    from tfloop_cli.engine.datasets import table

    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(table_cache, "MIN_BYTES", 1)
    dataset = Component("table", {**config.dataset.arguments, "target": "x"})
    config = config.model_copy(update={"dataset": dataset, "group": "word", "task": Component("auto")})
    first = build_data(config)
    document = json.loads(first.encoders_json())
    monkeypatch.setattr(table, "build_splits", None)
    for task in ("auto", "regression"):
        again = build_data(config.model_copy(update={"task": Component(task)}), encoders=document)
        assert again.fingerprint == first.fingerprint
        assert again.facts == first.facts
        assert again.run_splits.warnings == first.run_splits.warnings != []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' saving and NumPy 2
@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_ids_are_exact_in_16_bits_and_models_can_be_saved(machine, tmp_path: Path, model: str) -> None:
    import keras
    import tensorflow as tf

    from tfloop_cli.engine.data import DataSpec
    from tfloop_cli.engine.data.encoders import Column
    from tfloop_cli.registry import Component, models

    spec = DataSpec((3,), "float32", (), ("a", "b"), columns=(
        Column("x", "number", 0, 1), Column("word", "id", 1, 2, 70_000), Column("y", "number", 2, 3),
    ))  # fmt: skip
    keras.config.set_dtype_policy("mixed_bfloat16")
    net = models.build(Component(model), spec)
    [embedding] = [layer for layer in net.layers if isinstance(layer, keras.layers.Embedding)]
    embedding.embeddings.assign(tf.random.stateless_normal(embedding.embeddings.shape, [0, 1]))
    inputs = np.float32([[0, 69_998, 0], [0, 69_999, 0], [1, 69_999, 0]])
    outputs = np.float32(net(inputs))
    assert len({tuple(row) for row in outputs.tolist()}) == 3  # not rounded to one id
    net.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.float32(keras.saving.load_model(tmp_path / "model.keras")(inputs)), outputs)


def test_moved_and_grown_table_has_the_metrics_of_training(tiny_runs, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, moved = str(tiny_runs("table")), tmp_path / "moved.csv"
    rows = (tiny_runs.cwd / "table.csv").read_text()
    moved.write_text(rows + "900,12,new,2024-04-01,1.5,red\n" * 30)
    before = tiny_runs.read("table", "summary.json")["evaluations"]["test"]

    def invoke(command: str, *arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, [command, run, "--set", f"dataset.train={moved}", *arguments])
        assert result.exit_code == code, result.output
        return result

    result = invoke("evaluate", "--json")
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["metrics"] | {"examples": found["examples"]} == before
    assert "moved.csv has 30 rows more; `test` has the same 24 examples as then" in result.stderr
    predictions = invoke("predict", "--split", "test", "--json", "--quiet").stdout.splitlines()
    assert len(predictions) > 1
    reproduced = invoke("reproduce", "--quiet", "--output", "again")
    assert "is reproduced by again" in reproduced.stdout
    moved.write_text(rows.replace("\n3,", "\n3,1"))
    changed = invoke("evaluate", code=4)
    assert "moved.csv:5 has changed" in changed.stderr
    moved.unlink()
    missing = invoke("evaluate", code=4)
    assert "if it was moved: `tfloop evaluate RUN --set dataset.train=NEW`" in missing.stderr
    refused = invoke("evaluate", "--set", "dataset.target=kind", code=2)
    assert "`--set dataset.target`: only where the data is can be set" in refused.stderr
