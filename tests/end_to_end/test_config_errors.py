"""Promise: a wrong config fails in under a second, with every error at once, the file's line and the nearest name."""

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tfloop_cli.config.loading import load
from tfloop_cli.errors import ExitCode, TfloopError

GOOD = "dataset: mnist\nmodel: conv_net\n"  # lines 1 and 2; what is wrong begins on line 3


class Wrong(NamedTuple):
    """A config, what is said of it, and where.

    Attributes:
        text: the file.
        place: `line:column`, or the argument, or "" for the file alone.
        words: what the message and its hint say, in this order.
    """

    text: str | bytes
    place: str
    words: str
    sets: tuple[str, ...] = ()
    unsets: tuple[str, ...] = ()


def bomb(levels: int) -> str:
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(["a0: &a0 [x]", *rows]) + "\n"


SYNTAX = {
    "empty": Wrong("", "", "the file is empty"),
    "only comments": Wrong("# nothing\n", "", "the file is empty"),
    "a list at the top": Wrong("- dataset: mnist\n", "1", "a config is a mapping"),
    "a word at the top": Wrong("mnist\n", "1", "a config is a mapping"),
    "two documents": Wrong(GOOD + "---\nepochs: 3\n", "3:1", "second document"),
    "not UTF-8": Wrong(GOOD.encode() + b"name: caf\xe9\n", "3:10", "not UTF-8"),
    "UTF-16": Wrong(GOOD.encode("utf-16"), "1:1", "not UTF-8"),
    "binary": Wrong(b"\x7fELF\x02\x01\x00\x00", "1:1", "control character"),
    "NUL in a quoted text": Wrong(GOOD + 'runs_dir: "a\\0b"\n', "3:11", "NUL"),
    "tab for indentation": Wrong("dataset:\n\tname: mnist\n", "2:1", "not valid YAML"),
    "bracket left open": Wrong(GOOD + "augment: [flip\nepochs: 3\n", "4:", "not valid YAML"),
    "duplicate key": Wrong(GOOD + "epochs: 3\nepochs: 4\n", "4:1", "`epochs` is given twice; first on line 3"),
    "duplicate key below": Wrong(
        "dataset: mnist\nmodel:\n  name: mlp\n  dropout: 0\n  dropout: 0.5\n", "5:3", "`dropout`.*line 4"
    ),
    "merge key": Wrong("x: &x {seed: 1}\n" + GOOD + "<<: *x\n", "4:1", "merge keys.*extends"),
    "python tag": Wrong(GOOD + "name: !!python/object/apply:os.system [ls]\n", "3:7", "tags.*!!python/object"),
    "harmless tag": Wrong(GOOD + "epochs: !!int 3\n", "3:9", "tags.*!!int"),
    "own tag": Wrong(GOOD + "epochs: !x 3\n", "3:9", "tags.*!x"),
    "alias bomb": Wrong(GOOD + bomb(9), "8:", "more than 100,000 values"),
    "many aliases": Wrong(GOOD + "a: &a x\nb: [" + "*a, " * 101 + "]\n", "4:", "more than 100 aliases"),
    "alias of itself": Wrong(GOOD + "augment: &a [*a]\n", "3:14", "alias `\\*a`"),
    "unknown alias": Wrong(GOOD + "epochs: *e\n", "3:9", "alias `\\*e`"),
    "deep nesting": Wrong(GOOD + "augment: " + "[" * 500 + "]" * 500, "3:", "deeper than 50 levels"),
    "deep nesting in a block": Wrong("".join(" " * i + "a:\n" for i in range(500)), "51:", "deeper than 50 levels"),
    "too large": Wrong(GOOD + "#" * (1 << 20), "", "larger than 1024 KiB"),
    "huge integer": Wrong(GOOD + "epochs: " + "9" * 5000 + "\n", "3:9", "an integer of 5000 digits"),
    "number as a key": Wrong(GOOD + "1: 2\n", "3:1", "a key must be text; found `1`.*quotes"),
    "list as a key": Wrong(GOOD + "? [a]\n: 2\n", "3:3", "a key must be text; found a list"),
    "environment left open": Wrong(GOOD + "name: ${env:USER\n", "3:7", "`\\$\\{env:`"),
    "environment missing": Wrong(GOOD + "name: ${env:TFLOOP_NOT_SET}\n", "3:7", "TFLOOP_NOT_SET.*not set.*:-default"),
}

