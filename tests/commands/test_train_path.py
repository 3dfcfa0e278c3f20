"""`tfloop train PATH`: the dataset and the built-in config follow from what is there; the run is as any other."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tfloop_cli.cli import app
from tfloop_cli.commands.data_arguments import layers
from tfloop_cli.config.loading import load
from tfloop_cli.errors import TfloopError

Run = Callable[..., tuple[int, str, str]]


def tfloop(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    return tmp_path


def table(path: str, separator: str = ",") -> None:
    rows = [separator.join((f"{number % 7}.5", "ab"[number % 2], f"{number % 7}.25")) for number in range(60)]
    Path(path).write_text("\n".join([separator.join(("size", "kind", "price")), *rows]) + "\n")


def texts(path: str) -> None:
    rows = [f"this is a {'good' if number % 2 else 'bad'} film,{number % 2}" for number in range(40)]
    Path(path).write_text("\n".join(["review,stars", *rows]) + "\n")


@pytest.mark.usefixtures("machine")
def test_table_is_trained_resumed_and_evaluated(folder: Path) -> None:
    table("my houses.csv")
    words = ["train", "my houses.csv", "--target", "price", "--set", "threads=1", "--set", "model=linear"]
    code, out, err = tfloop(*words, "--epochs", "1")
    assert code == 0, err
    assert "using built-in config tabular.yaml" in err
    run = Path(out.splitlines()[-1])
    assert re.fullmatch(r"my-houses-\d{8}-\d{6}-[0-9a-f]{4}", run.name)
    config = load([str(run / "config.yaml")]).config
    assert (config.dataset.name, config.dataset.arguments["target"], config.epochs) == ("table", "price", 1)
    code, out, err = tfloop(*words, "--epochs", "2", "--resume")
    assert (code, out.splitlines()[-1]) == (0, str(run))
    assert "epoch 2/2" in err
    assert tfloop("evaluate", "last")[0] == 0
    assert tfloop("init", "my houses.csv", "--target", "price", "--no-schema")[0] == 0
    code, out, _ = tfloop("train", "tfloop.yaml", *words[4:], "--epochs", "2", "--resume")
    assert (code, out.splitlines()[-1]) == (0, str(run))  # the file of `init` has the same config


@pytest.mark.usefixtures("machine")
def test_folder_of_images_is_trained(folder: Path) -> None:
    import tensorflow as tf

    for label, color in (("cat", 0), ("dog", 200)):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(12):
            image = np.full((9, 9, 3), color, np.uint8)
            image[0, 0] = number
            (folder / "photos" / label / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    sets = ("--set", "threads=1", "--set", "model=linear", "--set", "augment=[]", "--set", "warmup_steps=0")
    code, out, err = tfloop("train", "photos", "--epochs", "1", "-q", *sets)
    assert code == 0, err
    config = load([out.splitlines()[-1] + "/config.yaml"]).config
    assert (config.dataset.name, config.task.name) == ("images", "classification")
    assert config.dataset.arguments["path"] == str(folder / "photos")
    assert tfloop("init", "photos", "-o", "configs/a.yaml", "--no-schema")[0] == 0
    again = tfloop("train", "configs/a.yaml", "--epochs", "1", "-q", *sets, "--resume")
    assert (again[0], again[1].splitlines()[-1]) == (0, out.splitlines()[-1])


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("a,b\n", 2, "`--target COLUMN`, one of `a`, `b`\n"),
        ('a,b,c\n1,2\n"3,4\n5', 2, "`--target COLUMN`, one of `a`, `b`, `c`\n"),
        ("", 4, "data.csv: there is no table in this file\n"),
    ],
)
def test_missing_target_of_a_broken_file(folder: Path, content: str, code: int, message: str) -> None:
    Path("data.csv").write_text(content)
    found, out, err = tfloop("train", "data.csv")
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_missing_target_names_the_columns(folder: Path) -> None:
    for name, separator in (("a.csv", ","), ("b.tsv", "\t")):
        table(name, separator)
        code, out, err = tfloop("train", name)
        assert (code, out) == (2, "")
        assert err == (
            f"error: {name}: which column is to be predicted?\n  `--target COLUMN`, one of `size`, `kind`, `price`\n"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.csv", "b.csv"), "data is named twice: a.csv and b.csv"),
        (("--target", "price"), "no data is given"),
        (("--dataset", "mnist"), "no data is given"),
        (("c.csv", "--target", "price"), "c.csv: it cannot be read: this file does not exist"),
        (("a.png",), "a.png: this is one image\n  name a folder that has one folder per class"),
        (("empty",), "there are no images, tables, texts or arrays in this folder"),
        (("a.csv", "--dataset", "mnist"), "the dataset `mnist` does not read a file"),
        (("run",), "run is a run folder and not data\n  to continue it: `tfloop resume run`"),
    ],
)
def test_wrong_data(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    table("a.csv")
    table("b.csv")
    Path("a.png").touch()
    Path("empty").mkdir()
    Path("run").mkdir()
    Path("run", "config.yaml").touch()
    Path("run", "meta.json").touch()
    code, out, err = tfloop("train", *arguments)
    assert (code, out) == (4 if "cannot be read" in message or "in this folder" in message else 2, "")
    assert message in err
    assert not Path("runs").exists()


def test_texts_and_arrays_have_presets_of_their_own(folder: Path) -> None:
    texts("reviews.csv")
    np.savez("images.npz", x_train=np.zeros((9, 8, 8, 1)), y_train=np.zeros(9))
    np.savez("grey.npz", x_train=np.zeros((9, 8, 8)), y_train=np.zeros(9))
    np.savez("rows.npz", x_train=np.zeros((9, 8)), y_train=np.zeros(9))
    for path, configs, dataset in (
        ("reviews.csv", "text", "text"), ("images.npz", "images", "arrays"), ("grey.npz", "tabular_mlp", "arrays"),
        ("rows.npz", "tabular", "arrays"),
    ):  # fmt: skip
        found = layers([path], [], None, None, [])
        assert found.configs == [configs]
        assert f'"name": "{dataset}"' in found.sets[0]
        assert found.name == Path(path).stem
    assert layers(["reviews.csv"], [], "table", "stars", []).configs == ["tabular"]
    assert layers(["reviews.csv"], [], None, "review", []).configs == ["tabular"]  # numbers are no texts


def test_data_beside_a_config_replaces_its_data_only(folder: Path) -> None:
    texts("reviews.csv")
    table("other.csv")
    Path("my.yaml").write_text("extends: text.yaml\ndataset: {name: text, train: reviews.csv, target: stars}\n")
    for arguments, configs in ((["my.yaml", "other.csv"], []), (["other.csv"], ["my.yaml"])):
        found = layers(arguments, configs, None, None, [])
        assert found.configs == ["my.yaml"]
        config = load(found.configs, sets=found.sets).config
        assert config.dataset.name == "text"  # as in the config, which reads the same files
        assert config.dataset.arguments["target"] == "stars"
        assert config.dataset.arguments["train"] == str(folder / "other.csv")
        assert found.name is None
    with pytest.raises(TfloopError, match="which column is to be predicted"):
        layers(["other.csv"], [], None, None, [])


@pytest.mark.usefixtures("machine")
def test_folder_of_a_competition_is_trained_and_its_test_file_predicted(folder: Path) -> None:
    Path("titanic").mkdir()
    table("titanic/train.csv")
    rows = Path("titanic/train.csv").read_text().splitlines()
    Path("titanic/test.csv").write_text("\n".join(f"{row.rpartition(',')[0]},{n}" for n, row in enumerate(rows)))
    Path("titanic/test.csv").write_text(Path("titanic/test.csv").read_text().replace("kind,0", "kind,id"))
    Path("titanic/sample_submission.csv").write_text("id,price\n1,0\n")
    sets = ("--set", "threads=1", "--set", "model=linear", "--set", "validation=0")
    code, _, err = tfloop("train", "titanic", "--target", "price", "--epochs", "1", *sets)
    assert code == 0, err
    assert "note: titanic/test.csv is not the test split, since it has no column `price`: `tfloop predict last" in err
    assert "note: test: 6 of 60 training examples held out" in err
    code, _, err = tfloop("predict", "last", "titanic/test.csv", "--keep", "id", "-o", "submission.csv")
    assert code == 0, err
    lines = Path("submission.csv").read_text().splitlines()
    assert len(lines) == 61
    assert '"1"' in lines[1]


def test_datasets_of_other_layouts(folder: Path) -> None:
    from pyarrow import Table, parquet

    Path("reviews/data").mkdir(parents=True)
    texts("reviews.csv")
    words = [f"this is a {'good' if number % 2 else 'bad'} film" for number in range(40)]
    data = {"text": words, "label": [number % 2 for number in range(40)]}
    parquet.write_table(Table.from_pydict(data), "reviews/data/train-00000-of-00001.parquet")
    Path("photos/data").mkdir(parents=True)
    photos = {"image": [{"bytes": b"x", "path": "x"}], "label": [1]}
    parquet.write_table(Table.from_pydict(photos), "photos/data/train-00000-of-00001.parquet")
    Path("ids.csv").write_text("id,text,label\n" + "".join(f"{n},{word},{n % 2}\n" for n, word in enumerate(words)))
    for path, dataset in (("reviews", "text"), ("photos", "images"), ("ids.csv", "text")):
        assert f'"name": "{dataset}"' in layers([path], [], None, "label", []).sets[0]
