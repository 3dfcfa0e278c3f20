"""Synthetic texts that can be learned: for tests, examples and benchmarks."""

import numpy as np

from tfloop_cli.engine.data.invalid_examples import skips_invalid_examples
from tfloop_cli.engine.data.memory import require_memory
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.engine.data.text_source import FIRST_WORD, Arrays, text_dataset
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import Fraction, NonNegativeInt, PositiveInt


@datasets.register("synthetic_text")
def synthetic_text(
    *,
    classes: PositiveInt = 4,
    words: PositiveInt = 2000,
    shortest: PositiveInt = 5,
    longest: PositiveInt = 100,
    train_examples: PositiveInt = 4096,
    test_examples: PositiveInt = 1024,
    signal: Fraction = 0.2,
    seed: NonNegativeInt = 0,
) -> Dataset:
    """Synthetic texts of random lengths: few words are frequent, and each class prefers some words.

    Args:
        classes: number of classes.
        words: number of distinct words.
        shortest: the smallest number of words in a text.
        longest: the largest number of words in a text.
        train_examples: size of the training split.
        test_examples: size of the test split.
        signal: the fraction of words that are drawn from those that the class prefers, a tenth of all words.
        seed: seed of the data; independent of the run's seed.
    """
    if longest < shortest:
        raise TfloopError(f"`dataset.longest` is {longest}, less than `dataset.shortest`, {shortest}")
    mean_length = (shortest + longest) / 2
    require_memory(8 * mean_length * (train_examples + test_examples) + classes * (words + 60), "synthetic_text")
    skips_invalid_examples()  # synthetic texts are always valid
    random = np.random.Generator(np.random.Philox(key=seed))
    preferred = random.integers(words, size=(classes, max(1, words // 10)))

    def split(examples: int) -> Arrays:
        labels = random.integers(classes, size=examples, dtype=np.int32)
        lengths = random.integers(shortest, longest + 1, size=examples)
        label_of_word = np.repeat(labels, lengths)
        # Half of them are an eighth of all words.
        frequent = (random.random(label_of_word.size) ** 3 * words).astype(np.int64)
        special = preferred[label_of_word, random.integers(preferred.shape[1], size=label_of_word.size)]
        tokens = np.where(random.random(label_of_word.size) < signal, special, frequent) + FIRST_WORD
        return tokens.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]), labels

    names = tuple(str(label) for label in range(classes))
    return text_dataset({"train": split(train_examples), "test": split(test_examples)}, names, FIRST_WORD + words)