VALUES = {
    "unknown key": Wrong(GOOD + "epoch: 3\n", "3:1", "unknown key `epoch`.*did you mean `epochs`"),
    "unknown key, nothing near": Wrong(GOOD + "zzz: 3\n", "3:1", "unknown key `zzz`.*the keys are.*`epochs`"),
    "no dataset": Wrong("model: conv_net\n", "1:1", "`dataset` is required"),
    "no model": Wrong("\n\ndataset: mnist\n", "3:1", "`model` is required"),
    "text for a number": Wrong(GOOD + "epochs: ten\n", "3:9", "`epochs` must be an integer, at least 1; found `ten`"),
    "quoted number": Wrong(GOOD + 'epochs: "10"\n', "3:9", 'found `"10"`'),
    "float for an integer": Wrong(GOOD + "batch_size: 1e3\n", "3:13", "integer.*without a point or exponent: `1000`"),
    "bool for an integer": Wrong(GOOD + "seed: true\n", "3:7", "integer from 0 to 2147483647; found `true`"),
    "YAML 1.1 bool": Wrong(GOOD + "drop_remainder: no\n", "3:17", "true or false; found `no`.*`false`"),
    "YAML 1.1 time": Wrong(GOOD + "epochs: 12:30:00\n", "3:9", "found `12:30:00`"),
    "YAML 1.1 underscore": Wrong(GOOD + "epochs: 1_000\n", "3:9", "found `1_000`"),
    "null": Wrong(GOOD + "epochs:\n", "3:8", "found nothing"),
    "too small": Wrong(GOOD + "epochs: 0\n", "3:9", "at least 1; found `0`"),
    "too large a seed": Wrong(GOOD + "seed: 2147483648\n", "3:7", "to 2147483647"),
    "negative": Wrong(GOOD + "warmup_steps: -1\n", "3:15", "at least 0; found `-1`"),
    "infinite": Wrong(GOOD + "clip_norm: .inf\n", "3:12", "number, above 0; found `.inf`"),
    "not a number": Wrong(GOOD + "clip_norm: .nan\n", "3:12", "found `.nan`"),
    "more than a float holds": Wrong(GOOD + "clip_norm: 1e999\n", "3:12", "number, above 0"),
    "share of one": Wrong(GOOD + "validation: 1.0\n", "3:13", "a share strictly between 0 and 1; found `1.0`"),
    "device": Wrong(GOOD + "device: gppu\n", "3:9", "found `gppu`.*did you mean `gpu`"),
    "device's number": Wrong(GOOD + "device: gpu:-1\n", "3:9", "`gpu:N`"),
    "choice": Wrong(GOOD + "precision: float23\n", "3:12", "`float32`.*did you mean `float32`"),
    "name with a path": Wrong(GOOD + "name: ../x\n", "3:7", "letters"),
    "name with a dot": Wrong(GOOD + "name: .x\n", "3:7", "does not begin"),
    "mapping for a number": Wrong(GOOD + "epochs: {a: 1}\n", "3:9", "found a mapping"),
    "nested unknown key": Wrong(GOOD + "checkpoint: {kep: 3}\n", "3:14", "`checkpoint.kep`.*did you mean `keep`"),
    "nested bound": Wrong(GOOD + "checkpoint:\n  keep: 0\n", "4:9", "`checkpoint.keep` must be an integer, at least 1"),
    "two levels down": Wrong(
        GOOD + "checkpoint: {best: {mode: maxx}}\n", "3:27", "`checkpoint.best.mode`.*did you mean `max`"
    ),
    "unknown model": Wrong(
        "dataset: mnist\nmodel: conv_nett\n", "2:8", "unknown model `conv_nett`.*`conv_net`.*--code"
    ),
    "unknown model in a mapping": Wrong("dataset: mnist\nmodel: {name: mpl}\n", "2:15", "unknown model `mpl`.*`mlp`"),
    "unknown dataset": Wrong("dataset: mnst\nmodel: mlp\n", "1:10", "unknown dataset `mnst`.*`mnist`"),
    "unknown TFDS dataset": Wrong("dataset: cifar_10\nmodel: mlp\n", "1:10", "unknown dataset.*`cifar10`"),
    "dataset with a path": Wrong("dataset: ../data\nmodel: mlp\n", "1:10", "unknown dataset"),
    "unknown optimizer": Wrong(GOOD + "optimizer: adm\n", "3:12", "unknown optimizer `adm`.*`adam`"),
    "unknown task": Wrong(GOOD + "task: clasification\n", "3:7", "`classification`"),
    "unknown schedule": Wrong(GOOD + "schedule: cosin\n", "3:11", "`cosine`"),
    "component as a number": Wrong(
        GOOD + "optimizer: 3\n", "3:12", "`optimizer` must be the name of an optimizer.*`3`"
    ),
    "component without a name": Wrong("dataset: mnist\nmodel: {filters: [3]}\n", "2:8", "`model` needs a `name`"),
    "name of a component": Wrong("dataset: mnist\nmodel: {name: [mlp]}\n", "2:15", "`model.name`.*a list"),
    "unknown argument": Wrong(
        "dataset: mnist\nmodel: {name: conv_net, kernelsize: 3}\n", "2:25", "`model.kernelsize`.*`kernel_size`"
    ),
    "argument of one that has none": Wrong(
        "dataset: mnist\nmodel: {name: linear, hidden: 3}\n", "2:23", "`model.hidden`.*no arguments"
    ),
    "argument's type": Wrong(GOOD + "optimizer: {learning_rate: fast}\n", "3:28", "`optimizer.learning_rate`.*number"),
    "argument's bound": Wrong("dataset: mnist\nmodel:\n  name: mlp\n  dropout: 1\n", "4:12", "below 1; found `1`"),
    "item of a list": Wrong(
        "dataset: mnist\nmodel:\n  name: conv_net\n  filters:\n    - 32\n    - x\n",
        "6:7",
        "`model.filters\\[1\\]`.*`x`",
    ),
    "argument that tfloop owns": Wrong(
        GOOD + "optimizer: {clipnorm: 1.0}\n", "3:13", "unknown key `optimizer.clipnorm`"
    ),
    "missing argument": Wrong(
        GOOD + "schedule: {name: piecewise, factors: [1]}\n", "3:11", "`schedule.boundaries_steps` is required"
    ),
    "augmentation": Wrong(GOOD + "augment:\n  - flip\n  - shfit\n", "5:5", "unknown augmentation `shfit`.*`shift`"),
    "augmentation's argument": Wrong(
        GOOD + "augment: [{name: shift, pixels: -1}]\n", "3:33", "`augment\\[0\\].pixels`.*at least 0"
    ),
    "augment is no list": Wrong(GOOD + "augment: flip\n", "3:10", "`augment` must be a list"),
    "base that is not there": Wrong("extends: mnits\n", "1:10", "no config `mnits`.*`mnist`"),
    "base that is a list": Wrong("extends: [a]\n", "1:10", "`extends` must be"),
    "file extends itself": Wrong("extends: wrong.yaml\n", "1:10", "circle: wrong.yaml -> wrong.yaml"),
}

