"""Layers, sources, scalars, and the way back: dump and load."""

import io
import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfloop_cli.commands import config as command
from tfloop_cli.config import precedence as layers
from tfloop_cli.config.loading import dump, from_mapping, load, to_mapping
from tfloop_cli.config.precedence import shipped_names
from tfloop_cli.config.schema import Config
from tfloop_cli.config.yaml_nodes import Source, parse
from tfloop_cli.config.yaml_scalars import resolve, write
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.registry import Component

GOOD = "dataset: mnist\nmodel: conv_net\n"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


def config(text: str = GOOD, **keys: Any) -> Config:
    return load([put("c.yaml", text)], **keys).config


def plain(text: str) -> Any:
    problems: list[Problem] = []
    value = parse(text.encode(), Source("x"), problems).plain()
    assert not problems
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1.5", 1.5),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("-3", -3),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("", None),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("1.2.3", "1.2.3"),
        ("0b11", "0b11"),
        (".inf", float("inf")),
        ("-.Inf", -float("inf")),
        ("e5", "e5"),
        (".", "."),
        ("\u0661", "\u0661"),  # a digit, but no ASCII one
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|\n  a\n  b", "a\nb\n"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = plain(f"a: {text}\n")["a"]
    assert (found, type(found)) == (value, type(value))


def test_not_a_number_is_a_float() -> None:
    assert str(plain("a: .nan")["a"]) == "nan"


def test_aliases_anchors_and_flow() -> None:
    assert plain("a: &x {k: [1, 2]}\nb: *x\nc: [*x]\n") == {
        "a": {"k": [1, 2]},
        "b": {"k": [1, 2]},
        "c": [{"k": [1, 2]}],
    }


def test_the_slow_parser_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, no, 'x', \"y\"]\nb: {c: *x, d: 1e-3}\n"
    fast = plain(text)
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert plain(text) == fast


def test_windows_files_with_a_byte_order_mark() -> None:
    Path("w.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(["w.yaml"]).config.model.name == "conv_net"


def test_layers_and_their_order() -> None:
    put("base.yaml", "dataset: mnist\nepochs: 1\nbatch_size: 1\nseed: 1\nwarmup_steps: 1\n")
    put("a.yaml", "extends: base.yaml\nmodel: mlp\nbatch_size: 2\nseed: 2\nwarmup_steps: 2\n")
    put("b.yaml", "seed: 3\nwarmup_steps: 3\n")
    found = load(["a.yaml", "b.yaml"], sets=["warmup_steps=4", "warmup_steps=5"], flags={"batch_size": "6"})
    assert [getattr(found.config, key) for key in ("epochs", "batch_size", "seed", "warmup_steps")] == [1, 6, 3, 5]
    assert {
        key: found.sources[key] for key in ("epochs", "batch_size", "seed", "warmup_steps", "device", "model.name")
    } == {
        "epochs": "base.yaml:2",
        "batch_size": "--batch-size 6",
        "seed": "b.yaml:1",
        "warmup_steps": "--set warmup_steps=5",
        "device": "default",
        "model.name": "a.yaml:2",
    }


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        ("{name: mlp, dropout: 0.5, hidden: [3]}", "{dropout: 0.1}", {"dropout": 0.1, "hidden": [3]}),
        ("{name: mlp, dropout: 0.5, hidden: [3]}", "{name: mlp, dropout: 0.1}", {"dropout": 0.1, "hidden": [3]}),
        ("{name: mlp, dropout: 0.5, hidden: [3]}", "mlp", {"dropout": 0.0, "hidden": [128]}),
        ("{name: conv_net, dropout: 0.5}", "{name: mlp, hidden: [3]}", {"dropout": 0.0, "hidden": [3]}),
        ("{name: conv_net, filters: [3]}", "mlp", {"dropout": 0.0, "hidden": [128]}),
        ("mlp", "{dropout: 0.1}", {"dropout": 0.1, "hidden": [128]}),
        ("{name: mlp, hidden: [3, 4]}", "{hidden: []}", {"dropout": 0.0, "hidden": []}),
    ],
)
def test_merging_components(below: str, above: str, expected: dict[str, Any]) -> None:
    put("a.yaml", f"dataset: mnist\nmodel: {below}\n")
    put("b.yaml", f"model: {above}\n")
    expected = {"hidden": [], "dropout": 0.0, "activation": "relu", **expected}
    assert load(["a.yaml", "b.yaml"]).config.model == Component("mlp", expected)
    assert load(["a.yaml"], sets=[f"model={above}"]).config.model == Component("mlp", expected)


