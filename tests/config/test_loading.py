"""Loading: precedence, sources of values, YAML scalars, environment variables, and the round trip of dump and load."""

import io
import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfloop_cli.commands import config as command
from tfloop_cli.config import precedence
from tfloop_cli.config.loading import dump, from_mapping, load, to_mapping
from tfloop_cli.config.precedence import shipped_names
from tfloop_cli.config.schema import Config
from tfloop_cli.config.yaml_positions import Source, parse
from tfloop_cli.config.yaml_scalars import resolve, write
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.registry import Component

GOOD = "dataset: mnist\nmodel: conv_net\n"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_file(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


def load_text(text: str = GOOD, **keys: Any) -> Config:
    return load([write_file("c.yaml", text)], **keys).config


def parse_text(text: str) -> Any:
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
        ("\u0661", "\u0661"),  # a digit outside of ASCII
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|\n  a\n  b", "a\nb\n"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = parse_text(f"a: {text}\n")["a"]
    assert (found, type(found)) == (value, type(value))


def test_nan_is_a_float() -> None:
    assert str(parse_text("a: .nan")["a"]) == "nan"


def test_anchors_aliases_and_flow_style_are_parsed() -> None:
    assert parse_text("a: &x {k: [1, 2]}\nb: *x\nc: [*x]\n") == {
        "a": {"k": [1, 2]},
        "b": {"k": [1, 2]},
        "c": [{"k": [1, 2]}],
    }


def test_python_parser_matches_c_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, no, 'x', \"y\"]\nb: {c: *x, d: 1e-3}\n"
    with_c_parser = parse_text(text)
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert parse_text(text) == with_c_parser


def test_windows_file_with_byte_order_mark_loads() -> None:
    Path("w.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(["w.yaml"]).config.model.name == "conv_net"


def test_later_layers_take_precedence() -> None:
    write_file("base.yaml", "dataset: mnist\nepochs: 1\nbatch_size: 1\nseed: 1\nwarmup_steps: 1\n")
    write_file("a.yaml", "extends: base.yaml\nmodel: mlp\nbatch_size: 2\nseed: 2\nwarmup_steps: 2\n")
    write_file("b.yaml", "seed: 3\nwarmup_steps: 3\n")
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
def test_components_merge_by_name(below: str, above: str, expected: dict[str, Any]) -> None:
    write_file("a.yaml", f"dataset: mnist\nmodel: {below}\n")
    write_file("b.yaml", f"model: {above}\n")
    expected = {"hidden": [], "dropout": 0.0, "activation": "relu", **expected}
    assert load(["a.yaml", "b.yaml"]).config.model == Component("mlp", expected)
    assert load(["a.yaml"], sets=[f"model={above}"]).config.model == Component("mlp", expected)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (["optimizer.learning_rate=9", "optimizer.name=sgd"], ("sgd", 9.0)),
        (["optimizer.name=sgd", "optimizer.learning_rate=9"], ("sgd", 9.0)),
        (["optimizer.learning_rate=9", "optimizer=sgd"], ("sgd", 9.0)),
        (["optimizer.learning_rate=9", "optimizer={name: sgd, learning_rate: 8}"], ("sgd", 8.0)),
        (["optimizer={name: adam, learning_rate: 9}", "optimizer=sgd"], ("sgd", 0.01)),  # it was the rate of adam
        (["optimizer={name: adam, learning_rate: 9}", "optimizer.name=sgd", "optimizer.name=adam"], ("adam", 0.001)),
    ],
)
def test_order_of_sets_loses_no_argument(sets: list[str], expected: tuple[str, float]) -> None:
    optimizer = load_text(sets=sets).optimizer
    assert (optimizer.name, optimizer.arguments["learning_rate"]) == expected


