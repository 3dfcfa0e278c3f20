"""Weighted n-grams of texts, their encoders, and the linear model on them."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Data, Dataset
from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.choosing import SplitRules
from tfloop_cli.engine.data.texts import encoders as encoders_module
from tfloop_cli.engine.data.texts import ngrams
from tfloop_cli.engine.data.texts.encoders import TextEncoders
from tfloop_cli.engine.kernels import KernelSettings, WeightedSum, fast_kernels
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets, models


def build(train: Path, **arguments: object) -> Dataset:
    return datasets.build(Component("text", {"train": str(train), **arguments}))


def write_rows(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


def slots_of(*texts: str) -> list[dict[int, int]]:
    """Returns slot -> count for each text."""
    found = []
    for row_splits, slots, counts in ngrams.count_ngrams(texts):
        for start, stop in itertools.pairwise(row_splits):
            found.append(dict(zip(slots[start:stop].tolist(), counts[start:stop].tolist(), strict=True)))
    return found


def weights_of(dataset: Dataset, split: str, text: int) -> tuple[list[float], list[float]]:
    """Returns the sorted weights of a text's word n-grams, and those of its character n-grams."""
    source = dataset.splits[split]
    words = int(np.count_nonzero(dataset.encoders._slots[0] % 2 == 0))
    ids, weights = source.texts[text].numpy(), source.weights[text].numpy()
    return sorted(weights[ids <= words].tolist()), sorted(weights[ids > words].tolist())


def test_ngrams_are_those_of_words_and_of_characters_within_words() -> None:
    one, same, other, empty = slots_of("aa a", " AA\ta\n", "a aa", "")
    assert one == same != other
    assert empty == {}
    odd = [count for slot, count in one.items() if slot % 2]
    assert sum(one.values()) - sum(odd) == 3  # aa, a, and the pair
    assert sum(odd) == (4 + 3 + 2 + 1) + (3 + 2 + 1)  # of <aa> and <a>
    assert sorted(odd) == [1] * 5 + [2] * 4 + [3]  # <, >, <a and a> twice, a three times
    pair_only = set(one) ^ set(other)
    assert len(pair_only) == 2
    assert all(slot % 2 == 0 for slot in pair_only)


def test_ngrams_do_not_depend_on_the_other_texts(monkeypatch) -> None:
    texts = ["the cat", "", "sat on", "東京都", "हिन्दी", "x" * 50]
    together = slots_of(*texts)
    monkeypatch.setattr(ngrams, "TEXTS_AT_ONCE", 4)
    monkeypatch.setattr(ngrams, "CHARACTERS_AT_ONCE", 12)
    assert slots_of(*texts) == together == [slots_of(text)[0] if text else {} for text in texts]


def test_equivalent_characters_have_the_same_ngrams() -> None:
    composed, decomposed, wide, marked = slots_of("Café", "cafe\u0301", "\uff23afé", "a\x02b\x03")
    assert composed == decomposed == wide
    assert marked == slots_of("a b")[0]


def test_weights_are_those_of_tf_idf_with_words_of_lower_norm(tmp_path: Path) -> None:
    dataset = build(write_rows(tmp_path / "a.jsonl", ("b b c", "x"), ("c", "y")))
    rare = math.log(3 / 2) + 1  # the inverse document frequency of n-grams of one text of two; c has 1
    expected = np.array([1.0, rare, rare, (1 + math.log(2)) * rare])  # c, b b, b c, b
    words, characters = weights_of(dataset, "train", 0)
    np.testing.assert_allclose(words, 0.7 * expected / np.linalg.norm(expected), rtol=1e-6)
    assert np.linalg.norm(characters) == pytest.approx(1)
    assert weights_of(dataset, "train", 1)[0] == pytest.approx([0.7])
    assert dataset.spec.vocabulary == 1 + len(set().union(*slots_of("b b c", "c")))


def test_words_of_runs_of_earlier_versions_have_the_norm_1(tmp_path: Path) -> None:
    encoders = build(write_rows(tmp_path / "a.jsonl", ("b b c", "x"), ("c", "y"))).encoders
    assert encoders is not None
    document = dict(encoders.to_json())
    del document["words_norm"]
    ids, _, weights = TextEncoders.from_json(document).encode(["b"])
    assert weights[ids == ids.min()].tolist() == [1.0]


def test_unseen_ngrams_are_dropped_and_batches_are_padded(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "a.jsonl", ("ab", "x"), ("", "y"))
    test = write_rows(tmp_path / "b.jsonl", ("ab zq", "x"), ("zq", "y"))
    dataset = build(train, test=str(test))
    words, characters = weights_of(dataset, "test", 0)
    assert (len(words), len(characters)) == (1, 10)  # all of <ab>, nothing of <zq>, except that it has < and > too
    assert len(weights_of(dataset, "test", 1)[1]) == 2
    inputs, labels = dataset.splits["test"].gather(tf.constant([1, 0], tf.int64))
    assert inputs["ids"].shape == inputs["weights"].shape == (2, 11)
    assert inputs["ids"][0, 2:].numpy().tolist() == inputs["weights"][0, 2:].numpy().tolist() == [0] * 9
    assert labels.numpy().tolist() == [1, 0]


