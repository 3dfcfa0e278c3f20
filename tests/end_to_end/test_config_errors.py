"""A wrong config fails in less than a second, with all errors at once, their lines, and the nearest valid names."""

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

GOOD = "dataset: mnist\nmodel: conv_net\n"  # lines 1 and 2; errors begin on line 3


class Invalid(NamedTuple):
    """An invalid config, and the error for it.

    Attributes:
        text: content of the file.
        place: `line:column`, or the argument, or "" for the file alone.
        pattern: regular expression for the message and its hint.
        sets: values of `--set`.
        unsets: values of `--unset`.
    """

    text: str | bytes
    place: str
    pattern: str
    sets: tuple[str, ...] = ()
    unsets: tuple[str, ...] = ()


def alias_bomb(levels: int) -> str:
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(["a0: &a0 [x]", *rows]) + "\n"


SYNTAX = {
    "empty file": Invalid("", "", "the file is empty"),
    "only comments": Invalid("# a comment\n", "", "the file is empty"),
    "list at top level": Invalid("- dataset: mnist\n", "1", "a config is a mapping"),
    "text at top level": Invalid("mnist\n", "1", "a config is a mapping"),
    "two documents": Invalid(GOOD + "---\nepochs: 3\n", "3:1", "second document"),
    "not UTF-8": Invalid(GOOD.encode() + b"name: caf\xe9\n", "3:10", "not UTF-8"),
    "UTF-16": Invalid(GOOD.encode("utf-16"), "1:1", "not UTF-8"),
    "binary": Invalid(b"\x7fELF\x02\x01\x00\x00", "1:1", "control character"),
    "NUL in a quoted text": Invalid(GOOD + 'runs_dir: "a\\0b"\n', "3:11", "NUL"),
    "tab for indentation": Invalid("dataset:\n\tname: mnist\n", "2:1", "not valid YAML"),
    "unclosed bracket": Invalid(GOOD + "augment: [flip\nepochs: 3\n", "4:", "not valid YAML"),
    "duplicate key": Invalid(GOOD + "epochs: 3\nepochs: 4\n", "4:1", "`epochs` is set twice; first on line 3"),
    "duplicate nested key": Invalid(
        "dataset: mnist\nmodel:\n  name: mlp\n  dropout: 0\n  dropout: 0.5\n", "5:3", "`dropout`.*line 4"
    ),
    "merge key": Invalid("x: &x {seed: 1}\n" + GOOD + "<<: *x\n", "4:1", "merge keys.*extends"),
    "python tag": Invalid(GOOD + "name: !!python/object/apply:os.system [ls]\n", "3:7", "tags.*!!python/object"),
    "standard tag": Invalid(GOOD + "epochs: !!int 3\n", "3:9", "tags.*!!int"),
    "custom tag": Invalid(GOOD + "epochs: !x 3\n", "3:9", "tags.*!x"),
    "alias bomb": Invalid(GOOD + alias_bomb(9), "8:", "more than 100,000 values"),
    "many aliases": Invalid(GOOD + "a: &a x\nb: [" + "*a, " * 101 + "]\n", "4:", "more than 100 aliases"),
    "alias to itself": Invalid(GOOD + "augment: &a [*a]\n", "3:14", "alias `\\*a`"),
    "unknown alias": Invalid(GOOD + "epochs: *e\n", "3:9", "alias `\\*e`"),
    "deep nesting": Invalid(GOOD + "augment: " + "[" * 500 + "]" * 500, "3:", "deeper than 50 levels"),
    "deep nesting in block style": Invalid(
        "".join(" " * i + "a:\n" for i in range(500)), "51:", "deeper than 50 levels"
    ),
    "file too large": Invalid(GOOD + "#" * (1 << 20), "", "larger than 1024 KiB"),
    "huge integer": Invalid(GOOD + "epochs: " + "9" * 5000 + "\n", "3:9", "an integer of 5000 digits"),
    "number as a key": Invalid(GOOD + "1: 2\n", "3:1", "a key must be text; found `1`.*quote it"),
    "list as a key": Invalid(GOOD + "? [a]\n: 2\n", "3:3", "a key must be text; found a list"),
    "unclosed environment variable": Invalid(GOOD + "name: ${env:USER\n", "3:7", "`\\$\\{env:`"),
    "unset environment variable": Invalid(
        GOOD + "name: ${env:TFLOOP_NOT_SET}\n", "3:7", "TFLOOP_NOT_SET.*not set.*:-default"
    ),
}

