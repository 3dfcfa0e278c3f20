"""`tfloop init`: what it writes is valid, has the config of the preset, and trains on the user's data."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.empty_files import touch
from tfloop_cli.cli import app
from tfloop_cli.config.loading import load, shipped_names, to_mapping
from tfloop_cli.engine.datasets.images import images
from tfloop_cli.errors import ExitCode, TfloopError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Returns a function that calls tfloop in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMAGES", raising=False)

    def call(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        return result.exit_code, result.stdout, result.stderr

    return call


def table(path: str, columns: str = "size,kind,price") -> None:
    rows = [f"{number % 7}.5,{'ab'[number % 2]},{number % 7 + number % 2}.25" for number in range(60)]
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text("\n".join([columns, *rows]) + "\n")


@pytest.mark.parametrize("preset", shipped_names())
def test_preset_has_the_same_config(run: Run, preset: str) -> None:
    code, out, err = run("init", preset)
    assert (code, out) == (0, f"tfloop.yaml: {preset} on {load([preset]).config.dataset.name}\n"
                              "tfloop.schema.json: the schema for your editor\n")  # fmt: skip
    assert to_mapping(load(["tfloop.yaml"]).config) == to_mapping(load([preset]).config)
    assert run("config", "check", "tfloop.yaml")[0] == 0
    assert err.endswith("next: tfloop train tfloop.yaml\n")


@pytest.mark.parametrize("preset", shipped_names())
def test_commented_keys_are_valid_without_their_mark(run: Run, preset: str) -> None:
    assert run("init", preset, "--no-schema")[0] == 0
    text = Path("tfloop.yaml").read_text()
    active = [line.removeprefix("#") if line[:1] == "#" and line[1:2] != " " else line for line in text.splitlines()]
    Path("all.yaml").write_text("\n".join(active) + "\n")
    assert text.count("\n#") > 30
    assert run("config", "check", "all.yaml")[0] == 0
    assert max(map(len, active)) <= 120


def test_without_arguments_it_is_mnist_with_a_schema(run: Run) -> None:
    assert run("init", "--json")[0] == 0
    lines = Path("tfloop.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=tfloop.schema.json"
    assert "dataset: mnist" in lines
    assert json.loads(Path("tfloop.schema.json").read_text())["title"] == "tfloop config"


def test_no_schema_and_other_file(run: Run) -> None:
    assert run("init", "--no-schema", "-o", "new folder/a.yaml") == (
        0, "new folder/a.yaml: mnist on mnist\n", "next: tfloop train 'new folder/a.yaml'\n",
    )  # fmt: skip
    assert [path.name for path in Path("new folder").iterdir()] == ["a.yaml"]
    assert "schema" not in Path("new folder/a.yaml").read_text()


def test_existing_files_are_kept(run: Run) -> None:
    Path("tfloop.yaml").write_text("mine")
    code, out, err = run("init")
    assert (code, out, err) == (2, "", "error: tfloop.yaml exists already\n  `-o FILE` writes another one\n")
    assert Path("tfloop.yaml").read_text() == "mine"
    Path("tfloop.schema.json").write_text("{}")
    code, _, err = run("init", "-o", "a.yaml")
    assert (code, Path("tfloop.schema.json").read_text(), Path("a.yaml").exists()) == (2, "{}", False)
    assert "`--no-schema`" in err
    Path("tfloop.schema.json").write_text('{"title": "tfloop config"}')
    assert run("init", "-o", "a.yaml")[0] == 0
    assert Path("tfloop.schema.json").read_text() == '{"title": "tfloop config"}'


def test_table_with_a_target_by_its_name(run: Run) -> None:
    table("data/my houses.csv", "size,Label,price")
    code, out, err = run("init", "--data", "data/my houses.csv", "-o", "configs/a.yaml")
    assert (code, out.splitlines()[0]) == (0, 'configs/a.yaml: tabular on table, target "Label"')
    assert "note: target: `Label`, by its name" in err
    assert 'dataset: {name: table, train: "../data/my houses.csv", target: Label}' in Path("configs/a.yaml").read_text()


def test_target_that_the_table_does_not_have(run: Run) -> None:
    table("houses.csv")
    code, _, err = run("init", "--data", "houses.csv", "--target", "prize")
    assert code == 2
    assert "houses.csv: there is no column `prize`\n  the columns are `size`, `kind`, `price`" in err
    assert not Path("tfloop.yaml").exists()


def test_table_without_a_target_names_the_columns(run: Run) -> None:
    table("houses.csv")
    code, out, err = run("init", "houses.csv")
    assert (code, out) == (2, "")
    assert err.endswith("which column is to be predicted?\n  `--target COLUMN`, one of `size`, `kind`, `price`\n")
    assert not Path("tfloop.yaml").exists()
    code, out, _ = run("init", "houses.csv", "--json")
    assert (code, json.loads(out)["code"]) == (2, 2)


def test_terminal_is_asked_for_the_target(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfloop_cli.commands import init

    table("houses.csv")
    monkeypatch.setattr(init, "_is_terminal", lambda console: True)
    code, out, err = run("init", "--data", "houses.csv", stdin="9\nprize\n3\n")
    assert (code, out.splitlines()[0]) == (0, 'tfloop.yaml: tabular on table, target "price"')
    assert "  3  price\n" in err
    assert err.count("there is no column") == 2
    assert run("init", "--data", "houses.csv", "-o", "b.yaml", stdin="kind\n")[0] == 0
    assert run("init", "--data", "houses.csv", "-o", "c.yaml", stdin="")[0] == 2


def test_folder_of_images_needs_folders_of_classes_or_a_table(run: Run) -> None:
    Path("photos").mkdir()
    for number in range(4):
        Path(f"photos/{number}.png").touch()
    code, out, err = run("init", "photos")
    assert (code, out) == (4, "")
    assert err.startswith("photos: it has no folders with images\n  each class has its own folder: train/CLASS/")
    Path("photos/labels.csv").write_text("id,label\n1,cat\n")
    assert run("init", "photos", "-o", "table.yaml")[0] == 0
    Path("photos/cat").mkdir()
    Path("photos/cat/1.png").touch()
    assert run("init", "photos")[0] == 0
    assert "dataset: {name: images, path: photos, in_memory: auto}" in Path("tfloop.yaml").read_text()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("annotations.json", '{"images": [], "annotations": [{"bbox": [1, 2, 3, 4]}]}'),
        ("labels/a.txt", "0 0.5 0.5 0.1 0.1\n"),
        ("Annotations/a.xml", "<annotation><object></object></annotation>"),
        ("masks/a.png", ""),
    ],
)
def test_boxes_and_masks_are_refused_as_train_does(run: Run, file: str, content: str) -> None:
    touch(Path("shop"), "images/a.png", "images/b.png", file)
    Path("shop", file).write_text(content)
    code, out, err = run("init", "shop")
    assert (code, out, Path("tfloop.yaml").exists()) == (4, "", False)
    assert " boxes" in err or " masks" in err
    with pytest.raises(TfloopError) as caught:
        images(path=Path("shop"))
    assert err == f"{caught.value}\n"
    assert caught.value.code == ExitCode.DATA


def test_texts_get_their_preset(run: Run) -> None:
    rows = [f"this is a {'good' if number % 2 else 'bad'} film,{number % 2}" for number in range(30)]
    Path("reviews.csv").write_text("\n".join(["text,stars", *rows]) + "\n")
    assert run("init", "reviews.csv")[1].startswith("tfloop.yaml: text on text\n")
    assert run("init", "text_embeddings", "--data", "reviews.csv", "-o", "ids.yaml")[0] == 0
    assert load(["ids.yaml"]).config.dataset.arguments["features"] == "ids"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["minst"], "unknown preset `minst`\n  did you mean `mnist`?"),
        (["--data", "nope.csv"], "nope.csv: it cannot be read: this file does not exist"),
        (["--target", "price"], "`--target` and `--dataset` are about data"),
        (["-o", "config.txt"], "the name of a config ends in .yaml"),
    ],
)
def test_wrong_arguments(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run("init", *arguments)
    assert (code, out) == (4 if "nope" in message else 2, "")
    assert message in err
    assert list(Path().iterdir()) == []


def test_folder_that_cannot_be_made_is_one_line(run: Run) -> None:
    Path("file").touch()
    code, _, err = run("init", "-o", "file/tfloop.yaml")
    assert (code, len(err.splitlines())) == (2, 1)