@pytest.mark.parametrize("features", ["ngrams", "ids"])
def test_encoders_survive_json_and_encode_without_the_training_file(tmp_path: Path, features: str) -> None:
    train = write_rows(tmp_path / "a.jsonl", ("the cat sat", "x"), ("a dog", "y"), ("東京", "x"))
    test = write_rows(tmp_path / "b.jsonl", ("the dog 東", "y"))
    first = build(train, test=str(test), features=features)
    document = json.loads(json.dumps(first.encoders.to_json()))
    train.unlink()
    with use_context(BuildContext(encoders=document, split="test")):
        second = build(train, test=str(test), features=features)
    assert list(second.splits) == ["test"]
    assert second.spec == first.spec
    assert second.splits["test"].texts.to_list() == first.splits["test"].texts.to_list() != [[]]
    with pytest.raises(TfloopError, match="the encoders of the run cannot be used") as caught:
        TextEncoders.from_json(document | {"frequencies": "x", "features": "ngrams"})
    assert caught.value.code == ExitCode.CHECKPOINT


@pytest.mark.parametrize("features", ["ngrams", "ids"])
@pytest.mark.parametrize("rules", [{}, {"group": "author"}, {"split_by": "date"}])
def test_encoders_are_fitted_without_the_held_out_texts(tmp_path: Path, configure, features: str, rules: dict) -> None:
    rows = [(f"word{number} all", "xy"[number % 2], f"a{number % 5}", f"{number + 1}/3/2024") for number in range(20)]
    found: list[tuple[TextEncoders, list[int]]] = []
    for replaced in ("", "other words 東京"):
        held_out = found[0][1] if found else []
        lines = [",".join((replaced if number in held_out else row[0], *row[1:])) for number, row in enumerate(rows)]
        (tmp_path / "a.csv").write_text("\n".join(["text,label,author,date", *lines]) + "\n")
        with use_context(BuildContext(rules=SplitRules(test=4, **rules))):
            dataset = build(tmp_path / "a.csv", features=features)
        data = Data(dataset, configure(test=4, **rules))
        found.append((dataset.encoders, data.split("test")[1].tolist()))
        assert list(dataset.columns) == list(rules.values())
    assert found[0] == found[1]
    assert (found[0][0].texts, len(found[0][1])) == (16, 4)
    if "split_by" in rules:
        assert found[0][1] == [16, 17, 18, 19]  # as text, 9/3/2024 would be the last


def test_other_texts_are_encoded_as_those_of_the_run(tmp_path: Path) -> None:
    trained = build(write_rows(tmp_path / "a.jsonl", ("the cat", "x"), ("a dog", "y")))
    (tmp_path / "other/y").mkdir(parents=True)
    (tmp_path / "other/y/1.txt").write_text("a dog")
    with use_context(BuildContext(encoders=trained.encoders.to_json(), data=tmp_path / "other")):
        dataset = build(tmp_path / "gone.jsonl")
    assert list(dataset.splits) == ["data"]
    assert dataset.splits["data"].all_targets.numpy().tolist() == [1]
    assert dataset.splits["data"].texts.to_list() == trained.splits["train"].texts.to_list()[1:]