VALUES = {
    "unknown key": Invalid(GOOD + "epoch: 3\n", "3:1", "unknown key `epoch`.*did you mean `epochs`"),
    "unknown key, no similar key": Invalid(GOOD + "zzz: 3\n", "3:1", "unknown key `zzz`.*the keys are.*`epochs`"),
    "missing dataset": Invalid("model: conv_net\n", "1:1", "`dataset` is required"),
    "missing model": Invalid("\n\ndataset: mnist\n", "3:1", "`model` is required"),
    "text instead of number": Invalid(
        GOOD + "epochs: ten\n", "3:9", "`epochs` must be an integer, at least 1; found `ten`"
    ),
    "quoted number": Invalid(GOOD + 'epochs: "10"\n', "3:9", 'found `"10"`'),
    "float instead of integer": Invalid(
        GOOD + "batch_size: 1e3\n", "3:13", "integer.*without a point or exponent: `1000`"
    ),
    "integer that no run needs": Invalid(
        GOOD + "warmup_steps: 10000000000000\n", "3:15", "found `10000000000000`.*the largest integer is 2147483647"
    ),
    "bool instead of integer": Invalid(GOOD + "seed: true\n", "3:7", "integer, at least 0; found `true`"),
    "YAML 1.1 bool": Invalid(GOOD + "drop_remainder: no\n", "3:17", "true or false; found `no`.*`false`"),
    "YAML 1.1 time": Invalid(GOOD + "epochs: 12:30:00\n", "3:9", "found `12:30:00`"),
    "YAML 1.1 underscore": Invalid(GOOD + "epochs: 1_000\n", "3:9", "found `1_000`"),
    "null": Invalid(GOOD + "epochs:\n", "3:8", "found nothing"),
    "too small": Invalid(GOOD + "epochs: 0\n", "3:9", "at least 1; found `0`"),
    "seed too large": Invalid(GOOD + "seed: 2147483648\n", "3:7", "the largest integer is 2147483647"),
    "negative": Invalid(GOOD + "warmup_steps: -1\n", "3:15", "at least 0; found `-1`"),
    "infinite": Invalid(GOOD + "clip_norm: .inf\n", "3:12", "number, above 0; found `.inf`"),
    "not a number": Invalid(GOOD + "clip_norm: .nan\n", "3:12", "found `.nan`"),
    "number beyond float range": Invalid(GOOD + "clip_norm: 1e999\n", "3:12", "number, above 0"),
    "fraction of one": Invalid(GOOD + "validation: 1.0\n", "3:13", "a fraction strictly between 0 and 1; found `1.0`"),
    "device": Invalid(GOOD + "device: gppu\n", "3:9", "found `gppu`.*did you mean `gpu`"),
    "device number": Invalid(GOOD + "device: gpu:-1\n", "3:9", "`gpu:N`"),
    "choice": Invalid(GOOD + "precision: float23\n", "3:12", "`float32`.*did you mean `float32`"),
    "name with a path": Invalid(GOOD + "name: ../x\n", "3:7", "letters"),
    "name with a dot": Invalid(GOOD + "name: .x\n", "3:7", "does not begin"),
    "mapping instead of number": Invalid(GOOD + "epochs: {a: 1}\n", "3:9", "found a mapping"),
    "nested unknown key": Invalid(GOOD + "checkpoint: {kep: 3}\n", "3:14", "`checkpoint.kep`.*did you mean `keep`"),
    "nested value out of bounds": Invalid(
        GOOD + "checkpoint:\n  keep: 0\n", "4:9", "`checkpoint.keep` must be an integer, at least 1"
    ),
    "value in mapping in mapping": Invalid(
        GOOD + "checkpoint: {best: {mode: maxx}}\n", "3:27", "`checkpoint.best.mode`.*did you mean `max`"
    ),
    "unknown model": Invalid(
        "dataset: mnist\nmodel: conv_nett\n", "2:8", "unknown model `conv_nett`.*`conv_net`.*--code"
    ),
    "unknown model in a mapping": Invalid("dataset: mnist\nmodel: {name: mpl}\n", "2:15", "unknown model `mpl`.*`mlp`"),
    "unknown dataset": Invalid("dataset: mnst\nmodel: mlp\n", "1:10", "unknown dataset `mnst`.*`mnist`"),
    "unknown TFDS dataset": Invalid("dataset: cifar_10\nmodel: mlp\n", "1:10", "unknown dataset.*`cifar10`"),
    "dataset with a path": Invalid("dataset: ../data\nmodel: mlp\n", "1:10", "unknown dataset"),
    "unknown optimizer": Invalid(GOOD + "optimizer: adm\n", "3:12", "unknown optimizer `adm`.*`adam`"),
    "unknown task": Invalid(GOOD + "task: clasification\n", "3:7", "`classification`"),
    "unknown schedule": Invalid(GOOD + "schedule: cosin\n", "3:11", "`cosine`"),
    "number instead of component": Invalid(
        GOOD + "optimizer: 3\n", "3:12", "`optimizer` must be the name of an optimizer.*`3`"
    ),
    "component without a name": Invalid("dataset: mnist\nmodel: {filters: [3]}\n", "2:8", "`model` needs a `name`"),
    "component name that is a list": Invalid("dataset: mnist\nmodel: {name: [mlp]}\n", "2:15", "`model.name`.*a list"),
    "unknown argument": Invalid(
        "dataset: mnist\nmodel: {name: conv_net, kernelsize: 3}\n", "2:25", "`model.kernelsize`.*`kernel_size`"
    ),
    "argument of component without arguments": Invalid(
        "dataset: mnist\nmodel: {name: linear, hidden: 3}\n", "2:23", "`model.hidden`.*`linear` has no arguments"
    ),
    "type of argument": Invalid(
        GOOD + "optimizer: {learning_rate: fast}\n", "3:28", "`optimizer.learning_rate`.*number"
    ),
    "bounds of argument": Invalid("dataset: mnist\nmodel:\n  name: mlp\n  dropout: 1\n", "4:12", "below 1; found `1`"),
    "item of list": Invalid(
        "dataset: mnist\nmodel:\n  name: conv_net\n  filters:\n    - 32\n    - x\n",
        "6:7",
        "`model.filters\\[1\\]`.*`x`",
    ),
    "argument that is a top-level key": Invalid(
        GOOD + "optimizer: {clipnorm: 1.0}\n",
        "3:13",
        "unknown key `optimizer.clipnorm`.*`clip_norm` is a top-level key",
    ),
    "missing argument": Invalid(
        GOOD + "schedule: {name: piecewise, factors: [1]}\n", "3:11", "`schedule.boundaries_steps` is required"
    ),
    "unknown augmentation": Invalid(
        GOOD + "augment:\n  - flip\n  - shfit\n", "5:5", "unknown augmentation `shfit`.*`shift`"
    ),
    "argument of augmentation": Invalid(
        GOOD + "augment: [{name: shift, pixels: -1}]\n", "3:33", "`augment\\[0\\].pixels`.*at least 0"
    ),
    "text instead of list of augmentations": Invalid(GOOD + "augment: flip\n", "3:10", "`augment` must be a list"),
    "unknown base config": Invalid("extends: mnits\n", "1:10", "config `mnits` not found.*`mnist`"),
    "base config that is a list": Invalid("extends: [a]\n", "1:10", "`extends` must be"),
    "file that extends itself": Invalid("extends: wrong.yaml\n", "1:10", "cycle: wrong.yaml -> wrong.yaml"),
}

