"""Texts: tokens, vocabulary, ragged batches, and a model whose gradient names rows of a table."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import Data, Dataset, DataSpec
from tfloop_cli.engine.data.row_files import class_names
from tfloop_cli.engine.kernels import KernelSettings, WordMean, fast_kernels
from tfloop_cli.engine.loop import compile_steps
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets, models

TEXTS = {"name": "synthetic_text", "words": 48, "longest": 9, "train_examples": 60, "test_examples": 23}
SPEC = DataSpec((None,), "int32", (), ("a", "b", "c"), 10)


def opened(train: Path, **arguments: object) -> Dataset:
    return datasets.build(Component("text", {"train": str(train), **arguments}))


def write(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


def tokens(dataset: Dataset, split: str = "train") -> list[list[int]]:
    return dataset.splits[split].texts.to_list()


# Files to ids


def test_ids_are_by_frequency_then_by_alphabet(tmp_path: Path) -> None:
    made = opened(write(tmp_path / "a.jsonl", ("b a, A!", "x"), ("a c", "y"), ("", "x")))
    # a 3 times; then "!", ",", "b", "c" once each
    assert tokens(made) == [[5, 2, 4, 2, 3], [2, 6], []]
    assert made.spec == DataSpec((None,), "int32", (), ("x", "y"), 7)
    assert made.splits["train"].labels.numpy().tolist() == [0, 1, 0]


def test_the_order_of_rows_does_not_decide_ids(tmp_path: Path) -> None:
    rows = [("d c", "x"), ("a b", "x"), ("c", "x")]
    first = tokens(opened(write(tmp_path / "a.jsonl", *rows)))
    second = tokens(opened(write(tmp_path / "b.jsonl", *reversed(rows))))
    assert first == second[::-1]


def test_rare_words_and_the_test_splits_own_are_unknown(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", ("a a b b c", "x"), ("b", "y"))
    test = write(tmp_path / "b.jsonl", ("c b new A", "y"))
    made = opened(train, test=str(test), vocabulary=2)
    assert tokens(made) == [[3, 3, 2, 2, 1], [2]]
    assert tokens(made, "test") == [[1, 2, 1, 3]]
    assert made.splits["test"].labels.numpy().tolist() == [1]
    assert made.spec.vocabulary == 4


def test_only_the_first_max_tokens_count(tmp_path: Path) -> None:
    made = opened(write(tmp_path / "a.jsonl", ("a b b b b", "x"), ("a", "x")), max_tokens=2)
    assert tokens(made) == [[2, 3], [2]]


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_tables_of_text(tmp_path: Path, suffix: str, separator: str) -> None:
    path = tmp_path / f"a.{suffix}"
    rows = [("review", "id", "stars"), ('"fine,\n""good"""', "1", "5"), ("bad", "2", "10")]
    path.write_text("\ufeff" + "\n".join(separator.join(row) for row in rows) + "\n\n", encoding="utf-8")
    made = opened(path, text="review", label="stars")
    assert made.spec.class_names == ("5", "10")  # numbers in their own order
    assert [len(text) for text in tokens(made)] == [5, 1]  # fine , " good "


