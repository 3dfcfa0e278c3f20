"""Guarantee: targets of texts that are numbers are predicted as numbers, and evaluation needs no training file."""

import json
from pathlib import Path

import numpy as np
import pytest

from tfloop_cli.config.loading import load
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.console import Console

PRICES = {"red": 10.5, "green": 20.5, "blue": -5.25, "old": 1.5, "new": 3.75, "house": 100.0, "hut": 40.0, "tent": 7.0}
LINEAR = {
    "model": "text_linear",
    "optimizer": {"name": "sgd", "learning_rate": 3.0, "momentum": 0.9, "nesterov": True},
    "schedule": "cosine",
    "epochs": 40,
}  # as in text.yaml
EMBEDDINGS = {"model": "text_classifier", "optimizer": {"name": "adam", "learning_rate": 0.02}, "epochs": 60}


@pytest.fixture
def dataset(tmp_path: Path) -> dict[str, object]:
    """Texts of three words, and the sum of their prices, in a file with a decimal comma."""
    random, words = np.random.default_rng(0), list(PRICES)
    for split, rows in (("train", 200), ("test", 50)):
        lines = ["text;price"]
        for chosen in random.choice(words, (rows, 3)):
            lines.append(f"{' '.join(chosen)};{sum(PRICES[word] for word in chosen):.2f}".replace(".", ","))
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    files = {split: str(tmp_path / f"{split}.csv") for split in ("train", "test")}
    return {"name": "text", "target": "price", **files}


@pytest.mark.parametrize(
    ("recipe", "features"), [(LINEAR, "ngrams"), (EMBEDDINGS, "ids")], ids=["text_linear", "text_classifier"]
)
def test_numbers_are_predicted_in_their_own_units(configure, dataset, recipe, features, tmp_path: Path, capfd) -> None:
    from tfloop_cli.commands.evaluate import Options, evaluate
    from tfloop_cli.commands.train import train

    config = configure(dataset=dataset | {"features": features}, batch_size=32, validation=0, **recipe)
    options = TrainOptions("texts", output=tmp_path / "run")
    assert train(config, options, Console(progress=False)) == ExitCode.DONE
    lines = capfd.readouterr().err.splitlines()
    assert any("task: regression, since the targets are numbers" in line for line in lines)
    assert next(line for line in lines if line.startswith("price")).split()[1] == "number"
    run = RunFolder(tmp_path / "run")
    metrics = json.loads(run.summary.read_text())["evaluations"]["test"]
    assert metrics["r2"] > 0.95
    assert metrics["rmse"] < 20  # the deviation of the prices is about 60
    (tmp_path / "train.csv").unlink()
    assert evaluate(run.path, Options(device="cpu"), Console()) == ExitCode.DONE
    assert f"r2 {metrics['r2']:.4f}" in capfd.readouterr().out


def test_texts_that_say_nothing_about_numbers_are_not_learned_by_heart(tmp_path: Path, capfd) -> None:
    from tfloop_cli.commands.train import train

    random = np.random.default_rng(0)
    rows = [
        f"{' '.join(f'w{word}' for word in random.integers(0, 300, 6))},{random.normal(10, 3):.3f}" for _ in range(1200)
    ]
    for split, part in (("train", rows[:1000]), ("test", rows[1000:])):
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,value", *part]) + "\n")
    files = ", ".join(f"{split}: {tmp_path / split}.csv" for split in ("train", "test"))
    config = load(["text.yaml"], sets=[f"dataset={{name: text, target: value, {files}}}"]).config
    assert train(config, TrainOptions("texts", output=tmp_path / "run"), Console(progress=False)) == ExitCode.DONE
    assert "validation: 100 of 1,000 training examples held out" in capfd.readouterr().err
    metrics = json.loads(RunFolder(tmp_path / "run").summary.read_text())["evaluations"]["test"]
    assert -0.12 < metrics["r2"] < 0.05  # the mean has 0, the last epoch -0.3


def test_class_without_numbers_cannot_be_a_regression(configure, dataset) -> None:
    from tfloop_cli.engine.data import build_data

    with pytest.raises(TfloopError, match="column `text`: the targets are not numbers"):
        build_data(configure(dataset=dataset | {"target": "text", "text": "price"}, task="regression"))
