"""Suggestions for unknown keys and options: former names, names in other tools, misplaced and misspelled keys."""

from pathlib import Path

import pytest

from tfloop_cli.config.loading import load
from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import (
    COMPONENT_KEYS,
    RENAMED_ARGUMENTS,
    SYNONYMS,
    nearest,
    nested_fields,
    option_hint,
)
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import REGISTRIES

OPTIONS = ["--config", "--set", "--epochs", "--batch-size", "--fail-under"]


@pytest.fixture
def hint_for(tmp_path: Path):
    """Returns a function that returns the hint for the only problem of a config with one more line."""

    def hint(line: str, model: str = "conv_net") -> str | None:
        path = tmp_path / "wrong.yaml"
        path.write_text(f"dataset: mnist\nmodel: {model}\n{line}\n")
        with pytest.raises(TfloopError, match="unknown key") as caught:
            load([str(path)])
        (problem,) = caught.value.problems
        assert (problem.file, problem.line) == (str(path), 3)
        return problem.hint

    return hint


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("steps_per_call: 3", "steps_per_execution"),
        ("schedule: {name: cosine, final: 0.1}", "alpha"),
        ("schedule: {name: cosine, steps: 100}", "decay_steps"),
        ("schedule: {name: exponential, decay: 0.9}", "decay_rate"),
        ("schedule: {name: exponential, every_steps: 100}", "decay_steps"),
    ],
)
def test_former_key_suggests_new_name(hint_for, line: str, name: str) -> None:
    assert hint_for(line) == f"did you mean `{name}`?"


@pytest.mark.parametrize("dataset", ["{name: text, train: a.csv", "{name: table, train: a.csv, target: y"])
def test_label_of_a_dataset_suggests_target(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "a.yaml").write_text(f"dataset: {dataset}, label: y}}\nmodel: mlp\n")
    with pytest.raises(TfloopError) as caught:
        load([str(tmp_path / "a.yaml")])
    assert [problem.hint for problem in caught.value.problems] == ["did you mean `target`?"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("lr: 0.1", "optimizer.learning_rate"),
        ("learning_rate: 0.1", "optimizer.learning_rate"),
        ("optimizer: {lr: 0.1}", "learning_rate"),
        ("dropout: 0.5", "model.dropout"),
        ("filters: [3]", "model.filters"),
        ("loss: focal", "task.loss"),
        ("metrics: [accuracy]", "task.metrics"),
        ("patience: 3", "early_stopping.patience_epochs"),
        ("early_stopping: {patience: 3}", "patience_epochs"),
        ("max_epochs: 3", "epochs"),
        ("num_epochs: 3", "epochs"),
        ("epoch: 3", "epochs"),
        ("bs: 32", "batch_size"),
        ("keep: 3", "checkpoint.keep"),
        ("clipnorm: 1.0", "clip_norm"),
        ("optimizr: adam", "optimizer"),
    ],
)
def test_synonym_or_misspelling_suggests_dotted_key(hint_for, line: str, name: str) -> None:
    assert hint_for(line) == f"did you mean `{name}`?"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("optimizer: {batch_size: 3}", "batch_size"),
        ("optimizer: {clipnorm: 1.0}", "clip_norm"),
        ("task: {name: classification, epochs: 3}", "epochs"),
        ("schedule: {name: cosine, warmup: 100}", "warmup_steps"),
    ],
)
def test_top_level_key_below_component_is_explained(hint_for, line: str, key: str) -> None:
    assert hint_for(line) == f"`{key}` is a top-level key"


def test_argument_is_suggested_only_if_chosen_component_has_it(hint_for) -> None:
    assert hint_for("dropout: 0.5", model="mlp") == "did you mean `model.dropout`?"
    assert "model.dropout" not in str(hint_for("dropout: 0.5", model="linear"))
    assert hint_for("momentum: 0.9\noptimizer: sgd") == "did you mean `optimizer.momentum`?"
    assert "optimizer.momentum" not in str(hint_for("momentum: 0.9\noptimizer: adam"))


def test_dissimilar_key_lists_valid_keys(hint_for) -> None:
    assert hint_for("zzz: 3") == "the keys are " + ", ".join(f"`{key}`" for key in Config.model_fields)
    assert hint_for("optimizer: {name: sgd, zzz: 3}").startswith("the arguments of `sgd` are `learning_rate`, ")
    assert hint_for("schedule: {name: constant, zzz: 3}") == "`constant` has no arguments"


def test_synonyms_lead_to_existing_keys() -> None:
    arguments = {
        f"{key}.{one.name}"
        for key, registry in COMPONENT_KEYS.items()
        for declaration in registry.declarations()
        for one in declaration.parameters
    }
    nested = {f"{key}.{name}" for key, field in Config.model_fields.items() for name in nested_fields(field.annotation)}
    keys = set(Config.model_fields) | nested | arguments
    assert {word: key for word, key in SYNONYMS.items() if key not in keys and f"optimizer.{key}" not in keys} == {}
    assert set(SYNONYMS) & set(Config.model_fields) == set()


def test_renamed_arguments_lead_to_existing_arguments() -> None:
    for (kind, name), renamed in RENAMED_ARGUMENTS.items():
        known = {one.name for one in REGISTRIES[kind].declaration(name).parameters}
        assert set(renamed.values()) <= known
        assert set(renamed) & known == set()


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--lr", "use `--set optimizer.learning_rate=VALUE`"),
        ("--learning-rate", "use `--set optimizer.learning_rate=VALUE`"),
        ("--optimizer", "use `--set optimizer=VALUE`"),
        ("--dropout", "use `--set model.dropout=VALUE`"),
        ("--patience", "use `--set early_stopping.patience_epochs=VALUE`"),
        ("--clip-norm", "use `--set clip_norm=VALUE`"),
        ("--epoch", "did you mean `--epochs`?"),
        ("--batchsize", "did you mean `--batch-size`?"),
        ("--fail_under", "did you mean `--fail-under`?"),
        ("--xyzzy", None),
    ],
)
def test_unknown_option_suggests_set_or_nearest_option(option: str, hint: str | None) -> None:
    assert option_hint(option, OPTIONS) == hint


def test_nearest_lists_all_names_if_none_is_similar() -> None:
    assert nearest("epoch", ["epochs", "seed"], "the keys are") == "did you mean `epochs`?"
    assert nearest("zzz", ["epochs", "seed"], "the keys are") == "the keys are `epochs`, `seed`"
    assert nearest("zzz", [], "`linear` has") == "`linear` has no arguments"


@pytest.mark.parametrize("value", ["3", "3.5", "true"])
def test_number_or_boolean_where_text_is_expected_needs_quotes(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.yaml").write_text(f"dataset: mnist\nmodel: mlp\ngroup: {value}\n")
    with pytest.raises(TfloopError) as caught:
        load([str(tmp_path / "a.yaml")])
    assert caught.value.problems[0].hint == f'in quotes it is text: `"{value}"`'