def test_a_mapping_without_a_name_merges_into_the_default() -> None:
    found = config(GOOD + "optimizer: {learning_rate: 0.5}\n")
    assert (found.optimizer.name, found.optimizer.arguments["learning_rate"]) == ("adam", 0.5)
    assert config(sets=["optimizer.learning_rate=0.5"]).optimizer == found.optimizer


def test_other_mappings_merge() -> None:
    found = config(GOOD + "checkpoint: {keep: 3}\n", sets=["checkpoint.best.metric=loss"]).checkpoint
    assert found.best
    assert (found.every_epochs, found.keep, found.best.metric) == (1, 3, "loss")


def test_unset() -> None:
    text = "dataset: mnist\nmodel: {name: mlp, dropout: 0.5}\nepochs: 9\noptimizer: {name: sgd, momentum: 0.9}\n"
    found = config(text, unsets=["model.dropout", "epochs", "optimizer.momentum"])
    assert (found.model.arguments["dropout"], found.epochs, found.optimizer.arguments["momentum"]) == (0.0, 5, 0.0)
    assert config(text, unsets=["optimizer"]).optimizer.name == "adam"
    assert config(text, unsets=["optimizer"], sets=["optimizer=lion"]).optimizer.name == "lion"


def test_values_of_arguments_are_yaml() -> None:
    found = config(sets=["model={name: conv_net, filters: [1, 2]}", "runs_dir='a=b'", "clip_norm=1e-3", "name=~"])
    assert (found.model.arguments["filters"], found.runs_dir, found.clip_norm, found.name) == (
        [1, 2],
        "a=b",
        0.001,
        None,
    )


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLOOP_N", "7")
    monkeypatch.setenv("TFLOOP_S", "no")
    text = GOOD + "epochs: ${env:TFLOOP_N}\nseed: ${env:TFLOOP_X:-3}\nname: run-${env:TFLOOP_N}-${env:TFLOOP_X:-}x\n"
    found = config(text, sets=["runs_dir=${env:TFLOOP_S}", "clip_norm='${env:TFLOOP_X:-1e-3}'"])
    assert (found.epochs, found.seed, found.name, found.runs_dir, found.clip_norm) == (7, 3, "run-7-x", "no", 0.001)
    monkeypatch.setenv("TFLOOP_N", "${env:TFLOOP_S}")
    with pytest.raises(TfloopError, match=r"`\$\{env:` must"):  # replaced once, not again
        config(GOOD + "runs_dir: ${env:TFLOOP_N}\n")


def test_extends_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLOOP_BASE", "base")
    put("configs/shared/base.yaml", GOOD + "epochs: 7\n")
    put("configs/a.yaml", "extends: shared/${env:TFLOOP_BASE}.yaml\n")
    found = load(["configs/a.yaml"])
    assert found.config.epochs == 7
    assert found.sources["epochs"] == "configs/shared/base.yaml:3"
    put("b.yaml", "extends: mnist\nepochs: 1\n")
    assert load(["b.yaml"]).sources["dataset.name"].startswith("mnist.yaml:")
    put("base2.yaml", GOOD)
    assert load(["-"], stdin=io.StringIO("extends: base2.yaml\n")).config.model.name == "conv_net"


def test_shipped_configs_are_found_by_name_unless_a_file_is_there() -> None:
    for name in ("mnist", "mnist.yaml"):
        found = load([name])
        assert found.config.dataset.name == "mnist"
        assert "shipped" in found.notes[0]
        assert found.sources["epochs"].startswith("mnist.yaml:")
    put("mnist.yaml", GOOD + "epochs: 77\n")
    found = load(["mnist.yaml"])
    assert (found.config.epochs, found.notes) == (77, ())
    assert load(["mnist"]).config.epochs != 77


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_config_loads(name: str) -> None:
    found = load([name]).config
    assert load(["-"], stdin=io.StringIO(dump(found))).config == found


def test_standard_input() -> None:
    found = load(["-"], stdin=io.StringIO(GOOD))
    assert found.sources["model.name"] == "<stdin>:2"


def test_every_value_has_a_source() -> None:
    found = load([put("c.yaml", GOOD)], sets=["augment=[flip, {name: shift, pixels: 3}]"])
    keys = {key.partition(".")[0] for key in found.sources}
    assert keys == set(Config.model_fields)
    assert command.show(found, sources=True).count("\n") == len(found.sources) - 1


WORDS = [
    "no",
    "yes",
    "on",
    "null",
    "~",
    "1e3",
    "0x1F",
    "1.0",
    "a: b",
    "- a",
    "#x",
    "{",
    "'",
    '"',
    "\\",
    " x ",
    "",
    "=",
    "<<",
]