def test_many_classes_keep_the_most_frequent_ngrams(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(encoders_module, "MAX_WEIGHTS", 20)
    monkeypatch.setattr(encoders_module, "MIN_NGRAMS", 2)
    dataset = build(write_rows(tmp_path / "a.jsonl", *((f"a{letter}", letter) for letter in "bcdefghijk")))
    assert dataset.spec.vocabulary == 3
    assert dataset.encoders.notes == ("the 2 most frequent n-grams are used, of 74",)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_weighted_sum_equals_dense_product(fast: bool, weighted: bool) -> None:
    layer = WeightedSum(6, 2)
    ids = np.array([[3, 1, 0], [0, 0, 0], [5, 0, 5]], np.int32)
    weights = np.array([[0.5, 2.0, 9.0], [1.0, 1.0, 1.0], [1.0, 4.0, 0.25]], np.float32)
    dense = np.zeros((3, 6), np.float32)
    factors = weights if weighted else np.array([[0.5**0.5] * 3, [0] * 3, [0.5**0.5] * 3], np.float32)
    for row, column in zip(*np.nonzero(ids), strict=True):
        dense[row, ids[row, column]] += factors[row, column]
    arguments = [ids, weights] if weighted else [ids]
    layer(*arguments)
    layer.set_weights([np.arange(12, dtype=np.float32).reshape(6, 2), np.array([1, -1], np.float32)])

    @tf.function
    def run(*arguments: tf.Tensor) -> list[tf.Tensor]:
        with fast_kernels(KernelSettings(enabled=fast)), tf.GradientTape() as tape:
            outputs = layer(*arguments)
            loss = tf.reduce_sum(outputs * [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        return [outputs, tf.convert_to_tensor(tape.gradient(loss, layer.kernel.value))]

    operations = {op.type for op in run.get_concrete_function(*arguments).graph.get_operations()}
    assert ("SparseTensorDenseMatMul" in operations) == fast
    outputs, gradient = run(*arguments)
    np.testing.assert_allclose(outputs, dense @ layer.kernel.numpy() + [1, -1], rtol=1e-6)
    np.testing.assert_allclose(gradient, dense.T @ [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], rtol=1e-6)


def test_models_name_the_features_that_they_need(tmp_path: Path) -> None:
    spec = build(write_rows(tmp_path / "a.jsonl", ("a", "x"), ("b", "y"))).spec
    with pytest.raises(TfloopError, match=r"(?s)needs token ids.*dataset.features: ids"):
        models.build(Component("text_classifier"), spec)
    model = models.build(Component("text_linear"), spec)
    assert sum(np.count_nonzero(weight) for weight in model.get_weights()) == 0
    for name in ("mlp", "linear", "conv_net", "image_classifier", "vit"):
        with pytest.raises(TfloopError, match=rf"(?s)`{name}` needs .* are texts.*use `model: text_linear`") as caught:
            models.build(Component(name), spec)
        assert caught.value.code == ExitCode.USAGE
    ids = build(tmp_path / "a.jsonl", features="ids").spec
    with pytest.raises(TfloopError, match=r"(?s)are texts.*use `model: text_classifier`"):
        models.build(Component("mlp"), ids)
    assert models.build(Component("text_linear"), ids).output_shape == (None, 2)


RECIPE = {
    "model": "text_linear",
    "optimizer": {"name": "sgd", "learning_rate": 3.0, "momentum": 0.9, "nesterov": True},
    "schedule": "cosine",
    "epochs": 10,
}


def test_scripts_without_spaces_and_with_vowel_signs_are_learned(tmp_path: Path, trainer) -> None:
    """The class is that of the second character: a vowel sign, or one of the characters of a text without spaces."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        for label, sign, character in (("x", "\u093f", "東"), ("y", "\u0940", "京")):
            letters = [chr(code) for code in random.integers(0x0915, 0x0920, 3)]
            rows.append((letters[0] + sign + letters[1], label))
            signs = [chr(code) for code in random.integers(0x4E00, 0x4E20, 2)]
            rows.append((signs[0] + character + signs[1], label))
    train = write_rows(tmp_path / "a.jsonl", *rows[:120])
    test = write_rows(tmp_path / "b.jsonl", *rows[120:])
    run = trainer(dataset={"name": "text", "train": str(train), "test": str(test)}, **RECIPE)
    run.fit()
    outputs = [
        run.state.model(inputs).numpy().argmax(axis=1) == labels for inputs, labels in run.data.evaluation("test")
    ]
    assert np.concatenate(outputs).mean() == 1


def test_rerun_of_ngrams_is_bitwise_equal(tmp_path: Path, trainer, assert_bitwise_equal) -> None:
    path = write_rows(tmp_path / "a.jsonl", *((f"word{n % 5} {n} x{n % 3}", str(n % 3)) for n in range(50)))
    changes = RECIPE | {"dataset": {"name": "text", "train": str(path)}, "epochs": 2}
    runs = [trainer(**changes) for _ in range(2)]
    for run in runs:
        run.fit()
    assert_bitwise_equal(runs[0].everything(), runs[1].everything())
    resumed = list(runs[0].data.batches(3, 8).as_numpy_iterator())  # batches are a function of the step
    for (inputs, labels), (others, other_labels) in zip(
        resumed, list(runs[1].data.batches(0, 8).as_numpy_iterator())[3:], strict=True
    ):
        assert_bitwise_equal(inputs | {"labels": labels}, others | {"labels": other_labels})
    *_, last = trainer(**changes, precision="bfloat16").fit()
    assert np.isfinite(last.train["loss"])


@pytest.mark.parametrize(("max_steps", "epochs"), [(None, 9), (1000, 9), (12, 3), (11, 2), (1, 1)])
def test_max_steps_limits_the_epochs(configure, max_steps: int | None, epochs: int) -> None:
    config = configure(epochs=9, max_steps=max_steps)
    data = Data(datasets.build(config.dataset), config)
    assert (data.steps_per_epoch, data.epochs) == (4, epochs)