ARGUMENTS = {
    "value": Invalid(GOOD, "--set epochs=x", "`epochs` must be an integer.*`x`", ("epochs=x",)),
    "value with an equals sign": Invalid(GOOD, "--set epochs=a=b", "found `a=b`", ("epochs=a=b",)),
    "no value": Invalid(GOOD, "--set epochs=", "no value", ("epochs=",)),
    "no equals sign": Invalid(GOOD, "--set epochs", "not KEY=VALUE", ("epochs",)),
    "no key": Invalid(GOOD, "--set =3", "a key is empty", ("=3",)),
    "empty part of path": Invalid(GOOD, "--set model..x=3", "a key is empty", ("model..x=3",)),
    "index": Invalid(GOOD, "--set model.filters.0=3", "whole list", ("model.filters.0=3",)),
    "invalid YAML": Invalid(GOOD, "--set model={a", "not valid YAML", ("model={a",)),
    "unknown key": Invalid(GOOD, "--set epoch=3", "did you mean `epochs`", ("epoch=3",)),
    "unknown argument": Invalid(GOOD, "--set model.filter=[3]", "did you mean `filters`", ("model.filter=[3]",)),
    "key below number": Invalid(GOOD, "--set epochs.x=3", "found a mapping", ("epochs.x=3",)),
    "extends": Invalid(GOOD, "--set extends=mnist", "unknown key `extends`", ("extends=mnist",)),
    "unset of unknown key": Invalid(GOOD, "--unset model.dropot", "unknown key `model.dropot`", (), ("model.dropot",)),
    "group and time": Invalid(GOOD + "group: a\nsplit_by: b\n", "4:11", "`group` and `split_by` exclude each other"),
    "unset of required key": Invalid(GOOD, "1:1", "`model` is required", (), ("model",)),
}


