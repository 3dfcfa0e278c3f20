"""Each replacement is at least as exact as what it replaces; benchmarks/exactness.py has larger shapes."""

import math
from collections.abc import Iterator

import pytest
import tensorflow as tf

from benchmarks.exactness import cases, compare
from tfloop_cli.engine.kernels import KernelSettings

CASES, MAX_ELEMENTS = cases(), 17_000


@pytest.fixture
def kernel_settings() -> KernelSettings:
    """No patches around the tests of this file: the comparison enters its own context."""
    return KernelSettings(enabled=False)


@pytest.fixture(autouse=True)
def _grappler() -> Iterator[None]:
    """The options of the training loop."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    yield
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True} | before)


@pytest.mark.parametrize("name", CASES)
def test_replacement_is_at_least_as_exact_as_keras(name: str) -> None:
    case = CASES[name]
    largest = max((one for one in case.shapes if math.prod(one) <= MAX_ELEMENTS), key=math.prod)
    # A second shape, of one example, for one dtype: tracing takes most of the time.
    for shape, dtype in {(case.shapes[0], case.dtypes[0]), *((largest, dtype) for dtype in case.dtypes)}:
        errors = compare(case, dtype, shape, draws=100)
        assert [error for error in errors if not error.passed] == [], (dtype, shape)