ARGUMENTS = {
    "value": Wrong(GOOD, "--set epochs=x", "`epochs` must be an integer.*`x`", ("epochs=x",)),
    "value with an equals sign": Wrong(GOOD, "--set epochs=a=b", "found `a=b`", ("epochs=a=b",)),
    "no value": Wrong(GOOD, "--set epochs=", "no value", ("epochs=",)),
    "no equals sign": Wrong(GOOD, "--set epochs", "not KEY=VALUE", ("epochs",)),
    "no key": Wrong(GOOD, "--set =3", "a key is missing", ("=3",)),
    "bad path": Wrong(GOOD, "--set model..x=3", "a key is missing", ("model..x=3",)),
    "index": Wrong(GOOD, "--set model.filters.0=3", "whole list", ("model.filters.0=3",)),
    "bad YAML": Wrong(GOOD, "--set model={a", "not valid YAML", ("model={a",)),
    "unknown key": Wrong(GOOD, "--set epoch=3", "did you mean `epochs`", ("epoch=3",)),
    "unknown argument": Wrong(GOOD, "--set model.filter=[3]", "did you mean `filters`", ("model.filter=[3]",)),
    "below a number": Wrong(GOOD, "--set epochs.x=3", "found a mapping", ("epochs.x=3",)),
    "extends": Wrong(GOOD, "--set extends=mnist", "unknown key `extends`", ("extends=mnist",)),
    "unset of nothing": Wrong(GOOD, "--unset model.dropot", "nothing|no `model.dropot`", (), ("model.dropot",)),
    "unset of what is required": Wrong(GOOD, "1:1", "`model` is required", (), ("model",)),
}


def problems(case: Wrong, path: Path) -> list[str]:
    path.write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode())
    with pytest.raises(TfloopError) as caught:
        load([str(path)], sets=case.sets, unsets=case.unsets)
    assert caught.value.code == ExitCode.USAGE
    return [str(problem) for problem in caught.value.problems]


CASES = [
    pytest.param(case, id=f"{kind}: {name}")
    for kind, table in (("syntax", SYNTAX), ("values", VALUES), ("arguments", ARGUMENTS))
    for name, case in table.items()
]