def messages(case: Invalid, path: Path) -> list[str]:
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
def test_error_has_place_and_message(case: Invalid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    found = messages(case, Path("wrong.yaml"))
    assert time.process_time() - started < 1
    place = case.place if case.place.startswith("--") else f"wrong.yaml:{case.place}"
    at_place = [text for text in found if text.startswith(place)]
    assert at_place, found
    assert any(re.search(case.pattern, text, re.DOTALL) for text in at_place), found


def test_there_are_at_least_40_cases() -> None:
    assert len(CASES) >= 40


def test_all_errors_are_reported_in_order_of_file(tmp_path: Path) -> None:
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
    found = messages(Invalid("\n".join(line[8:] for line in text.splitlines()), "", ""), tmp_path / "wrong.yaml")
    lines = [int(text.removeprefix(str(tmp_path)).split(":")[1]) for text in found]
    assert lines == [3, 4, 4, 5, 6, 8, 9, 10, 10]


def test_errors_of_all_layers_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD + "epochs: 0\n")
    found = messages(Invalid("extends: base.yaml\nseed: x\n", "", "", ("batch_size=y",)), tmp_path / "wrong.yaml")
    assert ["seed" in found[0], "epochs" in found[1], "batch_size" in found[2]] == [True, True, True], found


def test_cycle_of_extended_files_is_shown(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("extends: c.yaml\n")
    (tmp_path / "c.yaml").write_text("extends: wrong.yaml\n")
    (only,) = messages(Invalid("extends: b.yaml\n", "", ""), tmp_path / "wrong.yaml")
    assert "wrong.yaml -> b.yaml -> c.yaml -> wrong.yaml" in only


def test_long_chain_of_extended_files_is_rejected(tmp_path: Path) -> None:
    for index in range(20):
        (tmp_path / f"{index}.yaml").write_text(f"extends: {index + 1}.yaml\n")
    (only,) = messages(Invalid("extends: 0.yaml\n", "", ""), tmp_path / "wrong.yaml")
    assert "more than 10 files" in only


def test_file_with_thousands_of_unknown_keys_fails_fast(tmp_path: Path) -> None:
    started = time.process_time()
    found = messages(Invalid("".join(f"key{i}: 1\n" for i in range(40_000)), "", ""), tmp_path / "wrong.yaml")
    assert len(found) == 101
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", ["missing.yaml", "mnits", "~nobody/x", "", "/dev/zero"])
def test_unreadable_config_is_usage_error(name: str) -> None:
    with pytest.raises(TfloopError) as caught:
        load([name])
    assert caught.value.code == ExitCode.USAGE


def test_stdin_that_is_not_text_is_rejected() -> None:
    with pytest.raises(TfloopError, match="<stdin>:1:1: not UTF-8"):
        load(["-"], stdin=io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))


def run_tfloop(*arguments: str, folder: Path, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, *python, "-m", "tfloop_cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(VALUES["text instead of number"], id="value"),
        pytest.param(VALUES["unknown argument"], id="component"),
        pytest.param(VALUES["unknown dataset"], id="dataset"),
        pytest.param(SYNTAX["tab for indentation"], id="syntax"),
        pytest.param(SYNTAX["alias bomb"], id="alias bomb"),
        pytest.param(ARGUMENTS["value"], id="argument"),
    ],
)
def test_process_fails_without_loading_large_packages(case: Invalid, tmp_path: Path) -> None:
    assert isinstance(case.text, str)
    (tmp_path / "wrong.yaml").write_text(case.text)
    sets = [word for one in case.sets for word in ("--set", one)]
    process = run_tfloop("train", "-c", "wrong.yaml", *sets, folder=tmp_path, python=("-X", "importtime"))
    imported = {
        line.rpartition("|")[2].strip() for line in process.stderr.splitlines() if line.startswith("import time:")
    }
    output = "\n".join(line for line in process.stderr.splitlines() if not line.startswith("import time:"))
    assert process.returncode == ExitCode.USAGE, output
    assert (case.place if case.place.startswith("--") else f"wrong.yaml:{case.place}") in output
    assert "Traceback" not in output
    assert "pydantic" in imported  # `imported` is not empty
    assert not imported & {"tensorflow", "keras", "tensorflow_datasets", "numpy", "rich"}
    assert list(tmp_path.iterdir()) == [tmp_path / "wrong.yaml"]


@pytest.mark.parametrize(("dataset", "limit"), [("mnist", 0.6), ("mnst", 0.9)])  # an unknown name is looked up in TFDS
def test_error_takes_less_than_a_second(dataset: str, limit: float, tmp_path: Path) -> None:
    """Measures processor time, the minimum of three runs, because the machine may be under load."""
    (tmp_path / "wrong.yaml").write_text(f"dataset: {dataset}\nmodel: mlp\nepochs: ten\n")
    seconds = []
    for _ in range(3):
        before = os.times()
        assert run_tfloop("train", "-c", "wrong.yaml", folder=tmp_path).returncode == ExitCode.USAGE
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < limit
