"""Real data sets out of packages, for `benchmarks/real_data.py`: one module per kind of data.

A module has `SETS`: name of a set -> a function that writes its files into a folder, as they come, and returns a
`RealSet`. A new kind of data is a new module, and a line in `real_data.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class RealSet:
    """A set whose files are written.

    Attributes:
        config: of two lines: `extends`, and `dataset` with paths that count from the folder.
        targets: of all examples in the order of the dataset, [examples]: str for classes, or numbers.
        baselines: of scikit-learn: indices of the training examples, those of the test examples, seed -> name of a
            model -> its predictions for the test examples, as `targets`.
    """

    config: str
    targets: np.ndarray
    baselines: Callable[[np.ndarray, np.ndarray, int], Mapping[str, np.ndarray]]


WriteSet = Callable[[Path], RealSet]