def test_labels_are_ordered_as_numbers_or_as_words() -> None:
    assert class_names(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert class_names(["10", "9", "x"]) == ("10", "9", "x")


def test_the_fingerprint_sees_words_and_classes(tmp_path: Path) -> None:
    prints = [
        opened(write(tmp_path / "a.jsonl", *rows)).fingerprint
        for rows in ([("a b", "x")], [("a b", "x")], [("a c", "x")], [("a b", "y")], [("a b a", "x")])
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,label\nx,1\ny\n", "a.csv:3: split `train`: there are 1 cells, and the header names 2 columns"),
        ("a.csv", 'text,label\n"x\ny",1\n"z,2\n', "a.csv:4: this row cannot be read"),
        ("a.csv", "text,text\nx,1\n", "a.csv:1: two columns are called `text`"),
        ("a.csv", "text,label\nx,1\ny,\n", "a.csv:3: split `train`: the label is missing (column `label`)"),
        (
            "a.csv",
            "text,klass\nx,1\n",
            "a.csv:2: split `train`: there is no column `label`\n  there are `text`, `klass`",
        ),
        ("a.csv", "text,label\n", "a.csv: there is no row in it"),
        ("a.csv", "", "a.csv: there is no row in it"),
        ("a.jsonl", '{"text": "x", "label": 1}\n\n{"text"\n', "a.jsonl:3: split `train`: this line is not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: split `train`: this line is not a JSON object"),
        ("a.jsonl", '{"text": ["x"], "label": 1}\n', "a.jsonl:1: split `train`: column `text` holds a list"),
        ("a.jsonl", '{"text": "x", "label": null}\n', "a.jsonl:1: split `train`: the label is missing"),
        ("a.parquet", "x", "a.parquet: `.parquet` files cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TfloopError) as caught:
        opened(tmp_path / name)
    assert caught.value.code == ExitCode.DATA
    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match=r"none\.csv: it cannot be read: No such file"):
        opened(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"text,label\n\xff\xfe,1\n")
    with pytest.raises(TfloopError, match="it is not UTF-8"):
        opened(tmp_path / "a.csv")


def test_a_class_of_the_test_split_must_have_been_trained(tmp_path: Path) -> None:
    train, test = write(tmp_path / "a.jsonl", ("a", "x")), write(tmp_path / "b.jsonl", ("a", "x"), ("a", "z"))
    with pytest.raises(TfloopError, match=r"b\.jsonl:2: split `test`: the label `z` does not occur") as caught:
        opened(train, test=str(test))
    assert caught.value.code == ExitCode.DATA


# Batches


def test_a_batch_is_as_long_as_its_longest_text(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.jsonl", ("a a a", "x"), ("a", "y"), ("", "x"), ("a a", "y"))).splits["train"]
    inputs, labels = source.gather(tf.constant([1, 3, 2], tf.int64))
    assert inputs.numpy().tolist() == [[2, 0], [2, 2], [0, 0]]
    assert (inputs.dtype, labels.numpy().tolist()) == (tf.int32, [1, 1, 0])
    assert source.gather(tf.constant([2], tf.int64))[0].shape == (1, 0)


def test_batches_have_one_type_whatever_their_length(configure) -> None:
    data = Data(datasets.build(configure(dataset=TEXTS).dataset), configure(dataset=TEXTS))
    inputs, targets = data.batches(0, 4).element_spec
    assert (inputs.shape.as_list(), inputs.dtype) == ([None, None], tf.int32)
    assert (targets.shape.as_list(), targets.dtype) == ([None], tf.int32)


def test_synthetic_text_is_seeded_and_of_the_lengths_asked_for() -> None:
    made = [
        datasets.build(Component("synthetic_text", {"words": 48, "shortest": 2, "longest": 9, "seed": seed}))
        for seed in (0, 0, 1)
    ]
    assert made[0].fingerprint == made[1].fingerprint != made[2].fingerprint
    lengths = {len(text) for text in tokens(made[0])}
    assert lengths == set(range(2, 10))
    flat = np.concatenate(tokens(made[0]))
    assert flat.min() >= 2
    assert flat.max() < made[0].spec.vocabulary == 50
    with pytest.raises(TfloopError, match=r"less than `dataset.shortest`"):
        datasets.build(Component("synthetic_text", {"shortest": 5, "longest": 4}))


# The model


def test_the_model_reads_texts_only() -> None:
    model = models.build(Component("text_classifier", {"hidden": [4, 5], "dropout": 0.1}), SPEC)
    assert model.output_shape == (None, 3)
    assert [type(layer).__name__ for layer in model.layers[1:]] == ["Dropout", "Dense"] * 3
    with pytest.raises(TfloopError, match="needs texts") as caught:
        models.build(Component("text_classifier"), DataSpec((28, 28, 1), "uint8", (), ("a",)))
    assert caught.value.code == ExitCode.USAGE


@pytest.fixture
def fast_implementations():
    with fast_kernels(KernelSettings(enabled=True)):
        yield


@pytest.mark.parametrize("fast", [True, False])
def test_padding_does_not_change_outputs_and_empty_text_is_finite(request, fast: bool) -> None:
    if fast:
        request.getfixturevalue("fast_implementations")
    model = models.build(Component("text_classifier"), SPEC)
    short = model(np.array([[3, 4]], np.int32)).numpy()
    padded = model(np.array([[3, 4, 0, 0], [0, 0, 0, 0]], np.int32)).numpy()
    np.testing.assert_allclose(padded[0], short[0], rtol=1e-6)
    np.testing.assert_allclose(padded[1], model(np.zeros((1, 0), np.int32)).numpy()[0], rtol=1e-6)
    assert np.isfinite(padded).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_word_mean_equals_dense_word_mean(dtype: str) -> None:
    layer = WordMean(9, 4, dtype=dtype)
    texts = tf.constant([[3, 4, 3, 0], [0, 0, 0, 0], [0, 8, 0, 1]])  # 0 need not stand at the end
    made = []
    for fast in (True, False):

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
        def run(texts: tf.Tensor) -> list[tf.Tensor]:
            with fast_kernels(KernelSettings(enabled=fast)), tf.GradientTape() as tape:  # noqa: B023
                means = layer(texts)
                loss = tf.reduce_sum(tf.square(means) * tf.reshape(tf.range(12, dtype=means.dtype), [3, 4]))
            return [means, tf.convert_to_tensor(tape.gradient(loss, layer.embeddings.value))]

        kinds = {op.type for op in run.get_concrete_function().graph.get_operations()}
        assert any("SparseSegment" in kind for kind in kinds) == fast
        made.append(run(texts))
    expected = layer.embeddings.numpy()
    np.testing.assert_allclose(made[0][0][0], (2 * expected[3] + expected[4]) / 3, rtol=1e-6)
    for ours, plain in zip(*made, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-7)


def test_xla_and_half_precision_take_the_plain_way(trainer) -> None:
    for changes in ({"compile": "xla"}, {"precision": "bfloat16"}):
        run = trainer(dataset=TEXTS, model="text_classifier", **changes)
        *_, last = run.fit()
        assert np.isfinite(last.train["loss"])


def test_it_learns_and_a_rerun_ends_with_the_same_bits(trainer) -> None:
    runs = [trainer(dataset=TEXTS, model="text_classifier", epochs=20) for _ in range(2)]
    *_, last = runs[0].fit()
    assert last.train["accuracy"] > 0.8
    runs[1].fit()
    for one, other in zip(runs[0].weights(), runs[1].weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adam"},
        {"name": "adamw", "weight_decay": 0.01},
        {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        {"name": "rmsprop"},
    ],
    ids=lambda one: one["name"],
)
@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_an_embeddings_gradient_is_applied_as_a_whole(trainer, optimizer: dict, clip_norm: float | None) -> None:
    """Against Keras' own optimizer, which is given the gradient as one number a weight."""
    run = trainer(dataset=TEXTS, model="text_classifier", optimizer=optimizer, clip_norm=clip_norm, precision="float64")
    twin = models.build(run.config.model, run.data.spec)
    twin.set_weights(run.weights())
    plain = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD,
             "rmsprop": keras.optimizers.RMSprop}[optimizer["name"]](
        **run.config.optimizer.arguments, global_clipnorm=clip_norm
    )  # fmt: skip
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for inputs, targets in run.data.batches(0, 8):
        with tf.GradientTape() as tape:
            loss = loss_of(targets, twin(inputs, training=True))
        gradients = tape.gradient(loss, twin.trainable_variables)
        assert isinstance(gradients[0], tf.IndexedSlices)
        plain.apply([tf.convert_to_tensor(gradient) for gradient in gradients], twin.trainable_variables)
    run.fit()
    assert int(run.state.step) == 8
    for got, expected in zip(run.weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_no_length_is_traced_anew(trainer) -> None:
    run = trainer(dataset=TEXTS, model="text_classifier", batch_size=2)
    steps = compile_steps(run.task, run.state, run.config)
    batches = iter(run.data.batches(0, 8))
    for _ in range(8):
        steps(batches, tf.constant(1, tf.int64))
    assert steps.experimental_get_tracing_count() == 1
    assert len({inputs.shape[1] for inputs, _ in run.data.batches(0, 8)}) > 1


def test_a_subclass_of_the_users_own_sees_texts_when_it_is_built(trainer) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = self.add_weight(shape=(50, 4), name="table")

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.gather(self.table.value, inputs), axis=1)  # refuses ids that are not integers

    trainer(dataset=TEXTS, net=Own()).fit()
