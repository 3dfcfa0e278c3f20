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
        metric: "accuracy" or "r2".
        baselines: of scikit-learn: indices of the training examples, those of the test examples (in the order of the
            dataset), seed -> name of a model -> its metric on the test examples.
    """

    config: str
    metric: str
    baselines: Callable[[np.ndarray, np.ndarray, int], Mapping[str, float]]


WriteSet = Callable[[Path], RealSet]
