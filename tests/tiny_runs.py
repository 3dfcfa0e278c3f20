"""Tiny trained runs that tests share, one for each kind of data: the fixture `tiny_runs` in `conftest.py`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 240
CLASSES = ("blue", "red")
_COMMON = "batch_size: 16\nvalidation: 20\ndevice: cpu\nthreads: 1\nseed: 0\n"
_LINEAR = "model: linear\nepochs: 3\noptimizer: {name: adam, learning_rate: 0.02}\n"
_CONFIGS = {
    "images": f"dataset: {{name: images, path: IN/images}}\n{_LINEAR}ema_decay: 0.9\n",
    "table": f"dataset: {{name: table, train: IN/table.csv, target: label}}\n{_LINEAR}",
    "numbers": f"dataset: {{name: table, train: IN/numbers.csv, target: [price, weight]}}\ntask: regression\n{_LINEAR}",
    "text": "dataset: {name: text, train: IN/texts.csv, target: label}\nmodel: text_linear\nepochs: 3\n"
    "optimizer: {name: sgd, learning_rate: 1.0}\n",
    "arrays": f"dataset: {{name: arrays, path: IN/arrays.npz}}\n{_LINEAR}",
    "mnist": "dataset: mnist\nmodel: linear\nepochs: 1\nmax_steps: 200\n",
    "ensemble": "dataset: {name: table, train: IN/table.csv, target: label}\nmodel: tabular_ensemble\nepochs: 2\n",
}


class TinyRuns:
    """Trained runs, one for each kind of data, trained when a test first asks for it.

    Their data lies in the same folder: `images/`, `table.csv`, `numbers.csv`, `texts.csv`, `arrays.npz`. Tests must not
    change any of it.

    Args:
        cwd: the folder.

    Attributes:
        KINDS: the names of the runs.
    """

    KINDS = ("images", "table", "numbers", "text", "arrays", "mnist", "ensemble")

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        write_all(cwd)

    def __call__(self, kind: str) -> Path:
        """Returns the run folder of a kind."""
        folder = self.cwd / "runs" / kind
        if not folder.exists():
            from typer.testing import CliRunner

            from tfloop_cli.cli import app

            config = self.cwd / f"{kind}.yaml"
            config.write_text(config_of(kind, self.cwd))
            cache = {"TFLOOP_CACHE": str(self.cwd / "cache")}
            result = CliRunner().invoke(app, ["train", str(config), "--quiet", "-o", str(folder)], env=cache)
            assert result.exit_code == 0, result.stderr
        return folder

    def read(self, kind: str, name: str) -> Any:
        """Returns the content of a JSON file in a run folder."""
        return json.loads((self(kind) / name).read_text())


def config_of(kind: str, folder: Path) -> str:
    """Returns the YAML of a tiny run, whose data is in `folder`."""
    common = _COMMON.replace("16", "128") if kind == "mnist" else _COMMON
    return _CONFIGS[kind].replace("IN/", f"{folder}/") + common


def write_all(folder: Path) -> None:
    """Writes the data of all kinds."""
    rng = np.random.default_rng(0)
    _write_images(folder / "images", rng)
    size, paid = rng.integers(1, 90, ROWS), rng.random(ROWS).round(3) * 100
    kinds, days = rng.integers(0, 3, ROWS), rng.integers(1, 29, ROWS)
    rows = [
        f"{number},{size[number]},{'abc'[kinds[number]]},2024-03-{days[number]:02},"
        f"{'' if number % 40 == 7 else f'{paid[number]:.3f}'}"
        for number in range(ROWS)
    ]
    labels = np.where(size + paid > 95, CLASSES[0], CLASSES[1])
    _write(folder / "table.csv", "id,size,kind,day,paid,label", rows, labels)
    numbers = [f"{7 * one + two:.2f},{one - two:.2f}" for one, two in zip(size, paid, strict=True)]
    _write(folder / "numbers.csv", "id,size,kind,day,paid,price,weight", rows, numbers)
    words = {"blue": ("sea", "sky", "cold"), "red": ("fire", "rose", "warm")}
    texts = [f"the {' '.join(rng.choice(words[label], 3))} number {number}" for number, label in enumerate(labels)]
    _write(folder / "texts.csv", "text,label", texts, labels)
    _write_arrays(folder / "arrays.npz", rng)


def _write(path: Path, header: str, rows: list[str], targets: object) -> None:
    lines = [f"{row},{target}" for row, target in zip(rows, targets, strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n")


def _write_images(folder: Path, rng: np.random.Generator) -> None:
    import tensorflow as tf

    for label, channel in (("blue", 2), ("red", 0)):
        for number in range(40):
            pixels = rng.integers(0, 120, (9, 8, 3), np.uint8)
            pixels[..., channel] += 100
            path = folder / label / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(pixels).numpy())


def _write_arrays(path: Path, rng: np.random.Generator) -> None:
    inputs = rng.normal(size=(ROWS, 5)).astype(np.float32)
    targets = np.where(inputs[:, 0] + inputs[:, 1] > 0, "up", "down")
    np.savez(path, x_train=inputs[:180], y_train=targets[:180], x_test=inputs[180:], y_test=targets[180:])
