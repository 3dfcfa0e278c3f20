"""Texts: token ids, vocabulary, padded batches, and the text classifier with the sparse gradient of its embedding."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine import loop
from tfloop_cli.engine.data import Data, Dataset, DataSpec
from tfloop_cli.engine.data.class_names import class_names
from tfloop_cli.engine.data.texts.tokens import tokens_of
from tfloop_cli.engine.kernels import KernelSettings, WordMean, fast_kernels
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets, models

TEXTS = {"name": "synthetic_text", "words": 48, "longest": 9, "train_examples": 60, "test_examples": 23}
SPEC = DataSpec((None,), "int32", (), ("a", "b", "c"), 10)
TWO = (("a", "x"), ("b", "y"))


def build(train: Path, **arguments: object) -> Dataset:
    return datasets.build(Component("text", {"train": str(train), "features": "ids", **arguments}))


def write_rows(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


def token_ids(dataset: Dataset, split: str = "train") -> list[list[int]]:
    return dataset.splits[split].texts.to_list()


# Token ids


def test_token_ids_are_ordered_by_frequency_then_alphabet(tmp_path: Path) -> None:
    dataset = build(write_rows(tmp_path / "a.jsonl", ("b a, A!", "x"), ("a c", "y"), ("", "x")))
    # "a" occurs three times; "!", ",", "b" and "c" occur once.
    assert token_ids(dataset) == [[5, 2, 4, 2, 3], [2, 6], []]
    assert dataset.spec == DataSpec((None,), "int32", (), ("x", "y"), 7)
    assert dataset.splits["train"].all_targets.numpy().tolist() == [0, 1, 0]


def test_token_ids_do_not_depend_on_row_order(tmp_path: Path) -> None:
    rows = [("d c", "x"), ("a b", "x"), ("c", "y")]
    first = token_ids(build(write_rows(tmp_path / "a.jsonl", *rows)))
    second = token_ids(build(write_rows(tmp_path / "b.jsonl", *reversed(rows))))
    assert first == second[::-1]


def test_rare_words_and_words_only_in_test_split_are_unknown(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "a.jsonl", ("a a b b c", "x"), ("b", "y"))
    test = write_rows(tmp_path / "b.jsonl", ("c b new A", "y"))
    dataset = build(train, test=str(test), vocabulary=2)
    assert token_ids(dataset) == [[3, 3, 2, 2, 1], [2]]
    assert token_ids(dataset, "test") == [[1, 2, 1, 3]]
    assert dataset.splits["test"].all_targets.numpy().tolist() == [1]
    assert dataset.spec.vocabulary == 4


def test_text_is_truncated_to_max_tokens(tmp_path: Path) -> None:
    dataset = build(write_rows(tmp_path / "a.jsonl", ("a b b b b", "x"), ("a", "y")), max_tokens=2)
    assert token_ids(dataset) == [[2, 3], [2]]


def test_class_names_are_ordered_by_value_or_alphabet() -> None:
    assert class_names(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert class_names(["10", "9", "x"]) == ("10", "9", "x")


def test_fingerprint_depends_on_words_and_classes(tmp_path: Path) -> None:
    fingerprints = [
        build(write_rows(tmp_path / "a.jsonl", row, ("a", "a"))).fingerprint
        for row in (("a b", "x"), ("a b", "x"), ("a c", "x"), ("a b", "y"), ("a b a", "x"))
    ]
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 4


def test_class_only_in_test_split_is_an_error(tmp_path: Path) -> None:
    train, test = write_rows(tmp_path / "a.jsonl", *TWO), write_rows(tmp_path / "b.jsonl", ("a", "x"), ("a", "z"))
    with pytest.raises(TfloopError, match=r"b\.jsonl:2: split `test`: column `label`: the class `z`") as caught:
        build(train, test=str(test))
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs belong to their word
        ("Cafe\u0301!", ["café", "!"]),
        ("ภาษาไทย ok", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย", "ok"]),
        ("東京タワーへ", ["東", "京", "タ", "ワ", "ー", "へ"]),
        ("\u0645\u06cc\u200c\u062e\u0648", ["\u0645\u06cc\u200c\u062e\u0648"]),  # with a zero-width non-joiner
    ],
)
def test_tokens_of_scripts(text: str, tokens: list[str]) -> None:
    assert tokens_of(text) == tokens


def test_script_without_spaces_is_noted(tmp_path: Path) -> None:
    rows = [("東京", "x"), ("b", "y")]
    assert "each character is a token" in build(write_rows(tmp_path / "a.jsonl", *rows)).encoders.notes[0]
    assert build(write_rows(tmp_path / "b.jsonl", ("हिन्दी", "x"), ("b", "y"))).encoders.notes == ()


# Batches


def test_batch_is_padded_to_its_longest_text(tmp_path: Path) -> None:
    rows = [("a a a", "x"), ("a", "y"), ("", "x"), ("a a", "y")]
    source = build(write_rows(tmp_path / "a.jsonl", *rows)).splits["train"]
    inputs, labels = source.gather(tf.constant([1, 3, 2], tf.int64))
    assert inputs.numpy().tolist() == [[2, 0], [2, 2], [0, 0]]
    assert (inputs.dtype, labels.numpy().tolist()) == (tf.int32, [1, 1, 0])
    assert source.gather(tf.constant([2], tf.int64))[0].shape == (1, 0)


def test_batches_of_all_lengths_have_one_element_spec(configure) -> None:
    config = configure(dataset=TEXTS)
    data = Data(datasets.build(config.dataset), config)
    inputs, targets = data.batches(0, 4).element_spec
    assert (inputs.shape.as_list(), inputs.dtype) == ([None, None], tf.int32)
    assert (targets.shape.as_list(), targets.dtype) == ([None], tf.int32)


def test_synthetic_text_depends_on_its_seed_and_has_the_configured_lengths() -> None:
    first, same, other = (
        datasets.build(Component("synthetic_text", {"words": 48, "shortest": 2, "longest": 9, "seed": seed}))
        for seed in (0, 0, 1)
    )
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert {len(text) for text in token_ids(first)} == set(range(2, 10))
    ids = np.concatenate(token_ids(first))
    assert ids.min() >= 2
    assert ids.max() < first.spec.vocabulary == 50


def test_synthetic_text_with_longest_below_shortest_is_an_error() -> None:
    with pytest.raises(TfloopError, match=r"less than `dataset.shortest`"):
        datasets.build(Component("synthetic_text", {"shortest": 5, "longest": 4}))


# The text classifier


def test_text_classifier_has_the_configured_layers() -> None:
    model = models.build(Component("text_classifier", {"hidden": [4, 5], "dropout": 0.1}), SPEC)
    assert model.output_shape == (None, 3)
    assert [type(layer).__name__ for layer in model.layers[1:]] == ["Dropout", "Dense"] * 3


def test_text_classifier_of_images_is_an_error() -> None:
    with pytest.raises(TfloopError, match="needs texts") as caught:
        models.build(Component("text_classifier"), DataSpec((28, 28, 1), "uint8", (), ("a",)))
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("fast", [True, False])
def test_padding_does_not_change_outputs_and_empty_text_is_finite(fast: bool) -> None:
    model = models.build(Component("text_classifier"), SPEC)
    with fast_kernels(KernelSettings(enabled=fast)):
        unpadded, padded, empty = (
            model(np.array(texts, np.int32)).numpy() for texts in ([[3, 4]], [[3, 4, 0, 0], [0, 0, 0, 0]], [[]])
        )
    np.testing.assert_allclose(padded[0], unpadded[0], rtol=1e-6)
    np.testing.assert_allclose(padded[1], empty[0], rtol=1e-6)
    assert np.isfinite(padded).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_word_mean_equals_dense_word_mean(dtype: str) -> None:
    layer = WordMean(9, 4, dtype=dtype)
    texts = tf.constant([[3, 4, 3, 0], [0, 0, 0, 0], [0, 8, 0, 1]])  # 0 may occur anywhere in a text

    def means_and_gradient(fast: bool) -> list[tf.Tensor]:
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
        def run(texts: tf.Tensor) -> list[tf.Tensor]:
            with fast_kernels(KernelSettings(enabled=fast)), tf.GradientTape() as tape:
                means = layer(texts)
                loss = tf.reduce_sum(tf.square(means) * tf.reshape(tf.range(12, dtype=means.dtype), [3, 4]))
            return [means, tf.convert_to_tensor(tape.gradient(loss, layer.embeddings.value))]

        op_types = {op.type for op in run.get_concrete_function().graph.get_operations()}
        assert any("SparseSegment" in op_type for op_type in op_types) == fast
        return run(texts)

    sparse, dense = means_and_gradient(fast=True), means_and_gradient(fast=False)
    embeddings = layer.embeddings.numpy()
    np.testing.assert_allclose(sparse[0][0], (2 * embeddings[3] + embeddings[4]) / 3, rtol=1e-6)
    for ours, expected in zip(sparse, dense, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("texts", [np.zeros((2, 3), np.int32), np.zeros((2, 0), np.int32), np.zeros((0, 3), np.int32)])
def test_gradient_without_a_word_is_zero(texts: np.ndarray) -> None:
    layer = WordMean(50, 4)
    layer.build(texts.shape)

    @tf.function
    def gradient(texts: tf.Tensor) -> tf.Tensor:
        with fast_kernels(KernelSettings(enabled=True)), tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(texts) + 1)
        return tf.convert_to_tensor(tape.gradient(loss, layer.embeddings.value))

    for _ in range(20):  # uninitialized memory is 0 now and then
        np.testing.assert_array_equal(gradient(tf.constant(texts)), np.zeros((50, 4)))


def test_text_classifier_trains_with_xla_and_in_half_precision(trainer) -> None:
    for changes in ({"compile": "xla"}, {"precision": "bfloat16"}):
        run = trainer(dataset=TEXTS, model="text_classifier", **changes)
        *_, last = run.fit()
        assert np.isfinite(last.train["loss"])


def test_text_classifier_learns_and_rerun_is_bitwise_equal(trainer, assert_bitwise_equal) -> None:
    runs = [trainer(dataset=TEXTS, model="text_classifier", epochs=20) for _ in range(2)]
    *_, last = runs[0].fit()
    assert last.train["accuracy"] > 0.8
    runs[1].fit()
    assert_bitwise_equal(runs[0].everything(), runs[1].everything())


OPTIMIZERS = {
    "adam": (keras.optimizers.Adam, {}),
    "adamw": (keras.optimizers.AdamW, {"weight_decay": 0.01}),
    "sgd": (keras.optimizers.SGD, {"learning_rate": 0.1, "momentum": 0.9}),
    "rmsprop": (keras.optimizers.RMSprop, {}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 0.01])
@pytest.mark.parametrize("fast", [True, False])
def test_sparse_gradient_of_embedding_updates_like_dense_gradient(
    monkeypatch, trainer, name: str, clip_norm: float | None, fast: bool
) -> None:
    """The reference is Keras' optimizer with gradients that have one value per weight."""
    keras_optimizer, arguments = OPTIMIZERS[name]
    if not fast:  # as with Keras' Embedding in a user's model
        monkeypatch.setattr(loop, "kernel_settings", lambda config: KernelSettings())
    optimizer = {"name": name, **arguments}
    run = trainer(dataset=TEXTS, model="text_classifier", optimizer=optimizer, clip_norm=clip_norm, precision="float64")
    reference = models.build(run.config.model, run.data.spec)
    reference.set_weights(run.weights())
    reference_optimizer = keras_optimizer(**run.config.optimizer.arguments, global_clipnorm=clip_norm)
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for inputs, targets in run.data.batches(0, 8):
        with tf.GradientTape() as tape:
            loss = loss_function(targets, reference(inputs, training=True))
        gradients = tape.gradient(loss, reference.trainable_variables)
        assert isinstance(gradients[0], tf.IndexedSlices)
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        reference_optimizer.apply(dense, reference.trainable_variables)
    run.fit()
    assert int(run.state.step) == 8
    for weight, expected in zip(run.weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-9)


def test_batches_of_other_lengths_are_not_retraced(trainer) -> None:
    run = trainer(dataset=TEXTS, model="text_classifier", batch_size=2)
    steps = loop.compile_steps(run.task, run.state, run.config)
    batches = iter(run.data.batches(0, 8))
    for _ in range(8):
        steps(batches, tf.constant(1, tf.int32))
    assert steps.experimental_get_tracing_count() == 1
    assert len({inputs.shape[1] for inputs, _ in run.data.batches(0, 8)}) > 1


def test_subclassed_model_is_built_with_integer_inputs(trainer) -> None:
    class EmbeddingSum(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = self.add_weight(shape=(50, 4), name="table")

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.gather(self.table.value, inputs), axis=1)  # requires integer ids

    trainer(dataset=TEXTS, net=EmbeddingSum()).fit()
