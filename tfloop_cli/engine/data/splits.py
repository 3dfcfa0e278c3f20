"""The random order of an epoch's examples, and the choice of examples that are held out of the training split.

Only NumPy: a choice is a pure function of the number of examples and their labels, groups or times. It does not depend
on the run's seed. Each function that chooses returns which examples are held out: bool [examples].
"""

import numpy as np


def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """Returns the order of an epoch's examples: a permutation, int64 [examples].

    It is a stable argsort of raw Philox output. NumPy guarantees this output for all versions; it does not guarantee
    that of `Generator.permutation`.
    """
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(examples)
    return np.argsort(bits, kind="stable")


def choose_random(examples: int, count: int, key: int) -> np.ndarray:
    """Chooses `count` of `examples` examples at random; another `key` chooses others."""
    held = np.zeros(examples, bool)
    held[epoch_order(key, 0, examples)[:count]] = True
    return held


def choose_stratified(labels: np.ndarray, count: int, key: int) -> np.ndarray:
    """Chooses exactly `count` examples at random, from each class in proportion to its size.

    A class keeps at least one training example, unless `count` needs the last ones: so a class with a single example
    is not held out. Fractions of examples are rounded by largest remainder.

    Args:
        labels: the class of each example, integer [examples].
        count: less than the number of examples.
        key: as in `choose_random`.
    """
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    quotas = _quotas(sizes, count, ties=epoch_order(key, 1, len(sizes)))
    shuffled = epoch_order(key, 0, len(labels))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]  # class after class, shuffled within each
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within the class
    held = np.zeros(len(labels), bool)
    held[by_class[rank < np.repeat(quotas, sizes)]] = True
    return held


def _quotas(sizes: np.ndarray, count: int, ties: np.ndarray) -> np.ndarray:
    """Returns how many examples of each class are held out, int64 [classes]; their sum is `count`."""
    total = int(sizes.sum())
    quotas = np.minimum(count * sizes // total, sizes - 1)
    while (left := count - int(quotas.sum())) > 0:
        room = np.flatnonzero(quotas < sizes - 1)
        room = room if len(room) else np.flatnonzero(quotas < sizes)
        remainders = count * sizes[room] - quotas[room] * total
        quotas[room[np.lexsort((ties[room], -remainders))[:left]]] += 1
    return quotas


def choose_groups(groups: np.ndarray, count: int, key: int) -> np.ndarray:
    """Chooses whole groups at random whose examples are together about `count`: at least one group, and not all.

    Args:
        groups: the group of each example, [examples], of at least two groups; equal values are one group.
        count: at least 1.
        key: as in `choose_random`.
    """
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    held, total, examples = [], 0, sizes.tolist()
    for group in epoch_order(key, 0, len(sizes)).tolist():
        if abs(total + examples[group] - count) < abs(total - count) and len(held) < len(sizes) - 1:
            held.append(group)
            total += examples[group]
    return np.isin(numbers, held or [int(np.argmin(sizes))])


def choose_latest(times: np.ndarray, count: int) -> np.ndarray:
    """Chooses the `count` latest examples; of equal times, the later examples. Unknown times are never chosen.

    Args:
        times: the time of each example, [examples]: values whose order is that of time.
        count: at most the number of known times.
    """
    order = np.argsort(times, kind="stable")
    held = np.zeros(len(times), bool)
    held[order[is_known(times)[order]][-count:]] = True
    return held


def is_known(values: np.ndarray) -> np.ndarray:
    """Returns which values are neither NaN nor NaT nor empty text: bool [examples]."""
    return values != "" if values.dtype.kind == "U" else values == values