def test_argument_without_name_is_kept_for_component_of_later_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two files, a file and the file that it extends, a file and `--set`; with environment variables."""
    monkeypatch.setenv("RATE", "9")
    write_file("rate.yaml", "extends: c.yaml\noptimizer: {learning_rate: '${env:RATE}'}\n")
    write_file("sgd.yaml", "optimizer: sgd\n")
    write_file("extends.yaml", "extends: rate.yaml\noptimizer: {name: sgd}\n")
    write_file("c.yaml", GOOD + "optimizer: {name: adam, beta_1: 0.5}\n")
    for configs, sets in ((["rate.yaml", "sgd.yaml"], []), (["extends.yaml"], []), (["rate.yaml"], ["optimizer=sgd"])):
        assert load(configs, sets=sets).config.optimizer.arguments["learning_rate"] == 9
    assert load(["c.yaml"], sets=["optimizer=sgd"]).config.optimizer.name == "sgd"


def test_argument_that_new_component_does_not_have_is_an_error() -> None:
    with pytest.raises(TfloopError, match=r"--set model\.filters=.*unknown key `model\.filters`"):
        load_text(sets=["model.filters=[4]", "model=mlp"])


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("name", "4711", "4711"),
        ("name", "true", "true"),
        ("name", "1e3", "1e3"),
        ("name", "null", None),
        ("runs_dir", "0x1F", "0x1F"),
        ("checkpoint.best.metric", "1", "1"),
        ("dataset.target", "2020", "2020"),
        ("epochs", "7", 7),
        ("validation", "0", 0),
    ],
)
def test_typed_number_is_text_where_the_key_is_text(key: str, text: str, value: Any) -> None:
    table = write_file("c.yaml", "dataset: {name: table, train: a.csv, target: x}\nmodel: mlp\n")
    found: Any = to_mapping(load([table], sets=[f"{key}={text}"]).config)
    for step in key.split("."):
        found = found[step]
    assert (found, type(found)) == (value, type(value))
    if "." not in key:
        assert getattr(load([table], flags={key: text}).config, key) == value


def test_number_in_a_file_is_no_text() -> None:
    with pytest.raises(TfloopError, match="`name` must be null or a name of"):
        load_text(GOOD + "name: 4711\n")
    with pytest.raises(TfloopError, match="`runs_dir` must be text; found nothing"):
        load_text(sets=["runs_dir=null"])


def test_names_of_columns_in_a_file_may_be_numbers() -> None:
    text = "dataset: {name: table, train: a.csv, target: 2, columns: {1: category}, missing_values: [-999, 1.50, NA]}\n"
    found = load_text(text + "model: mlp\n").dataset.arguments
    assert (found["target"], found["columns"]) == ("2", {"1": "category"})
    assert found["missing_values"] == ["-999", "1.50", "NA"]
    sets = ["dataset.ignore=[0, true]", "dataset.columns={3: date}"]
    found = load_text(text + "model: mlp\n", sets=sets).dataset.arguments
    assert (found["ignore"], found["columns"]) == (["0", "true"], {"1": "category", "3": "date"})


def test_dash_is_stdin_in_an_option() -> None:
    text = "dataset: {name: table, train: a.csv, target: x}\nmodel: mlp\n"
    assert load_text(text, sets=["dataset.train=-"]).dataset.arguments["train"] == "-"
    with pytest.raises(TfloopError, match='quote a dash that is a value, such as stdin: "-"'):
        load_text("dataset:\n  name: table\n  train: -\n  target: x\nmodel: mlp\n")


def test_component_without_name_merges_into_default() -> None:
    found = load_text(GOOD + "optimizer: {learning_rate: 0.5}\n")
    assert (found.optimizer.name, found.optimizer.arguments["learning_rate"]) == ("adam", 0.5)
    assert load_text(sets=["optimizer.learning_rate=0.5"]).optimizer == found.optimizer


def test_nested_mappings_merge() -> None:
    found = load_text(GOOD + "checkpoint: {keep: 3}\n", sets=["checkpoint.best.metric=loss"]).checkpoint
    assert found.best
    assert (found.every_epochs, found.keep, found.best.metric) == (1, 3, "loss")


def test_unset_restores_defaults() -> None:
    text = "dataset: mnist\nmodel: {name: mlp, dropout: 0.5}\nepochs: 9\noptimizer: {name: sgd, momentum: 0.9}\n"
    found = load_text(text, unsets=["model.dropout", "epochs", "optimizer.momentum"])
    assert (found.model.arguments["dropout"], found.epochs, found.optimizer.arguments["momentum"]) == (0.0, 5, 0.0)
    assert load_text(text, unsets=["optimizer"]).optimizer.name == "adam"
    assert load_text(text, unsets=["optimizer"], sets=["optimizer=lion"]).optimizer.name == "lion"


def test_set_values_are_parsed_as_yaml() -> None:
    found = load_text(sets=["model={name: conv_net, filters: [1, 2]}", "runs_dir='a=b'", "clip_norm=1e-3", "name=~"])
    assert (found.model.arguments["filters"], found.runs_dir, found.clip_norm, found.name) == (
        [1, 2],
        "a=b",
        0.001,
        None,
    )


def test_environment_variables_are_replaced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLOOP_N", "7")
    monkeypatch.setenv("TFLOOP_S", "no")
    text = GOOD + "epochs: ${env:TFLOOP_N}\nseed: ${env:TFLOOP_X:-3}\nname: run-${env:TFLOOP_N}-${env:TFLOOP_X:-}x\n"
    found = load_text(text, sets=["runs_dir=${env:TFLOOP_S}", "clip_norm='${env:TFLOOP_X:-1e-3}'"])
    assert (found.epochs, found.seed, found.name, found.runs_dir, found.clip_norm) == (7, 3, "run-7-x", "no", 0.001)
    monkeypatch.setenv("TFLOOP_N", "${env:TFLOOP_S}")
    with pytest.raises(TfloopError, match=r"`\$\{env:` must"):  # the value of a variable is not expanded
        load_text(GOOD + "runs_dir: ${env:TFLOOP_N}\n")


def test_extends_is_relative_to_its_file_or_a_built_in_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLOOP_BASE", "base")
    write_file("configs/shared/base.yaml", GOOD + "epochs: 7\n")
    write_file("configs/a.yaml", "extends: shared/${env:TFLOOP_BASE}.yaml\n")
    found = load(["configs/a.yaml"])
    assert found.config.epochs == 7
    assert found.sources["epochs"] == "configs/shared/base.yaml:3"
    write_file("b.yaml", "extends: mnist\nepochs: 1\n")
    assert load(["b.yaml"]).sources["dataset.name"].startswith("mnist.yaml:")
    write_file("base2.yaml", GOOD)
    assert load(["-"], stdin=io.StringIO("extends: base2.yaml\n")).config.model.name == "conv_net"


def test_built_in_config_is_found_by_name_unless_a_file_exists() -> None:
    for name in ("mnist", "mnist.yaml"):
        found = load([name])
        assert found.config.dataset.name == "mnist"
        assert found.notes == ("using built-in config mnist.yaml",)
        assert found.sources["epochs"].startswith("mnist.yaml:")
    write_file("mnist.yaml", GOOD + "epochs: 77\n")
    found = load(["mnist.yaml"])
    assert (found.config.epochs, found.notes) == (77, ())
    assert load(["mnist"]).config.epochs != 77


@pytest.mark.parametrize("name", shipped_names())
def test_built_in_config_loads_and_its_dump_is_equal(name: str) -> None:
    found = load([name]).config
    assert load(["-"], stdin=io.StringIO(dump(found))).config == found


def test_config_is_read_from_stdin() -> None:
    found = load(["-"], stdin=io.StringIO(GOOD))
    assert found.sources["model.name"] == "<stdin>:2"


def test_each_value_has_a_source() -> None:
    found = load([write_file("c.yaml", GOOD)], sets=["augment=[flip, {name: shift, pixels: 3}]"])
    keys = {key.partition(".")[0] for key in found.sources}
    assert keys == set(Config.model_fields)
    assert command.show(found, sources=True).count("\n") == len(found.sources) - 1


SPECIAL_TEXTS = [
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


def random_text(generator: random.Random) -> str:
    if generator.random() < 0.5:
        return generator.choice(SPECIAL_TEXTS)
    letters = string.printable + "äß€\u2028\x85\ufeff😀\u00a0\x7f"
    return "".join(generator.choice(letters) for _ in range(generator.randint(0, 12))).replace("\0", "")


def random_value(generator: random.Random, depth: int = 0) -> Any:
    kind = generator.randrange(5 if depth > 3 else 7)
    if kind == 0:
        return generator.choice([None, True, False])
    if kind == 1:
        return generator.choice([0, -1, 10**18, generator.getrandbits(40)])
    if kind == 2:
        return generator.choice(
            [0.0, -0.0, 1e-300, 1e22, 5e-324, 0.1, generator.uniform(-1e6, 1e6), generator.gauss(0, 1) * 1e-9]
        )
    if kind in (3, 4):
        return random_text(generator)
    if kind == 5:
        return [random_value(generator, depth + 1) for _ in range(generator.randrange(4))]
    return {random_text(generator): random_value(generator, depth + 1) for _ in range(generator.randrange(4))}


@pytest.mark.parametrize("seed", range(200))
def test_written_value_parses_to_the_same_value(seed: int) -> None:
    value = random_value(random.Random(seed))
    text = write({"key": value}) if value != {"<<": value} else "{key: 1}"
    if "<<" in json.dumps(value):
        return  # the parser rejects merge keys
    assert repr(parse_text(text)["key"]) == repr(value)
    assert repr(parse_text(f"key: {write(value)}\n")["key"]) == repr(value)


@pytest.mark.parametrize("seed", range(50))
def test_loaded_dump_is_equal(seed: int) -> None:
    generator = random.Random(seed)
    choose = generator.choice
    given = {
        "dataset": choose(
            [
                "mnist",
                {"name": "cifar10", "data_dir": random_text(generator) or "x", "splits": [random_text(generator)]},
                {"name": "synthetic", "classes": generator.randint(0, 9), "noise": generator.random()},
            ]
        ),
        "model": choose(["linear", {"name": "mlp", "hidden": [3, 4], "dropout": generator.random()}]),
        "optimizer": {"name": choose(["adam", "muon", "sgd"]), "learning_rate": generator.random() ** 9},
        "schedule": choose(["cosine", {"name": "piecewise", "boundaries_steps": [3], "factors": [1, 1e-9]}]),
        "augment": choose([[], ["flip"], ["flip", {"name": "shift", "pixels": 3}] * 4]),
        "validation": choose(["auto", 0, 17, generator.random() or 0.5]),
        "clip_norm": choose([None, 10 ** generator.uniform(-9, 9)]),
        "runs_dir": random_text(generator) or "x",
        "checkpoint": choose([{}, {"best": None}, {"keep": 3, "best": {"metric": "loss", "mode": "min"}}]),
    }
    config = from_mapping(given, "test")
    text = dump(config)
    loaded = load(["-"], stdin=io.StringIO(text)).config
    assert loaded == config
    assert dump(loaded) == text
    assert from_mapping(json.loads(json.dumps(to_mapping(config))), "test") == config
    if "\ufeff" not in text:
        assert set(yaml.safe_load(text)) == set(Config.model_fields)


def test_yaml_1_1_parser_reads_dump_alike() -> None:
    config = load_text(sets=["optimizer.learning_rate=1e-7", "runs_dir=no"])
    read = yaml.safe_load(dump(config))  # PyYAML implements YAML 1.1
    assert (read["optimizer"]["learning_rate"], read["runs_dir"]) == (1e-7, "no")


def test_from_mapping_does_not_use_environment() -> None:
    assert from_mapping({"dataset": "mnist", "model": "mlp", "runs_dir": "${env:HOME}"}, "m").runs_dir == "${env:HOME}"


def test_from_mapping_error_names_source() -> None:
    with pytest.raises(TfloopError, match=r"manifest\.json: `epochs` must be an integer"):
        from_mapping({"dataset": "mnist", "model": "mlp", "epochs": "x"}, "manifest.json")


def test_resolve_accepts_any_short_text() -> None:
    generator = random.Random(0)
    for _ in range(5000):
        resolve("".join(generator.choice("0123456789.eE+-xo_:infa") for _ in range(generator.randrange(8))))


def test_built_in_configs_of_installed_package_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    write_file("package/configs/small.yaml", GOOD)
    monkeypatch.setattr(precedence, "_PACKAGE", Path("package").absolute())
    assert shipped_names() == ["small"]
    assert load(["small"]).sources["model.name"] == "small.yaml:2"