@pytest.mark.parametrize("case", CASES)
def test_names_the_place_and_says_what_is_wrong(case: Wrong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    found = problems(case, Path("wrong.yaml"))
    assert time.process_time() - started < 1
    place = case.place if case.place.startswith("--") else f"wrong.yaml:{case.place}"
    there = [text for text in found if text.startswith(place)]
    assert there, found
    assert any(re.search(case.words, text, re.DOTALL) for text in there), found


def test_there_are_forty() -> None:
    assert len(CASES) >= 40


def test_all_errors_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """
        dataset: mnist
        modell: conv_net
        model: {name: conv_net, filters: [32, x], kernl: 3}
        epochs: ten
        epochs: 3
        optimizer:
          learning_rate: fast
        augment: [flip, shfit]
        schedule: piecewise
    """
    found = problems(Wrong("\n".join(line[8:] for line in text.splitlines()), "", ""), tmp_path / "wrong.yaml")
    lines = [int(text.removeprefix(str(tmp_path)).split(":")[1]) for text in found]
    assert lines == [3, 4, 4, 5, 6, 8, 9, 10, 10]


def test_errors_of_several_layers_come_together(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD + "epochs: 0\n")
    found = problems(Wrong("extends: base.yaml\nseed: x\n", "", "", ("batch_size=y",)), tmp_path / "wrong.yaml")
    assert ["seed" in found[0], "epochs" in found[1], "batch_size" in found[2]] == [True, True, True], found


def test_a_circle_of_files_is_shown(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("extends: c.yaml\n")
    (tmp_path / "c.yaml").write_text("extends: wrong.yaml\n")
    (only,) = problems(Wrong("extends: b.yaml\n", "", ""), tmp_path / "wrong.yaml")
    assert "wrong.yaml -> b.yaml -> c.yaml -> wrong.yaml" in only


def test_a_long_chain_of_files_ends(tmp_path: Path) -> None:
    for index in range(20):
        (tmp_path / f"{index}.yaml").write_text(f"extends: {index + 1}.yaml\n")
    (only,) = problems(Wrong("extends: 0.yaml\n", "", ""), tmp_path / "wrong.yaml")
    assert "more than 10 files" in only


def test_a_file_of_nothing_but_unknown_keys_ends_soon(tmp_path: Path) -> None:
    started = time.process_time()
    found = problems(Wrong("".join(f"key{i}: 1\n" for i in range(40_000)), "", ""), tmp_path / "wrong.yaml")
    assert len(found) == 101
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", ["missing.yaml", "mnits", "~nobody/x", "", "/dev/zero"])
def test_configs_that_cannot_be_read(name: str) -> None:
    with pytest.raises(TfloopError) as caught:
        load([name])
    assert caught.value.code == ExitCode.USAGE


def test_standard_input_that_is_no_text() -> None:
    with pytest.raises(TfloopError, match="<stdin>:1:1: not UTF-8"):
        load(["-"], stdin=io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))


def tfloop(*arguments: str, folder: Path, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, *python, "-m", "tfloop_cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("value", VALUES["text for a number"]),
        ("component", VALUES["unknown argument"]),
        ("dataset", VALUES["unknown dataset"]),
        ("syntax", SYNTAX["tab for indentation"]),
        ("bomb", SYNTAX["alias bomb"]),
        ("argument", ARGUMENTS["value"]),
    ],
)
def test_the_whole_process(name: str, case: Wrong, tmp_path: Path) -> None:
    assert isinstance(case.text, str)
    (tmp_path / "wrong.yaml").write_text(case.text)
    sets = [word for one in case.sets for word in ("--set", one)]
    done = tfloop("train", "-c", "wrong.yaml", *sets, folder=tmp_path, python=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("import time:"))
    assert done.returncode == ExitCode.USAGE, said
    assert (case.place if case.place.startswith("--") else f"wrong.yaml:{case.place}") in said
    assert "Traceback" not in said
    assert "pydantic" in imported  # the list of imports was read rightly
    assert not imported & {"tensorflow", "keras", "tensorflow_datasets", "numpy", "rich"}
    assert list(tmp_path.iterdir()) == [tmp_path / "wrong.yaml"]


@pytest.mark.parametrize(("dataset", "most"), [("mnist", 0.6), ("mnst", 0.9)])  # the second looks through TFDS's list
def test_takes_a_fraction_of_a_second(dataset: str, most: float, tmp_path: Path) -> None:
    """Of processor time, the least of three: other work on the machine is no fault of ours."""
    (tmp_path / "wrong.yaml").write_text(f"dataset: {dataset}\nmodel: mlp\nepochs: ten\n")
    spent = []
    for _ in range(3):
        before = os.times()
        assert tfloop("train", "-c", "wrong.yaml", folder=tmp_path).returncode == ExitCode.USAGE
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent) < most