def random_text(random_: random.Random) -> str:
    if random_.random() < 0.5:
        return random_.choice(WORDS)
    letters = string.printable + "äß€\u2028\x85\ufeff😀\u00a0\x7f"
    return "".join(random_.choice(letters) for _ in range(random_.randint(0, 12))).replace("\0", "")


def random_value(random_: random.Random, depth: int = 0) -> Any:
    kind = random_.randrange(5 if depth > 3 else 7)
    if kind == 0:
        return random_.choice([None, True, False])
    if kind == 1:
        return random_.choice([0, -1, 10**18, random_.getrandbits(40)])
    if kind == 2:
        return random_.choice(
            [0.0, -0.0, 1e-300, 1e22, 5e-324, 0.1, random_.uniform(-1e6, 1e6), random_.gauss(0, 1) * 1e-9]
        )
    if kind in (3, 4):
        return random_text(random_)
    if kind == 5:
        return [random_value(random_, depth + 1) for _ in range(random_.randrange(4))]
    return {random_text(random_): random_value(random_, depth + 1) for _ in range(random_.randrange(4))}


@pytest.mark.parametrize("seed", range(200))
def test_whatever_is_written_is_read_again(seed: int) -> None:
    value = random_value(random.Random(seed))
    text = write({"key": value}) if value != {"<<": value} else "{key: 1}"
    if "<<" in json.dumps(value):
        return  # no key of ours is a merge key
    assert repr(plain(text)["key"]) == repr(value)
    assert repr(plain(f"key: {write(value)}\n")["key"]) == repr(value)


@pytest.mark.parametrize("seed", range(50))
def test_dump_and_load_agree(seed: int) -> None:
    random_ = random.Random(seed)
    choose = random_.choice
    given = {
        "dataset": choose(
            [
                "mnist",
                {"name": "cifar10", "data_dir": random_text(random_), "splits": [random_text(random_)]},
                {"name": "synthetic", "classes": random_.randint(0, 9), "noise": random_.random()},
            ]
        ),
        "model": choose(["linear", {"name": "mlp", "hidden": [3, 4], "dropout": random_.random()}]),
        "optimizer": {"name": choose(["adam", "muon", "sgd"]), "learning_rate": random_.random() ** 9},
        "schedule": choose(["cosine", {"name": "piecewise", "boundaries_steps": [3], "factors": [1, 1e-9]}]),
        "augment": choose([[], ["flip"], ["flip", {"name": "shift", "pixels": 3}] * 4]),
        "validation": choose(["auto", 0, 17, random_.random() or 0.5]),
        "clip_norm": choose([None, 10 ** random_.uniform(-9, 9)]),
        "runs_dir": random_text(random_) or "x",
        "checkpoint": choose([{}, {"best": None}, {"keep": 3, "best": {"metric": "loss", "mode": "min"}}]),
    }
    made = from_mapping(given, "test")
    text = dump(made)
    again = load(["-"], stdin=io.StringIO(text)).config
    assert again == made
    assert dump(again) == text
    assert from_mapping(json.loads(json.dumps(to_mapping(made))), "test") == made
    if "\ufeff" not in text:
        assert set(yaml.safe_load(text)) == set(Config.model_fields)


def test_other_readers_take_what_is_written_alike() -> None:
    made = config(sets=["optimizer.learning_rate=1e-7", "runs_dir=no"])
    read = yaml.safe_load(dump(made))  # a reader of YAML 1.1
    assert (read["optimizer"]["learning_rate"], read["runs_dir"]) == (1e-7, "no")


def test_from_mapping_reads_no_environment() -> None:
    assert from_mapping({"dataset": "mnist", "model": "mlp", "runs_dir": "${env:HOME}"}, "m").runs_dir == "${env:HOME}"


def test_from_mapping_says_where() -> None:
    with pytest.raises(TfloopError, match=r"manifest\.json: `epochs` must be an integer"):
        from_mapping({"dataset": "mnist", "model": "mlp", "epochs": "x"}, "manifest.json")


def test_resolve_is_total_on_text() -> None:
    random_ = random.Random(0)
    for _ in range(5000):
        resolve("".join(random_.choice("0123456789.eE+-xo_:infa") for _ in range(random_.randrange(8))))


def test_shipped_configs_of_a_wheel_lie_in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    put("package/configs/small.yaml", GOOD)
    monkeypatch.setattr(layers, "_PACKAGE", Path("package").absolute())
    assert shipped_names() == ["small"]
    assert load(["small"]).sources["model.name"] == "small.yaml:2"
